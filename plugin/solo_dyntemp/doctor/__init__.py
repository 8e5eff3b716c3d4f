"""Checks which parts of this environment work, and names the repair commands; installs nothing."""
