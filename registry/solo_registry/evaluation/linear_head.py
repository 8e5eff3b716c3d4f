"""The linear probe of a run on disk, so that the run can classify images without its own data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from solo_registry.errors import UserError
from solo_registry.metrics.linear_probe import ProbeResult
from solo_registry.paths import is_file
from solo_registry.runs.run_folder import RunFolder, atomic_write


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier on features.

    Attributes:
        weight: (C, D) float64.
        bias: (C,) float64.
        classes: the C names.
        protocol: how it was fitted, in one line.
    """

    weight: Tensor
    bias: Tensor
    classes: tuple[str, ...]
    protocol: str

    @classmethod
    def of(cls, probe: ProbeResult, classes: Sequence[str]) -> LinearHead:
        """Return the classifier of a fitted probe."""
        return cls(probe.weight, probe.bias, tuple(classes), probe.protocol)

    def probabilities(self, feats: Tensor) -> Tensor:
        """Return the softmax of the scores (N, C) of features (N, D)."""
        return (feats.to(self.weight) @ self.weight.T + self.bias).softmax(dim=1)


def save_head(run: RunFolder, head: LinearHead) -> None:
    """Write the linear probe of a run.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    about = {"classes": json.dumps(head.classes), "protocol": head.protocol}
    with atomic_write(run.probe) as part:
        save_file({"weight": head.weight, "bias": head.bias}, part, about | {"run": run.identity})


def read_head(run: RunFolder) -> LinearHead | None:
    """Return the linear probe of a run; None if the run has none.

    Raises:
        UserError: the file is damaged, or belongs to another run.
    """
    if not is_file(run.probe):
        return None
    try:
        with safe_open(run.probe, framework="pt") as file:
            about = file.metadata()
            weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
        head = LinearHead(weight, bias, tuple(json.loads(about["classes"])), about["protocol"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run.probe} is damaged ({error}): remove it") from error
    fits = weight.ndim == 2 and weight.shape[:1] == bias.shape == (len(head.classes),)
    if not fits or not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise UserError(f"{run.probe} is damaged: its sizes or values do not fit. Remove it")
    if about["run"] != run.identity:
        raise UserError(f"{run.probe} belongs to another run: {about['run']}")
    return head
