"""From a resolved config to a finished run folder."""
