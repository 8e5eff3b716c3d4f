"""Evaluation of frozen features: kNN, linear probe, geometry, pictures and tables.

Every function takes plain tensors or paths and knows nothing of methods, Lightning or Hydra. Import
from the module that holds the function; this package imports nothing itself, so that `--help` stays
fast.
"""
