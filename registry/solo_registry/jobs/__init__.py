"""Running many runs: one job in a process of its own, and Hydra's launchers that spread them."""
