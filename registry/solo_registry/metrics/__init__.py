"""What is measured of features and similarities: pure functions of tensors.

They know nothing of methods, Lightning or Hydra. Import from the module that holds the function:
this package imports nothing itself, so that `--help` stays fast.
"""
