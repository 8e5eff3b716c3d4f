"""Finds solo-learn without importing it, and lists its methods."""

from __future__ import annotations

import importlib.util
from pathlib import Path

WHERE = (
    "put a clone of https://github.com/vturrisi/solo-learn on PYTHONPATH, or see "
    "docs/solo_learn.md; `dyntemp doctor` says what is missing"
)
# solo-learn's methods: name, summary, arXiv number
SOLO_METHODS = (
    ("all4one", "neighbour contrast, self-attention and redundancy reduction", "2303.09417"),
    ("barlow_twins", "cross-correlation of two views made the identity", "2103.03230"),
    ("byol", "predicts a momentum encoder's projections", "2006.07733"),
    ("deepclusterv2", "classifies into k-means clusters of the epoch before", "2006.09882"),
    ("dino", "matches a momentum teacher's distribution over prototypes", "2104.14294"),
    ("mae", "reconstructs masked patches; ViT only", "2111.06377"),
    ("mocov2plus", "momentum encoder, queue of negatives", "2003.04297"),
    ("mocov3", "momentum encoder, predictor, no queue", "2104.02057"),
    ("nnbyol", "BYOL with nearest neighbours as targets", "2104.14548"),
    ("nnclr", "nearest neighbours in a queue as positives", "2104.14548"),
    ("nnsiam", "SimSiam with nearest neighbours as targets", "2104.14548"),
    ("ressl", "matches relations to a queue, weak view as teacher", "2107.09282"),
    ("simclr", "two or more views, NT-Xent at one temperature", "2002.05709"),
    ("simsiam", "predicts the other view, stop-gradient", "2011.10566"),
    ("supcon", "images of one class as positives; needs labels", "2004.11362"),
    ("swav", "swapped assignments to prototypes, Sinkhorn", "2006.09882"),
    ("vibcreg", "variance, invariance, covariance and whitening", "2109.00783"),
    ("vicreg", "variance, invariance, covariance", "2105.04906"),
    ("wmse", "whitened features, mean squared error", "2007.06346"),
)


def solo_learn() -> Path | None:
    """Return the folder of the package `solo` that has the methods above, or None."""
    try:
        spec = importlib.util.find_spec("solo")
    except ValueError:  # a module without a spec
        return None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    wanted = ("methods/base.py", "methods/all4one.py", "utils/misc.py")
    return next((Path(f) for f in folders if all((Path(f) / p).is_file() for p in wanted)), None)
