"""Runs many runs: each job is a process of its own, and Hydra's launchers distribute the jobs."""
