"""Supervised contrastive loss: every row of one class is a positive."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from solo_dyntemp.gather import check_equal_shapes
from solo_dyntemp.losses.checks import check_choice, check_embeddings, check_indexes
from solo_dyntemp.losses.contrast import dense_terms, everyones
from solo_dyntemp.losses.embeddings import full_precision, normalize, prepared, split
from solo_dyntemp.losses.infonce import contrast
from solo_dyntemp.losses.module import LossModule
from solo_dyntemp.losses.reduction import mean_loss
from solo_dyntemp.losses.views import Views, group, positive_similarity
from solo_dyntemp.temperature import BatchContext, TemperatureLike

FORMS = ("out", "in")


def dyntemp_supcon(
    z: Tensor,
    labels: Tensor,
    *,
    temperature: TemperatureLike,
    detach_temperature: bool = True,
    form: str = "out",
    skip_alone: bool = True,
    indexes: Tensor | None = None,
) -> Tensor:
    r"""Supervised contrastive loss, τ a function of each pair's similarity.

    With P(i) the other rows of anchor i's class and l(s) = s / τ(s), form "out" is
    log Σ_{j≠i} exp l_ij - mean_{p∈P(i)} l_ip, and "in" has the log-sum over P(i) instead of the
    mean. Source: arXiv 2004.11362, eq. 2 and 3 ("in" up to the constant log |P(i)|, as in
    solo-learn). The factor τ / base temperature of its code is left out, since τ is not one number.

    Args:
        z: projections of all views, not normalised, shape (M, D).
        labels: class of each row, integers, shape (M,).
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ.
        form: "out", which the paper recommends, or "in".
        skip_alone: a row that is alone in its class is no anchor, but remains a candidate; if
            False, it is an error.
        indexes: data set index of each row, shape (M,); for temperatures per sample only.

    Returns:
        mean over this process's anchors, a scalar; 0 if there is none. If processes have different
        numbers of anchors, their sum divided by the mean number.

    Raises:
        ValueError: a shape, type, device, label or value is not as described, or processes have
            batches of different shapes.

    >>> import torch
    >>> z, labels = torch.eye(2).repeat(3, 1), torch.tensor([0, 1, 0, 1, 0, 1])
    >>> dyntemp_supcon(z, labels, temperature=0.2)
    tensor(0.7032)
    """
    check_choice("form", form, FORMS)
    check_embeddings(z=z)
    check_indexes("labels", labels, z)
    if indexes is not None:
        check_indexes("indexes", indexes, z)
    temperature, detach = prepared(temperature, detach_temperature)
    check_equal_shapes(z)
    views = group(labels, skip_alone=skip_alone)
    if form == "in" and views.anchors is None:
        return contrast(z, views, labels, indexes, temperature, detach, "auto")
    z, extra = split(z, temperature)
    with full_precision(z):
        rows = normalize(z)
        own, anchors, outputs = (_of_anchors(part, views) for part in (indexes, rows, extra))
        temperature = temperature.for_batch(
            BatchContext(
                lambda: positive_similarity(rows, labels),
                own,
                everyones(indexes),
                anchors,
                outputs,
            )
        )
        terms = dense_terms(
            rows, views.everywhere, detach, mean=form == "out", anchors=views.anchors
        )
        total = None if views.anchors is None else views.total
        return mean_loss(terms, temperature, negatives=views.negatives, anchors=total)


def _of_anchors(values: Tensor | None, views: Views) -> Tensor | None:
    """Return the values of those rows that are anchors."""
    return values if values is None or views.anchors is None else values[views.anchors]


class DynTempSupConLoss(LossModule):
    """`dyntemp_supcon` as a module, in the place of pytorch-metric-learning's `SupConLoss`.

    Args:
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ.
        form: "out" or "in".
        skip_alone: a row that is alone in its class is no anchor; if False, it is an error.

    Raises:
        ValueError: an argument is not as described.

    >>> import torch
    >>> DynTempSupConLoss(0.2)(torch.eye(2).repeat(3, 1), torch.tensor([0, 1, 0, 1, 0, 1]))
    tensor(0.7032)
    """

    def __init__(
        self,
        temperature: TemperatureLike = "cosine",
        detach_temperature: bool = True,
        form: str = "out",
        skip_alone: bool = True,
    ) -> None:
        super().__init__(temperature, detach_temperature)
        check_choice("form", form, FORMS)
        self.form, self.skip_alone = form, skip_alone

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `dyntemp_supcon`."""
        settings = {**super().settings(), "form": self.form, "skip_alone": self.skip_alone}
        del settings["implementation"]
        return settings

    def forward(self, embeddings: Tensor, labels: Tensor, indexes: Tensor | None = None) -> Tensor:
        """Return the loss; see `dyntemp_supcon`."""
        return dyntemp_supcon(embeddings, labels, indexes=indexes, **self.settings())
