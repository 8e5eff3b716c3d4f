"""The losses that the baselines train with, one family a file; all gather over processes."""

from solo_registry.losses.infonce import infonce, infonce_paired, infonce_queue, supcon_out
from solo_registry.losses.manifold import mmcr
from solo_registry.losses.negatives import debiased_infonce
from solo_registry.losses.robust import rince
from solo_registry.losses.rows import full, gathered, unit
from solo_registry.losses.sigmoid import sigmoid_pairs

__all__ = [
    "debiased_infonce",
    "full",
    "gathered",
    "infonce",
    "infonce_paired",
    "infonce_queue",
    "mmcr",
    "rince",
    "sigmoid_pairs",
    "supcon_out",
    "unit",
]
