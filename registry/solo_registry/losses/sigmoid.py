"""SigLIP's loss, which classifies each pair by itself, without a softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_registry.losses.rows import own_columns, similarities


def sigmoid_pairs(z1: Tensor, z2: Tensor, log_scale: Tensor, bias: Tensor) -> Tensor:
    r"""SigLIP's loss over all pairs of two views (Zhai et al. 2023, arXiv 2303.15343).

    loss = -1/N Σ_i Σ_j log σ(y_ij (e^t s_ij + b)), y_ij = 1 for two views of one image and -1
    otherwise. It is a sum over the candidates j and a mean over the anchors i.

    Args:
        z1: (N, D) projections of the first view, not normalised: the anchors.
        z2: (N, D) projections of the second view of the same images; gathered from all processes.
        log_scale: t, a scalar.
        bias: b, a scalar.

    Returns:
        Scalar mean over this process's anchors.

    >>> import torch
    >>> loss = sigmoid_pairs(torch.eye(3), torch.eye(3), torch.tensor(0.0), torch.tensor(0.0))
    >>> f"{loss:.4f}"  # ln(1 + 1/e) + 2 ln 2
    '1.6996'
    """
    logits = log_scale.exp() * similarities(z1, z2) + bias
    columns = torch.arange(logits.shape[1], device=logits.device)
    own = (columns == own_columns(z1)[:, None]).long()
    return -F.logsigmoid((2 * own - 1) * logits).sum(1).mean()
