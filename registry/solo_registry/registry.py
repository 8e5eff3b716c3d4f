"""Moved to `solo_registry.catalog.registry`; kept for packages that were written for this name."""

from solo_registry.catalog.registry import (
    BACKBONES,
    COMMANDS,
    DATASETS,
    LOSSES,
    METHODS,
    TEMPERATURES,
    Entry,
    Registry,
)

__all__ = [
    "BACKBONES",
    "COMMANDS",
    "DATASETS",
    "LOSSES",
    "METHODS",
    "TEMPERATURES",
    "Entry",
    "Registry",
]
