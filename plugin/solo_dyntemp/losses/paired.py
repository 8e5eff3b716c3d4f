"""InfoNCE between two sets of embeddings, a x b only: sentences (SimCSE), image and text (CLIP)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from solo_dyntemp.gather import (
    check_equal_shapes,
    gather,
    mean_over_processes,
    world_size,
)
from solo_dyntemp.losses.checks import (
    check_choice,
    check_embeddings,
    check_indexes,
    check_same_shape,
)
from solo_dyntemp.losses.contrast import (
    IMPLEMENTATIONS,
    choose,
    dense_terms,
    everyones,
    log_sums,
)
from solo_dyntemp.losses.embeddings import full_precision, normalize, prepared, split
from solo_dyntemp.losses.kernels.settings import KernelSettings
from solo_dyntemp.losses.module import LossModule
from solo_dyntemp.losses.reduction import Terms, mean_loss
from solo_dyntemp.temperature import BatchContext, Temperature, TemperatureLike


def dyntemp_paired(
    a: Tensor,
    b: Tensor,
    *,
    temperature: TemperatureLike,
    detach_temperature: bool = True,
    symmetric: bool = False,
    indexes: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    r"""InfoNCE of each a_i against all b_j, τ a function of each pair's similarity.

    The loss of a_i is log Σ_j exp l(a_i·b_j) - l(a_i·b_i), l(s) = s / τ(s). Source: SimCSE
    (arXiv 2104.08821, eq. 1) and, symmetric, CLIP (arXiv 2103.00020). In a distributed run the
    candidates are those of all processes, with gradient.

    Args:
        a: embeddings, not normalised, shape (N, D).
        b: embeddings, b_i the positive of a_i, shape (N, D).
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ.
        symmetric: return the mean with the loss of each b_i against all a_j.
        indexes: data set index of each pair, shape (N,); for temperatures per sample only.
        implementation: "dense" builds the matrix, "tiled" and, on an NVIDIA GPU,
            "triton" do not; "auto" chooses.

    Returns:
        mean over this process's anchors, a scalar.

    Raises:
        ValueError: a shape, type, device or value is not as described, or processes have batches of
            different shapes.

    >>> from solo_dyntemp.temperature import CosineTemperature
    >>> dyntemp_paired(torch.eye(3), torch.eye(3), temperature=CosineTemperature(0.1, 0.2))
    tensor(0.0134)
    """
    check_embeddings(a=a, b=b)
    check_same_shape(a=a, b=b)
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    if indexes is not None:
        check_indexes("indexes", indexes, a)
    general, detach = prepared(temperature, detach_temperature)
    check_equal_shapes(a)
    (a, of_a), (b, of_b) = split(a, general), split(b, general)
    with full_precision(a):
        rows, columns = normalize(a), normalize(b)
        positive = (rows * columns).sum(1)
        everywhere = torch.arange(len(a) * world_size(), device=a.device)

        def of_batch(anchors: Tensor, extra: Tensor | None) -> Temperature:
            similarity = partial(mean_over_processes, positive.mean())
            batch = BatchContext(similarity, indexes, everyones(indexes), anchors, extra)
            return general.for_batch(batch)

        def loss(temperature: Temperature, anchors: Tensor, others: Tensor) -> Tensor:
            chosen = choose(implementation, temperature, 1, anchors, len(everywhere))
            if chosen == "dense":
                terms = dense_terms(anchors, everywhere, detach, candidates=others)
            else:
                terms = _sparse(chosen, anchors, others, positive, detach)
            return mean_loss(terms, temperature, negatives=len(everywhere) - 1)

        of_rows = of_batch(rows, of_a)
        if not symmetric:
            return loss(of_rows, rows, columns)
        of_columns = of_batch(columns, of_b)  # before the first loss may change a state
        return (loss(of_rows, rows, columns) + loss(of_columns, columns, rows)) / 2


def _sparse(
    chosen: str, rows: Tensor, columns: Tensor, positive: Tensor, detach: bool
) -> Callable[[Temperature], Terms]:
    candidates = gather(columns)

    def terms(temperature: Temperature) -> Terms:
        numerator = positive / temperature(positive.detach() if detach else positive)
        return numerator, log_sums(chosen, rows, candidates, KernelSettings(temperature, detach))

    return terms


class DynTempPairedInfoNCE(LossModule):
    """`dyntemp_paired` as a module.

    Args:
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ.
        symmetric: return the mean with the loss of each b_i against all a_j.
        implementation: "auto", "dense", "tiled" or "triton".

    Raises:
        ValueError: an argument is not as described.

    >>> DynTempPairedInfoNCE("cosine")(torch.eye(3), torch.eye(3))
    tensor(0.0134)
    """

    def __init__(
        self,
        temperature: TemperatureLike = "cosine",
        detach_temperature: bool = True,
        symmetric: bool = False,
        implementation: str = "auto",
    ) -> None:
        super().__init__(temperature, detach_temperature, implementation)
        self.symmetric = symmetric

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `dyntemp_paired`."""
        return {**super().settings(), "symmetric": self.symmetric}

    def forward(self, a: Tensor, b: Tensor, indexes: Tensor | None = None) -> Tensor:
        """Return the loss; see `dyntemp_paired`."""
        return dyntemp_paired(a, b, indexes=indexes, **self.settings())
