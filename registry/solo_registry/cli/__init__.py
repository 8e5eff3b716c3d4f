"""The `dyntemp` command; heavy imports stand inside the commands, so that --help is quick."""
