"""Baselines, one file each; a method's own part is a mixin that any host's base class can carry."""
