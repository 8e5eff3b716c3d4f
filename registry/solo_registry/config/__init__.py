"""From what the user wrote to a config that a run can trust."""
