import torch
import torch.nn.functional as F
from solo.losses.simclr_dyntemp import dyntemp_temperature


def mocov2plus_dyntemp_loss_func(
    query: torch.Tensor,
    key: torch.Tensor,
    queue: torch.Tensor,
    tau_min: float = 0.1,
    tau_max: float = 0.2,
    detach_temperature: bool = True,
) -> torch.Tensor:
    """Computes MoCo's loss with a temperature that is a function of each pair's similarity,
    given a batch of queries from view 1, a batch of keys from view 2 and a queue of past elements.
    With tau_min equal to tau_max it is MoCo's loss.

    Args:
        query (torch.Tensor): NxD Tensor containing the normalized queries from view 1.
        key (torch.Tensor): NxD Tensor containing the normalized keys from view 2.
        queue (torch.Tensor): a DxK queue of normalized negative samples.
        tau_min (float, optional): temperature at similarity 0. Defaults to 0.1.
        tau_max (float, optional): temperature at similarity -1 and 1. Defaults to 0.2.
        detach_temperature (bool, optional): stops the gradient through the temperature, as the
            authors' code does; False follows the derivation in their paper. Defaults to True.

    Returns:
        torch.Tensor: MoCo loss.
    """

    # low temperatures need full precision
    with torch.autocast(device_type=query.device.type, enabled=False):
        query, key, queue = query.float(), key.float(), queue.float()
        pos = torch.einsum("nc, nc -> n", query, key).unsqueeze(-1)
        neg = torch.einsum("nc, ck -> nk", query, queue)
        sim = torch.cat([pos, neg], dim=1)
        logits = sim / dyntemp_temperature(
            sim.detach() if detach_temperature else sim, tau_min, tau_max
        )
        targets = torch.zeros(query.size(0), device=query.device, dtype=torch.long)
        return F.cross_entropy(logits, targets)
