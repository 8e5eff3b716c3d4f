"""Packages that a setting needs and that may be missing: asked for before any work starts."""

from __future__ import annotations

import warnings
from typing import Any

from solo_registry.errors import UserError


def import_umap() -> Any:
    """Return the class UMAP.

    Raises:
        UserError: umap-learn is not installed, or numba, on which it runs, refuses this numpy.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorFlow is missing, which only another map needs
            from umap import UMAP
    except ImportError as error:
        raise UserError(
            f"evaluation.map=umap needs a package: pip install 'solo-dyntemp[umap]' ({error})"
        ) from error
    return UMAP
