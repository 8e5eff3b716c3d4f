"""Hydra configs for solo-learn's own scripts: `--config-name solo/cifar/simclr_dyntemp`."""
