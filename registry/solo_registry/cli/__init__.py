"""The `dyntemp` command. Heavy imports are inside the commands, so that --help is quick."""
