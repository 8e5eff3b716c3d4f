"""A search for the best settings by Optuna, with pruning, on images held out of train.

- space.py defines what is searched, and plan.py what a trial runs;
- study.py asks Optuna for points;
- follow.py watches a trial's run and ends it early; on_ray.py starts it on a Ray cluster;
- run.py runs rounds of trials, and state.py holds the trials so far;
- report.py and figures.py write the results.
"""
