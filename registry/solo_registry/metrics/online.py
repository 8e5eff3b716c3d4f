"""Online measures of a training run: sums and counts of rows, divided once per epoch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from solo_registry.metrics.checks import UNLABELLED


class RowMean(Metric):
    """The mean of a value over all rows of an epoch and of all processes.

    A batch and a process's share may have any number of rows, including none. The means of batches
    are weighted by their rows and divided once. Checkpoints do not contain the state.

    >>> mean = RowMean()
    >>> mean.update(torch.tensor(50.0), torch.tensor(4))
    >>> mean.update(torch.tensor(100.0), torch.tensor(1))
    >>> mean.update(torch.tensor(0.0), torch.tensor(0))
    >>> mean.compute()
    tensor(60.)
    """

    full_state_update = False
    total: Tensor
    rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("rows", torch.tensor(0.0), dist_reduce_fx="sum")

    def forward(self, value: Tensor, rows: Tensor) -> Tensor:
        """Add a batch; return its own mean, NaN where it has no rows."""
        self.update(value, rows)
        batch: Tensor = torch.where(rows > 0, value.detach().float(), torch.nan)
        self._forward_cache = batch  # type: ignore[assignment]
        return batch

    def update(self, value: Tensor, rows: Tensor) -> None:
        """Add the mean of a batch.

        Args:
            value: scalar, the mean over the rows; ignored where there are none.
            rows: scalar, the number of rows.
        """
        value = value.detach().float()
        self.total = self.total + torch.where(rows > 0, value * rows, 0.0)
        self.rows = self.rows + rows

    def compute(self) -> Tensor:
        """Return the mean; NaN if there were no rows, infinity if a value was not finite.

        >>> RowMean()(torch.tensor(0.0), torch.tensor(0))
        tensor(nan)
        """
        mean = (self.total / self.rows).nan_to_num(torch.inf, torch.inf, torch.inf)
        return torch.where(self.rows > 0, mean, torch.nan)


def classification(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return cross-entropy and accuracies in percent over the labelled rows (-1 is unlabelled).

    Args:
        logits: (N, C).
        targets: (N,).

    Returns:
        Scalars `loss`, `acc1` and `acc5` (acc@C with fewer than 5 classes), all 0 if no row is
        labelled; and `labelled`, the number of labelled rows. `RowMean` weights the means by it.
    """
    labelled = (targets != UNLABELLED).sum()
    count = labelled.clamp(min=1)
    loss = F.cross_entropy(logits, targets, ignore_index=UNLABELLED, reduction="sum") / count
    top = logits.detach().topk(min(5, logits.shape[1])).indices == targets[:, None]
    acc1, acc5 = (100 * top[:, :k].sum() / count for k in (1, 5))
    return {"loss": loss, "acc1": acc1, "acc5": acc5, "labelled": labelled}
