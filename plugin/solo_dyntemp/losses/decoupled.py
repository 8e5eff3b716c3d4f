"""Decoupled contrastive learning: the positive is not in the denominator (DCL), weighted (DCLW)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from solo_dyntemp.gather import (
    all_gather,
    check_equal_shapes,
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
    sparse_terms,
)
from solo_dyntemp.losses.embeddings import full_precision, normalize, prepared, split
from solo_dyntemp.losses.module import LossModule
from solo_dyntemp.losses.reduction import mean_loss
from solo_dyntemp.temperature import BatchContext, TemperatureLike


def dyntemp_dcl(
    z1: Tensor,
    z2: Tensor,
    *,
    temperature: TemperatureLike,
    detach_temperature: bool = True,
    sigma: float | None = None,
    indexes: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    r"""Decoupled contrastive loss, τ a function of each pair's similarity.

    The loss of anchor i with positive p is log Σ_j exp l_ij - w_i l_ip over all views j of other
    images, l(s) = s / τ(s). Source: arXiv 2110.06848, eq. 6 (DCL) and 7 (DCLW), with one sum over
    the negatives of both views (DySTreSS's code adds the log-sums of the two views). DCL has
    w = 1, DCLW w_i = 2 - N softmax_i(s_ip / σ), without gradient. In a distributed run the
    candidates, and the softmax, are those of all processes.

    Args:
        z1: projections of the first views, not normalised, shape (N, D).
        z2: projections of the second views, shape (N, D).
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ; in DCL, DySTreSS's code does not.
        sigma: σ of DCLW's weight, 0.5 in its paper; None for DCL.
        indexes: data set index of each image, shape (N,); for temperatures per sample only.
        implementation: "dense" builds the matrix, "tiled" and, on an NVIDIA GPU,
            "triton" do not; "auto" chooses.

    Returns:
        mean over this process's 2N anchors, a scalar; it can be negative.

    Raises:
        ValueError: a shape, type, device or value is not as described, there is only one image, or
            processes have batches of different shapes.

    >>> from solo_dyntemp.temperature import CosineTemperature
    >>> z = torch.eye(2)
    >>> dyntemp_dcl(z, z, temperature=CosineTemperature(0.1, 0.2))
    tensor(-4.3069)
    """
    check_embeddings(z1=z1, z2=z2)
    check_same_shape(z1=z1, z2=z2)
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    check_sigma(sigma)
    if indexes is not None:
        check_indexes("indexes", indexes, z1)
        indexes = indexes.repeat_interleave(2)
    temperature, detach = prepared(temperature, detach_temperature)
    check_equal_shapes(z1)
    count = len(z1) * world_size()
    if count == 1:
        raise ValueError(f"there must be at least two images, got shape {tuple(z1.shape)}")
    z, extra = split(torch.stack([z1, z2], dim=1).flatten(0, 1), temperature)
    with full_precision(z):
        rows = normalize(z)  # views side by side, (2N, D)
        with torch.no_grad():
            similarity = (rows[::2] * rows[1::2]).sum(1)
        temperature = temperature.for_batch(
            BatchContext(
                lambda: mean_over_processes(similarity.mean()),
                indexes,
                everyones(indexes),
                rows,
                extra,
            )
        )
        everywhere = torch.arange(count, device=z1.device).repeat_interleave(2)
        chosen = choose(implementation, temperature, 2, rows, 2 * count)
        if chosen != "dense":
            terms = sparse_terms(chosen, rows, 2, detach, decoupled=True)
        else:
            terms = dense_terms(rows, everywhere, detach, decoupled=True)
        weight = None if sigma is None else _weight(similarity, sigma)
        return mean_loss(
            terms,
            temperature,
            negatives=2 * count - 2,
            decoupled=True,
            positive_weight=weight,
        )


def _weight(similarity: Tensor, sigma: float) -> Tensor:
    """Return DCLW's weight of each anchor, shape (2N,)."""
    everyone = all_gather(similarity) / sigma
    weight = 2 - len(everyone) * (similarity / sigma - everyone.logsumexp(0)).exp()
    return weight.repeat_interleave(2)


def check_sigma(sigma: float | None) -> None:
    """Raise ValueError unless sigma is None or a positive finite number."""
    if sigma is not None and not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be positive and finite, or None, got {sigma}")


class DynTempDCL(LossModule):
    """`dyntemp_dcl` as a module.

    Args:
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ.
        sigma: σ of DCLW's weight; None for DCL.
        implementation: "auto", "dense", "tiled" or "triton".

    Raises:
        ValueError: an argument is not as described.

    >>> DynTempDCL(0.2, sigma=0.5)(torch.eye(2), torch.eye(2))
    tensor(-4.3069)
    """

    def __init__(
        self,
        temperature: TemperatureLike = "cosine",
        detach_temperature: bool = True,
        sigma: float | None = None,
        implementation: str = "auto",
    ) -> None:
        super().__init__(temperature, detach_temperature, implementation)
        check_sigma(sigma)
        self.sigma = sigma

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `dyntemp_dcl`."""
        return {**super().settings(), "sigma": self.sigma}

    def forward(self, z1: Tensor, z2: Tensor, indexes: Tensor | None = None) -> Tensor:
        """Return the loss; see `dyntemp_dcl`."""
        return dyntemp_dcl(z1, z2, indexes=indexes, **self.settings())
