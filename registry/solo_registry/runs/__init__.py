"""A run on disk: its folder, the readers of its files, and how its processes end."""
