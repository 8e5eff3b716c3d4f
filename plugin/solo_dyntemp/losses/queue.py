"""InfoNCE against a queue of keys (MoCo)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from solo_dyntemp.gather import mean_over_processes
from solo_dyntemp.losses.checks import (
    check_choice,
    check_embeddings,
    check_indexes,
    check_same_shape,
)
from solo_dyntemp.losses.contrast import IMPLEMENTATIONS, choose, log_sums
from solo_dyntemp.losses.embeddings import full_precision, normalize, prepared, split
from solo_dyntemp.losses.kernels import dense
from solo_dyntemp.losses.kernels.settings import KernelSettings
from solo_dyntemp.losses.module import LossModule
from solo_dyntemp.losses.reduction import Terms, mean_loss
from solo_dyntemp.temperature import (
    BatchContext,
    PairMask,
    Temperature,
    TemperatureLike,
)


def dyntemp_infonce_queue(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    temperature: TemperatureLike,
    detach_temperature: bool = True,
    indexes: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    r"""InfoNCE of queries against their keys and a queue, τ a function of each pair's similarity.

    The loss of query i is log(exp l(q_i·k_i) + Σ_j exp l(q_i·n_j)) - l(q_i·k_i), l(s) = s / τ(s).
    Source: MoCo (arXiv 1911.05722, eq. 1), τ(s) after DySTreSS (arXiv 2308.01140). Negatives come
    from the queue alone, so nothing is gathered in a distributed run.

    Args:
        query: projections of the trained network, shape (N, D).
        key: projections of the momentum network, row i of the same image as query i, (N, D).
        queue: earlier keys, in columns, shape (D, K); no gradient reaches it.
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ.
        indexes: data set index of each query, shape (N,); for temperatures per sample only.
        implementation: "dense" builds the matrix, "tiled" and, on an NVIDIA GPU,
            "triton" do not; "auto" chooses.

    Returns:
        mean over the queries, a scalar.

    Raises:
        ValueError: a shape, type, device or temperature is not as described.

    >>> from solo_dyntemp.temperature import CosineTemperature
    >>> query, queue = torch.eye(2), torch.tensor([[-1.0], [0.0]])
    >>> dyntemp_infonce_queue(query, query, queue, temperature=CosineTemperature(0.1, 0.2))
    tensor(0.0034)
    """
    check_embeddings(query=query, key=key, queue=queue)
    check_same_shape(query=query, key=key)
    temperature, detach = prepared(temperature, detach_temperature)
    (query, extra), (key, _) = split(query, temperature), split(key, temperature)
    if queue.shape[0] != query.shape[1]:
        raise ValueError(
            f"queue must have shape ({query.shape[1]}, K), keys in columns, "
            f"got {tuple(queue.shape)}"
        )
    check_choice("implementation", implementation, IMPLEMENTATIONS)
    if indexes is not None:
        check_indexes("indexes", indexes, query)
    with full_precision(query):
        rows = normalize(query)
        positive = (rows * normalize(key)).sum(1, keepdim=True)  # (N, 1)
        negatives = normalize(queue.detach().T)  # (K, D)
        temperature = temperature.for_batch(
            BatchContext(
                lambda: mean_over_processes(positive.mean()), indexes, anchors=rows, extra=extra
            )
        )
        chosen = choose(implementation, temperature, 1, rows, len(negatives))
        if chosen == "dense":
            terms = _dense(rows, positive, negatives, detach)
        else:
            terms = _sparse(chosen, rows, positive, negatives, detach)
        return mean_loss(terms, temperature, negatives=len(negatives))


def _dense(
    rows: Tensor, positive: Tensor, negatives: Tensor, detach: bool
) -> Callable[[Temperature], Terms]:
    def terms(temperature: Temperature) -> Terms:
        def block(start: int, stop: int) -> Terms:
            s = torch.cat([positive[start:stop], rows[start:stop] @ negatives.T], dim=1)
            mask = PairMask(torch.zeros_like(s, dtype=torch.bool), start=start)
            mask.positive[:, 0] = True
            return dense.terms(s, mask, temperature=temperature, detach=detach)

        return dense.in_blocks(block, len(rows), 1 + len(negatives))

    return terms


def _sparse(
    chosen: str, rows: Tensor, positive: Tensor, negatives: Tensor, detach: bool
) -> Callable[[Temperature], Terms]:
    s = positive.squeeze(1)

    def terms(temperature: Temperature) -> Terms:
        numerator = s / temperature(s.detach() if detach else s)
        denominator = log_sums(chosen, rows, negatives, KernelSettings(temperature, detach))
        return numerator, torch.logaddexp(numerator, denominator)

    return terms


class DynTempQueueInfoNCE(LossModule):
    """`dyntemp_infonce_queue` as a module, with the arguments of `LossModule`.

    The caller keeps the queue.

    >>> loss = DynTempQueueInfoNCE(0.2)
    >>> loss(torch.eye(2), torch.eye(2), torch.tensor([[-1.0], [0.0]]))
    tensor(0.0034)
    """

    def forward(
        self, query: Tensor, key: Tensor, queue: Tensor, indexes: Tensor | None = None
    ) -> Tensor:
        """Return the loss; see `dyntemp_infonce_queue`."""
        return dyntemp_infonce_queue(query, key, queue, indexes=indexes, **self.settings())
