"""One view of each image of a batch, all at once, on any device.

A CPU and a GPU change the same images by the same operations, but group them by other rules: a CPU
by what stays in its cache, a GPU by what takes the fewest operations. The results are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_registry.data import ops
from solo_registry.data.augment import View
from solo_registry.data.draws import Array, Draws

SIGMA = len(ops.ADJUST)  # its column beside those of the factors
Change = Callable[[Tensor, Tensor], Tensor]
"""Images (n, C, H, W) and their numbers (n, 5), the factors and sigma -> the changed images."""


def show(view: View, images: Tensor, drawn: Draws) -> Tensor:
    """Make a view of each image of a batch, as drawn.

    Args:
        view: the view.
        images: (N, C, H, W) uint8, on any device.
        drawn: what is random about each.

    Returns:
        (N, C, crop_size, crop_size) float32, normalised, on the same device, whatever precision
        the caller has set.
    """
    with ops.in_float32(images.device):
        return _show(view, images, drawn)


def _show(view: View, images: Tensor, drawn: Draws) -> Tensor:
    place = np.argsort(_orders(drawn), kind="stable")
    drawn = drawn.of(place)
    boxes = _sent(drawn.box, images.device)
    x = ops.resized_crops(images[_sent(place, images.device)], boxes, view.size)
    x, rows = (change_by_place if x.is_cuda else change_by_order)(x, drawn)
    return view.normalise(x)[_sent(np.argsort(place[rows]), images.device)]


def change_by_order(x: Tensor, drawn: Draws) -> tuple[Tensor, Array]:
    """Change images in place. All images with one order of the jitters take them together.

    As they are sorted by that order, they are one slice, small enough for the cache of a CPU.

    Args:
        x: (N, C, H, W) images, cut and resized.
        drawn: what is random about each, sorted by the order of the jitters.

    Returns:
        The images, and which of the given ones each is, (N,).
    """
    codes = _orders(drawn)
    numbers = _numbers(drawn, x.device)
    bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for start, end in pairwise(bounds):
        if codes[start] < 0:
            continue
        part = x[start:end]
        for kind in drawn.order[start].tolist():
            part = JITTERS[kind](part, numbers[start:end])
        x[start:end] = part
    for name, step in STEPS:
        chosen = np.flatnonzero(getattr(drawn, name))
        if len(chosen):
            rows = _sent(chosen, x.device)
            x[rows] = step(x[rows], numbers[rows])
    return x, np.arange(len(x))


def change_by_place(x: Tensor, drawn: Draws) -> tuple[Tensor, Array]:
    """Change images: first by what comes first to any of them, and so on.

    Four jitters have 24 orders, but only 16 pairs of a place and a jitter. So this asks for a
    quarter of the operations of `change_by_order`, whose arguments and results it has. Before each
    place the images are sorted by what comes to them, since writing to chosen rows of a tensor
    would sort them too if PyTorch is to be deterministic.
    """
    jitters = np.where(drawn.jitter[:, None], drawn.order, -1)
    stages: list[tuple[Array, Mapping[int, Change]]] = [(kinds, JITTERS) for kinds in jitters.T]
    stages += [(getattr(drawn, name).astype(np.int64), {1: step}) for name, step in STEPS]
    numbers, rows = _numbers(drawn, x.device), np.arange(len(x))
    for kinds, changes in stages:
        order = np.argsort(kinds[rows], kind="stable")
        found, sizes = np.unique(kinds, return_counts=True)
        if not changes.keys() & set(found.tolist()):
            continue
        rows, index = rows[order], _sent(order, x.device)
        x, numbers = x[index], numbers[index]
        parts = [torch.split(each, sizes.tolist()) for each in (x, numbers)]
        groups = zip(found.tolist(), *parts, strict=True)
        x = torch.cat([changes[k](part, n) if k in changes else part for k, part, n in groups])
    return x, rows


def _column(step: ops.Step, column: int) -> Change:
    return lambda x, numbers: step(x, numbers[:, column].view(-1, 1, 1, 1))


JITTERS: dict[int, Change] = {kind: _column(step, kind) for kind, step in ops.ADJUST.items()}
STEPS = tuple((name, _column(step, SIGMA)) for name, step in ops.STEPS)


def _orders(drawn: Draws) -> Array:
    """Return a number for the order of each image's jitters, -1 where it has none; (N,)."""
    return np.where(drawn.jitter, drawn.order @ 4 ** np.arange(drawn.order.shape[1]), -1)


def _numbers(drawn: Draws, device: torch.device) -> Tensor:
    return _sent(np.column_stack([drawn.factors, drawn.sigma]), device)


def _sent(array: Any, device: torch.device) -> Tensor:
    """Return an array as a tensor on a device, without waiting for it."""
    return torch.from_numpy(array).to(device, non_blocking=True)
