"""A search for the best settings by Optuna, with pruning, on images held out of train.

space.py says what is searched, plan.py what a trial runs, study.py asks Optuna, follow.py watches
a trial's run and ends it early, run.py goes from trial to trial, report.py and figures.py write
what came out.
"""
