"""InfoNCE over a batch of views: NT-Xent with two views, solo-learn's form with more."""

from __future__ import annotations

import torch
from torch import Tensor

from solo_dyntemp.gather import check_equal_shapes
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
from solo_dyntemp.losses.views import Views, group, positive_similarity
from solo_dyntemp.temperature import BatchContext, Temperature, TemperatureLike


def dyntemp_infonce(
    z: Tensor,
    indexes: Tensor,
    *,
    temperature: TemperatureLike,
    detach_temperature: bool = True,
    implementation: str = "auto",
    views: int | None = None,
) -> Tensor:
    r"""InfoNCE whose temperature is a function of each pair's similarity.

    With l_ij = s_ij / τ(s_ij), s the cosine, the loss of anchor i is
    log Σ_{j≠i} exp l_ij - log Σ_p exp l_ip over the other views p of its image. Two views make it
    NT-Xent (arXiv 2002.05709, eq. 1), with τ(s) of DySTreSS (arXiv 2308.01140). With more views the
    positives are summed inside the logarithm, as solo-learn does. In a distributed run the
    candidates are the views of all processes, with gradient. The gradient's mean over processes is
    then the gradient of one process with the whole batch.

    Args:
        z: projections of all views, not normalised, shape (M, D); any floating type, computed in
            at least float32.
        indexes: the image of each row, integers, shape (M,); each image at least twice.
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ, as the authors' code does for NT-Xent; the
            paper's derivation does not.
        implementation: "dense" builds the (M, M) matrix, "tiled" and, on an NVIDIA GPU,
            "triton" do not; "auto" chooses.
        views: how often each index is there, if you know it: every image exactly so often, on one
            process. Then nothing reads the indexes, so nothing waits for a GPU.

    Returns:
        mean over this process's anchors, a scalar.

    Raises:
        ValueError: a shape, type, device, index or temperature is not as described, or processes
            have batches of different shapes.

    >>> import torch
    >>> from solo_dyntemp.temperature import CosineTemperature
    >>> z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> indexes = torch.tensor([0, 1, 0, 1])
    >>> dyntemp_infonce(z, indexes, temperature=CosineTemperature(0.1, 0.2))
    tensor(0.0134)
    """
    check_embeddings(z=z)
    check_indexes("indexes", indexes, z)
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    check_equal_shapes(z)
    if views is None:
        grouped = group(indexes)
    elif views < 2 or len(z) % views:
        raise ValueError(f"views must be at least 2 and divide the {len(z)} rows, got {views}")
    else:
        grouped = Views.known(indexes, views)
    batch = (z, grouped, indexes, indexes)
    chosen = prepared(temperature, detach_temperature)
    return contrast(*batch, *chosen, implementation, views)


def dyntemp_ntxent(
    z0: Tensor,
    z1: Tensor,
    *,
    temperature: TemperatureLike,
    detach_temperature: bool = True,
    indexes: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    """`dyntemp_infonce` of two views of each image: NT-Xent (arXiv 2002.05709, eq. 1).

    It needs no indexes, so nothing waits for a GPU.

    Args:
        z0: projections of the first views, not normalised, shape (N, D).
        z1: projections of the second views, shape (N, D).
        temperature: as in `dyntemp_infonce`, like the arguments that are not listed.
        detach_temperature: stop the gradient through τ.
        indexes: data set index of each image, shape (N,); for temperatures per sample only.
        implementation: "auto", "dense", "tiled" or "triton".

    Returns:
        mean over this process's 2N anchors, a scalar.

    Raises:
        ValueError: a shape, type, device or temperature is not as described, or processes have
            batches of different shapes.

    >>> import torch
    >>> dyntemp_ntxent(torch.eye(2), torch.eye(2), temperature="cosine")
    tensor(0.0134)
    """
    check_embeddings(z0=z0, z1=z1)
    check_same_shape(z0=z0, z1=z1)
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    if indexes is not None:
        check_indexes("indexes", indexes, z0)
        indexes = indexes.repeat_interleave(2)
    check_equal_shapes(z0)
    z = torch.stack([z0, z1], dim=1).flatten(0, 1)
    images = torch.arange(len(z0), device=z.device).repeat_interleave(2)
    batch = (z, Views.pairs(len(z0), z.device), images, indexes)
    return contrast(*batch, *prepared(temperature, detach_temperature), implementation)


def contrast(
    z: Tensor,
    views: Views,
    images: Tensor,
    indexes: Tensor | None,
    temperature: Temperature,
    detach: bool,
    implementation: str,
    known: int | None = None,
) -> Tensor:
    """Compute the loss of checked arguments.

    Args:
        z: as in `dyntemp_infonce`.
        views: the rows of equal `images`.
        images: group of each row, shape (M,); rows of one group are positives.
        indexes: data set index of each row, shape (M,), or None.
        temperature: the temperature.
        detach: stop the gradient through it.
        implementation: as in `dyntemp_infonce`.
        known: `views` of `dyntemp_infonce`.
    """
    z, extra = split(z, temperature)
    with full_precision(z):
        rows = normalize(z)
        temperature = temperature.for_batch(
            BatchContext(
                lambda: positive_similarity(rows, images, known),
                indexes,
                everyones(indexes),
                rows,
                extra,
            )
        )
        columns = len(views.everywhere)
        chosen = choose(implementation, temperature, views.count, rows, columns)
        if chosen != "dense" and views.count is not None:
            side_by_side = rows if views.order is None else rows[views.order]
            terms = sparse_terms(chosen, side_by_side, views.count, detach)
        else:
            terms = dense_terms(rows, views.everywhere, detach)
        return mean_loss(terms, temperature, negatives=views.negatives)


class DynTempInfoNCE(LossModule):
    """`dyntemp_infonce` as a module, with the arguments of `LossModule`.

    >>> import torch
    >>> from solo_dyntemp.temperature import CosineTemperature
    >>> loss = DynTempInfoNCE(CosineTemperature(0.1, 0.2))
    >>> loss(torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]))
    tensor(0.0134)
    """

    def forward(self, z: Tensor, indexes: Tensor) -> Tensor:
        """Return the loss; see `dyntemp_infonce`."""
        return dyntemp_infonce(z, indexes, **self.settings())
