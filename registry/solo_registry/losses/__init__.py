"""The losses of the baselines, one family a file; all gather over processes."""

from solo_registry.losses.infonce import infonce, infonce_paired, infonce_queue, supcon_out
from solo_registry.losses.manifold import mmcr
from solo_registry.losses.negatives import debiased_infonce
from solo_registry.losses.robust import rince
from solo_registry.losses.rows import full_precision, gathered, normalize, to_float32
from solo_registry.losses.sigmoid import sigmoid_pairs

__all__ = [
    "debiased_infonce",
    "full_precision",
    "gathered",
    "infonce",
    "infonce_paired",
    "infonce_queue",
    "mmcr",
    "normalize",
    "rince",
    "sigmoid_pairs",
    "supcon_out",
    "to_float32",
]

full, unit = to_float32, normalize  # their old names, for other packages
