"""Selects the training images of a run: long tails, index files and fractions.

The selection is part of the data set: it does not depend on a run's seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_registry.config.index_file import index_hash, read_indices
from solo_registry.config.settings import setting
from solo_registry.data.hashing import mix
from solo_registry.errors import UserError

FRACTION_SEED = 0


def chosen_images(targets: Tensor, data: Any) -> list[int] | None:
    """Return the training images that the config's `data` section keeps; None means all.

    Args:
        targets: (N,) labels of all training images.
        data: the section. `long_tail` applies first, then `fraction` to the images that are left.

    Raises:
        UserError: see `long_tail` and `read_indices`.
    """
    tail = getattr(data, "long_tail", None)
    kept: Tensor | None = None
    if (path := setting(tail, "index_file", None)) is not None:
        kept = torch.tensor(read_indices(Path(path), len(targets)))
        expected, found = setting(tail, "index_hash", None), index_hash(kept.tolist())
        if expected not in (None, found):
            raise UserError(f"{path} has changed since the run began: {found}, not {expected}")
    elif (profile := setting(tail, "profile", None)) is not None:
        factor, seed = setting(tail, "factor", 0.01), setting(tail, "seed", 0)
        kept = torch.tensor(long_tail(targets, profile, factor, seed))
    fraction = setting(data, "fraction", -1)
    if fraction not in (-1, 1):
        whole = torch.arange(len(targets)) if kept is None else kept
        kept = whole[torch.tensor(stratified(targets[whole], fraction))]
    return None if kept is None else kept.tolist()


def stratified(
    targets: Tensor, fraction: float, seed: int = FRACTION_SEED, leave: int = 0
) -> list[int]:
    """Choose a share of each class, at least one image; unlabelled images count as a class.

    Args:
        targets: (N,) int64 labels.
        fraction: share to keep, in (0, 1].
        seed: seed of the choice.
        leave: number of images of each class that are never chosen.

    Returns:
        Sorted indices, the same in every call.

    >>> len(stratified(torch.tensor([0] * 100 + [1] * 10), 0.1))
    11
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in torch.unique(targets):
        members = (targets == label).nonzero().flatten()
        count = min(max(1, round(len(members) * fraction)), max(0, len(members) - leave))
        chosen.append(members[torch.randperm(len(members), generator=generator)[:count]])
    indices: list[int] = torch.cat(chosen).sort().values.tolist()
    return indices


def class_sizes(largest: int, classes: int, profile: str, factor: float) -> list[int]:
    """Return how many images of each class a profile keeps, from the head to the tail.

    Cui et al. 2019 (arXiv 1901.05555), section 5.1, and Cao et al. 2019 (arXiv 1906.07413), section
    4: "exponential" keeps `largest` x factor^(c / (C - 1)) of class c; "step" keeps all of the
    first half of the classes and the share `factor` of the others.

    >>> class_sizes(500, 3, "exponential", 0.01), class_sizes(500, 4, "step", 0.1)
    ([500, 50, 5], [500, 500, 50, 50])
    """
    if profile == "step":
        shares = [1.0 if c < classes // 2 else factor for c in range(classes)]
    else:
        shares = [factor ** (c / max(1, classes - 1)) for c in range(classes)]
    return [max(1, int(largest * share + 1e-9)) for share in shares]


def long_tail(targets: Tensor, profile: str, factor: float, seed: int) -> list[int]:
    """Choose images so that the classes, in their order, follow a profile.

    Args:
        targets: (N,) labels of all images. The largest class of the result is as large as the
            smallest class here, so that every class has enough images.
        profile: "exponential" or "step".
        factor: size of the smallest class over that of the largest, in (0, 1].
        seed: seed of the choice of images within a class.

    Returns:
        Sorted indices.

    Raises:
        UserError: there are fewer than two classes, or images without a label.

    >>> targets = torch.arange(10).repeat(100)
    >>> kept = targets[long_tail(targets, "step", 0.1, seed=0)]
    >>> kept.bincount().tolist()
    [100, 100, 100, 100, 100, 10, 10, 10, 10, 10]
    """
    classes = int(targets.max()) + 1
    if classes < 2 or int(targets.min()) < 0:
        raise UserError("data.long_tail.profile needs labels of at least two classes")
    counts = targets.bincount(minlength=classes)
    chosen = []
    for label, size in enumerate(class_sizes(int(counts.min()), classes, profile, factor)):
        generator = torch.Generator().manual_seed(mix(b"long tail", seed, label))
        order = torch.randperm(int(counts[label]), generator=generator)[:size]
        chosen.append((targets == label).nonzero().flatten()[order])
    indices: list[int] = torch.cat(chosen).sort().values.tolist()
    return indices
