"""Measures of features and similarities: pure functions of tensors.

They do not depend on methods, Lightning or Hydra. Import from the module that holds the function.
The package itself imports nothing, so that `--help` stays fast.
"""
