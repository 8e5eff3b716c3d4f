"""Says in a sentence or two when a run did not learn, or when too few images can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping

from solo_registry.errors import UserError
from solo_registry.metrics.accuracy import standard_error
from solo_registry.metrics.protocol import Result
from solo_registry.runs.records import read_metrics
from solo_registry.runs.run_folder import RunFolder

NEAR = 0.97  # of the loss at chance
MEASURES = {"knn_acc1": "kNN", "linear_acc1": "linear probe"}


def last_loss(run: RunFolder) -> float | None:
    """Return the contrastive loss of the last epoch in metrics.csv, if it is there and whole."""
    try:
        run.refuse_changed_metrics()
        table = read_metrics(run.metrics)
    except UserError:
        return None  # a report says what is damaged
    if "train_nce_loss" not in table or table["train_nce_loss"].isna().all():
        return None
    return float(table["train_nce_loss"].dropna().iloc[-1])


def verdict(
    results: Mapping[str, Result], images: int, loss: float | None, chance: float | None
) -> list[str]:
    """Compare a trained backbone with the untrained one, and its loss with chance.

    Args:
        results: the measures of "untrained" and "trained".
        images: number of test images.
        loss: the last epoch's.
        chance: see `BaseMethod.chance_loss`.

    Returns:
        Sentences; none if the run learned.

    >>> rows = {"untrained": {"knn_acc1": 60.0}, "trained": {"knn_acc1": 50.0}}
    >>> verdict(rows, 100, None, None)[0].partition(":")[0]
    'The run did not learn'
    >>> verdict({**rows, "trained": {"knn_acc1": 90.0}}, 100, 1.0, 4.0)
    []
    """
    reasons, unsure = [], []
    if loss is not None and chance is not None and loss >= NEAR * chance:
        reasons.append(f"its loss ended at {loss:.2f}, and chance is {chance:.2f}")
    before, after = results.get("untrained", {}), results.get("trained", {})
    for key, name in MEASURES.items():
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            continue
        gain = float(new) - float(old)
        error = math.hypot(standard_error(float(old), images), standard_error(float(new), images))
        if gain <= 0:
            reasons.append(f"{name} {float(new):.2f} % is not above the untrained backbone's")
        elif gain < error:
            unsure.append(f"{name} {gain:+.2f} points with a standard error of {error:.2f}")
    lines = []
    if reasons:
        lines.append(
            f"The run did not learn: {'; '.join(reasons)}. Try more max_epochs, another "
            "optimizer.lr, a shorter scheduler.warmup_epochs, weaker augmentations or more images."
        )
    if unsure:
        lines.append(f"{images} test images are too few to be sure: {'; '.join(unsure)}.")
    return lines
