"""NT-Xent as a module that takes the two views, with a memory bank if asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from solo_dyntemp.gather import all_gather, alone, world_size
from solo_dyntemp.losses.embeddings import normalize
from solo_dyntemp.losses.infonce import dyntemp_ntxent
from solo_dyntemp.losses.module import LossModule
from solo_dyntemp.losses.queue import dyntemp_infonce_queue
from solo_dyntemp.temperature import TemperatureLike


class DynTempNTXentLoss(LossModule):
    """NT-Xent of two views, in the place of lightly's `NTXentLoss`: same arguments, same values.

    With a memory bank it is the loss of MoCo (arXiv 1911.05722): the anchors are the first views,
    and the negatives are second views of earlier batches. A forward pass whose `z0` needs a
    gradient puts its `z1` into the bank, in the place of the oldest. The bank starts with random
    directions and is part of the state dict.

    Args:
        temperature: τ: a temperature, its name, a number or an elementwise function.
        memory_bank_size: 0, or (number of keys, D).
        gather_distributed: in a distributed run, take the views of all processes as candidates, or
            put those of all processes into the bank. The functions of this package always do.
        detach_temperature: stop the gradient through τ.
        implementation: "auto", "dense", "tiled" or "triton".

    Raises:
        ValueError: an argument is not as described.

    >>> DynTempNTXentLoss("cosine")(torch.eye(2), torch.eye(2))
    tensor(0.0134)
    """

    bank: Tensor | None
    bank_next: Tensor

    def __init__(
        self,
        temperature: TemperatureLike = "cosine",
        memory_bank_size: int | Sequence[int] = 0,
        gather_distributed: bool = False,
        detach_temperature: bool = True,
        implementation: str = "auto",
    ) -> None:
        super().__init__(temperature, detach_temperature, implementation)
        self.gather_distributed = gather_distributed
        size = (0, 0) if memory_bank_size == 0 else memory_bank_size
        if isinstance(size, int) or len(size) != 2 or (min(size) < 1 and tuple(size) != (0, 0)):
            raise ValueError(
                f"memory_bank_size must be 0 or (number of keys, dimension), got {size}"
            )
        bank = normalize(torch.randn(*size)) if size[0] else None
        self.register_buffer("bank", bank)
        self.register_buffer("bank_next", torch.tensor(0), persistent=bank is not None)

    def forward(self, z0: Tensor, z1: Tensor, indexes: Tensor | None = None) -> Tensor:
        """Return the loss.

        Args:
            z0: projections of the first views, not normalised, shape (N, D).
            z1: projections of the second views, or of the momentum network, shape (N, D).
            indexes: data set index of each image, shape (N,); for temperatures per sample only.

        Raises:
            ValueError: a shape, type or device is not as described.
        """
        if isinstance(z1, Tensor) and z1.ndim == 1:
            raise ValueError(
                f"z1 must hold the second views, got shape {tuple(z1.shape)}; "
                "DynTempSupConLoss takes embeddings and labels"
            )
        if self.bank is not None:
            queue = self.bank.T.double() if z0.dtype == torch.float64 else self.bank.T
            loss = dyntemp_infonce_queue(z0, z1, queue, indexes=indexes, **self.settings())
            if z0.requires_grad:
                self._put(z1)
            return loss
        everyone = self.gather_distributed or world_size() == 1
        with nullcontext() if everyone else alone():
            return dyntemp_ntxent(z0, z1, indexes=indexes, **self.settings())

    @torch.no_grad()
    def _put(self, keys: Tensor) -> None:
        """Replace the oldest keys of the bank; what is over at its end is dropped, as lightly's."""
        assert self.bank is not None
        keys = normalize(all_gather(keys) if self.gather_distributed else keys)
        start = int(self.bank_next)
        keys = keys[: len(self.bank) - start]
        self.bank[start : start + len(keys)] = keys.to(self.bank)
        self.bank_next.fill_((start + len(keys)) % len(self.bank))

    def extra_repr(self) -> str:
        """Return the settings of the loss for `repr`."""
        bank = 0 if self.bank is None else tuple(self.bank.shape)
        gathered = f"gather_distributed={self.gather_distributed}"
        return f"{super().extra_repr()}, memory_bank_size={bank}, {gathered}"
