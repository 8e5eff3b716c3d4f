"""What there is, by name: registries, our own entries, plugins, and listings; no torch."""
