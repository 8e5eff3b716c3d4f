"""Baselines, one file each. A method is a mixin that is bound to the base class of a host."""
