"""The fair comparison: a suite of strategies, tuned alike, run over seeds, and its report.

suite.py and plan.py say what is run, `jobs` runs it; tuning.py selects on the validation split;
rows.py and statistics.py make a table of what came out, report.py writes it.
"""
