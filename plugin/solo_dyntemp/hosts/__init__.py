"""Bindings of the methods to a framework's base classes."""
