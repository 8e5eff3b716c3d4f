"""The fair comparison: a suite of strategies, tuned alike, run over seeds, and its report.

- suite.py and plan.py decide what is run, and `jobs` runs it;
- tuning.py selects a point per strategy on the validation split;
- rows.py and statistics.py make a table of the results, and report.py writes it.
"""
