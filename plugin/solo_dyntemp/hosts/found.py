"""Finds solo-learn without importing it, and lists its methods."""

from __future__ import annotations

import importlib.util
from pathlib import Path

WHERE = (
    "put a clone of https://github.com/vturrisi/solo-learn on PYTHONPATH, or see "
    "docs/solo_learn.md; `dyntemp doctor` says what is missing"
)
# solo-learn's methods, each under the name that it has here as well
SOLO_METHODS = (
    "all4one", "barlow_twins", "byol", "deepclusterv2", "dino", "mae", "mocov2plus", "mocov3",
    "nnbyol", "nnclr", "nnsiam", "ressl", "simclr", "simsiam", "supcon", "swav", "vibcreg",
    "vicreg", "wmse",
)  # fmt: skip


def solo_learn() -> Path | None:
    """Return the folder of the package `solo` that has the methods above, or None."""
    try:
        spec = importlib.util.find_spec("solo")
    except ValueError:  # a module without a spec
        return None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    wanted = ("methods/base.py", "methods/all4one.py", "utils/misc.py")
    return next((Path(f) for f in folders if all((Path(f) / p).is_file() for p in wanted)), None)
