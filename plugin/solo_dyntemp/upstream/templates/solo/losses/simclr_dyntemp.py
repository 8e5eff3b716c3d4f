import math

import torch
import torch.nn.functional as F
from solo.utils.misc import gather, get_rank


def dyntemp_temperature(sim: torch.Tensor, tau_min: float = 0.1, tau_max: float = 0.2):
    """Computes the temperature of each pair from its cosine similarity, as in DySTreSS
    (https://arxiv.org/abs/2308.01140): tau_min at similarity 0, tau_max at -1 and 1.

    Args:
        sim (torch.Tensor): cosine similarities, of any shape.
        tau_min (float, optional): temperature of dissimilar pairs. Defaults to 0.1.
        tau_max (float, optional): temperature of (very) similar or opposite pairs.
            Defaults to 0.2.

    Returns:
        torch.Tensor: temperatures, of the shape of sim.
    """

    return tau_min + 0.5 * (tau_max - tau_min) * (1 + torch.cos(math.pi * (1 + sim)))


def simclr_dyntemp_loss_func(
    z: torch.Tensor,
    indexes: torch.Tensor,
    tau_min: float = 0.1,
    tau_max: float = 0.2,
    detach_temperature: bool = True,
) -> torch.Tensor:
    """Computes SimCLR's loss with a temperature that is a function of each pair's similarity,
    given batch of projected features z from different views. With tau_min equal to tau_max
    it is SimCLR's loss.

    Args:
        z (torch.Tensor): (N*views) x D Tensor containing projected features from the views.
        indexes (torch.Tensor): unique identifiers for each crop (unsupervised)
            or targets of each crop (supervised).
        tau_min (float, optional): temperature at similarity 0. Defaults to 0.1.
        tau_max (float, optional): temperature at similarity -1 and 1. Defaults to 0.2.
        detach_temperature (bool, optional): stops the gradient through the temperature, as the
            authors' code does; False follows the derivation in their paper. Defaults to True.

    Returns:
        torch.Tensor: SimCLR loss.
    """

    # low temperatures need full precision
    with torch.autocast(device_type=z.device.type, enabled=False):
        z = F.normalize(z.float(), dim=-1)
        gathered_z = gather(z)
        gathered_indexes = gather(indexes)

        sim = torch.einsum("if, jf -> ij", z, gathered_z)
        logits = sim / dyntemp_temperature(
            sim.detach() if detach_temperature else sim, tau_min, tau_max
        )

        # a view is not compared with itself
        self_mask = torch.zeros_like(sim, dtype=torch.bool)
        self_mask[:, z.size(0) * get_rank() :].fill_diagonal_(True)
        pos_mask = indexes.unsqueeze(1) == gathered_indexes.unsqueeze(0)

        pos = torch.logsumexp(logits.masked_fill(~pos_mask | self_mask, -torch.inf), 1)
        pos_and_neg = torch.logsumexp(logits.masked_fill(self_mask, -torch.inf), 1)
        return torch.mean(pos_and_neg - pos)
