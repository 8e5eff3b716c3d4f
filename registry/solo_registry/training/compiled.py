"""`torch.compile` for the network of a run: performance.compile and performance.compile_mode."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback
from torch import nn

from solo_registry.backbones.layout import needs_channels_first


def compile_backbones(model: nn.Module, mode: str = "default") -> None:
    """Let `torch.compile` make the forward pass of the network and of its moving average.

    That happens at the first batch. Names in checkpoints stay as they are. On a CPU the compiler
    turns convolutions into the channels-last layout, but for a network that must keep the other one
    (`needs_channels_first`).

    Args:
        model: the method.
        mode: of `torch.compile`. Those with CUDA graphs need `MarkSteps`.
    """
    for name in ("backbone", "momentum_backbone"):
        if isinstance(module := getattr(model, name, None), nn.Module):
            # on a CPU; `mode` and `options` cannot both be given
            if getattr(model, "no_channel_last", False) and needs_channels_first(module):
                options = torch._inductor.list_mode_options(mode) | {"layout_optimization": False}
                module.compile(options=options)
            else:
                module.compile(mode=mode)


class MarkSteps(Callback):
    """Tells CUDA graphs where a step begins, so that all outputs of a step live until it ends.

    Else a second call of the network, for the second view say, may overwrite the first's output.
    """

    def on_train_batch_start(self, *_: Any) -> None:
        """Free the outputs of the step before."""
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def on_validation_batch_start(self, *_: Any) -> None:
        """Free the outputs of the batch before."""
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


def told_of_compiler(error: Exception) -> str:
    """Return the message, one paragraph, about an error of `torch.compile`; else nothing."""
    from torch._dynamo.exc import TorchDynamoException  # a second to import, and rarely needed

    if not isinstance(error, TorchDynamoException):
        return ""
    reason = " ".join(str(error).partition("\n\nSet ")[0].split())[:300].rstrip(".")
    return (
        f"performance.compile=true: PyTorch cannot compile the network: {reason}. It needs a C++ "
        "compiler (g++) on a CPU and Triton on a GPU; performance.compile=false trains without"
    )
