"""Hydra configs of the registry: what `dyntemp pretrain` composes."""
