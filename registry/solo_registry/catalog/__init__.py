"""Registries of names, our own entries, plugins and listings; imports no torch."""
