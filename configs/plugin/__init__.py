"""Hydra configs that the plugin adds."""
