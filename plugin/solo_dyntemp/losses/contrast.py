"""Chooses a kernel and computes the terms of a loss, for the anchors of this process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from solo_dyntemp.gather import all_gather, gather, rank
from solo_dyntemp.losses.kernels import dense, tiled
from solo_dyntemp.losses.kernels.settings import KernelSettings
from solo_dyntemp.losses.reduction import Terms
from solo_dyntemp.temperature import PairMask, Temperature

IMPLEMENTATIONS = ("auto", "dense", "tiled", "triton")
# number of pairs from which tiled is faster than dense: measured on a CPU, a guess for CUDA
CROSSOVER = {"cpu": 50_000, "cuda": 2**24}


def choose(
    implementation: str, temperature: Temperature, count: int | None, rows: Tensor, columns: int
) -> str:
    """Return "dense", "tiled" or "triton" for "auto", else the implementation itself.

    Args:
        implementation: the user's choice.
        temperature: the temperature of the batch.
        count: number of views of every image; None if it differs between images.
        rows: the anchors of this process, shape (A, D).
        columns: number of candidates.

    Raises:
        ValueError: the chosen implementation cannot compute this loss; the message says why.
    """
    if implementation in ("tiled", "triton") and count is None:
        raise ValueError(
            f"implementation={implementation!r} needs the same number of views of every image, "
            "all on one process; use implementation='dense'"
        )
    if implementation == "triton" and (reason := _no_triton(temperature, rows, columns)):
        raise ValueError(f"implementation='triton' {reason}; use implementation='auto'")
    if implementation == "tiled" and not temperature.elementwise:
        raise ValueError(
            f"implementation='tiled' needs a temperature of the pair's similarity alone, "
            f"got {temperature}; use implementation='dense'"
        )
    if implementation != "auto":
        return implementation
    if count is None or not temperature.elementwise:
        return "dense"
    if rows.is_cuda and _no_triton(temperature, rows, columns) is None:
        return "triton"
    crossover = CROSSOVER.get(rows.device.type, CROSSOVER["cpu"])
    return "tiled" if len(rows) * columns >= crossover else "dense"


def _no_triton(temperature: Temperature, rows: Tensor, columns: int) -> str | None:
    """Return why the Triton kernels cannot be used, or None."""
    from solo_dyntemp.losses.kernels import triton  # its import costs more than torch's

    reason: str | None = triton.unsupported_reason(temperature, rows, columns)
    return reason


def everyones(indexes: Tensor | None) -> Callable[[], Tensor | None]:
    """Return a function that returns the indexes of the rows of all processes, None for None."""
    return lambda: None if indexes is None else all_gather(indexes)


def log_sums(chosen: str, rows: Tensor, columns: Tensor, settings: KernelSettings) -> Tensor:
    """Return the log-sums over pairs by "tiled" or "triton", see `tiled.logsumexp`."""
    if chosen == "tiled":
        return tiled.logsumexp(rows, columns, settings)
    from solo_dyntemp.losses.kernels import triton

    sums: Tensor = triton.logsumexp(rows, columns, settings)
    return sums


def dense_terms(
    rows: Tensor,
    everywhere: Tensor,
    detach: bool,
    *,
    candidates: Tensor | None = None,
    decoupled: bool = False,
    mean: bool = False,
    anchors: Tensor | None = None,
) -> Callable[[Temperature], Terms]:
    """Return a function that computes numerators and denominators by the dense kernel.

    Args:
        rows: embeddings of this process at unit length, shape (M, D): the anchors.
        everywhere: group of each row of all processes; rows of equal group are positives.
        detach: stop the gradient through the temperature.
        candidates: embeddings of this process to compare the anchors with, of the same groups,
            shape (M, D); None for the anchors themselves.
        decoupled: positives do not enter the denominator.
        mean: the numerator is the mean of the positives' logits, not their log-sum.
        anchors: numbers of the rows that are anchors, without `candidates`; None for all.
    """
    columns, first = gather(rows if candidates is None else candidates), rank() * len(rows)
    if anchors is not None:
        rows = rows[anchors]

    def terms(temperature: Temperature) -> Terms:
        def block(start: int, stop: int) -> Terms:
            own: int | Tensor | None = None
            if anchors is not None:
                own = first + anchors[start:stop]
                groups = everywhere[own]
            else:
                groups = everywhere[first + start : first + stop]
                own = first + start if candidates is None else None
            mask = PairMask.of_groups(groups, everywhere, own=own, start=start)
            mask = mask.decoupled() if decoupled else mask
            s = rows[start:stop] @ columns.T
            return dense.terms(s, mask, temperature=temperature, detach=detach, mean=mean)

        return dense.in_blocks(block, len(rows), len(columns))

    return terms


def sparse_terms(
    chosen: str, rows: Tensor, count: int, detach: bool, *, decoupled: bool = False
) -> Callable[[Temperature], Terms]:
    """Return a function that computes the few positives directly and the denominators by a kernel.

    Args:
        chosen: "tiled" or "triton".
        rows: embeddings of this process at unit length, the views of an image side by side, (M, D).
        count: views of every image.
        detach: stop the gradient through the temperature.
        decoupled: positives do not enter the denominator.
    """
    columns = gather(rows)
    block, offset = count if decoupled else 1, rank() * len(rows)

    def terms(temperature: Temperature) -> Terms:
        numerator = _among_views(rows, count, temperature, detach)
        settings = KernelSettings(temperature, detach, block=block, offset=offset)
        return numerator, log_sums(chosen, rows, columns, settings)

    return terms


def _among_views(rows: Tensor, count: int, temperature: Temperature, detach: bool) -> Tensor:
    """Return log Σ_p exp(s_ip / τ(s_ip)) over the other views p of each row's image, (M,)."""
    views = rows.view(-1, count, rows.shape[1])
    if count == 2:
        s = (views[:, 0] * views[:, 1]).sum(1)
        return (s / temperature(s.detach() if detach else s)).repeat_interleave(2)
    s = views @ views.transpose(1, 2)
    logits = s / temperature(s.detach() if detach else s)
    itself = torch.eye(count, dtype=torch.bool, device=rows.device)
    return logits.masked_fill(itself, -torch.inf).logsumexp(2).flatten()
