"""Pictures and tables of what was measured; matplotlib is imported when something is drawn."""
