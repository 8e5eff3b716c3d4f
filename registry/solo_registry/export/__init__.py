"""Handing a run's backbone on to programs that know nothing of us."""
