import torch


def dynamic_temperature(
    sim: torch.Tensor, tau_min: float = TAU_MIN, tau_max: float = TAU_MAX
) -> torch.Tensor:
    """Computes the temperature of each pair from its cosine similarity, as in DySTreSS
    (PAPER).

    Args:
        sim (torch.Tensor): cosine similarities, of any shape.
        tau_min (float, optional): temperature at similarity 0. Defaults to TAU_MIN.
        tau_max (float, optional): temperature at similarity -1 and 1. Defaults to TAU_MAX.

    Returns:
        torch.Tensor: temperatures, of the shape of sim.
    """

    return FORMULA(sim)
