"""What of this environment works, and the command that cures what does not; installs nothing."""
