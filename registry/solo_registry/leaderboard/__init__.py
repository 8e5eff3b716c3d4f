"""The fair comparison: a suite of strategies, tuned alike, run over seeds, and its report.

suite.py and plan.py say what is run, engine.py runs it through Hydra's launchers, one process per
run (worker.py); tuning.py selects on the validation split; records.py reads what came out, rows.py
and statistics.py make it a table, report.py writes it.
"""
