"""`precision=bf16-mixed` trains every method, and compares rows in float32."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils._python_dispatch import TorchDispatchMode

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.runs.model import build_method

PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "addbmm", "dot", "mv"}
# code whose products are a network's: layers, and attention of a backbone
LAYERS = (
    "torch/nn/modules/linear",
    "torch/nn/modules/conv",
    "torch/nn/modules/activation",
    "timm/",
    "models/modules/heads",
)
# methods that round a comparison, and why that is meant
ROUNDED: dict[str, str] = {}


class Comparisons(TorchDispatchMode):
    """Notes each matrix product of 16-bit numbers that no layer of the network makes."""

    def __init__(self) -> None:
        super().__init__()
        self.rounded: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        half = any(isinstance(a, torch.Tensor) and a.dtype == torch.bfloat16 for a in args)
        if half and func._schema.name.removeprefix("aten::") in PRODUCTS:
            frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack()]
            places = [i for i, frame in enumerate(frames) if "solo_" in frame or "lightly" in frame]
            # a backward pass has no place of ours, and the numbers of its forward pass
            if places and not any(word in f for f in frames[places[-1] :] for word in LAYERS):
                self.rounded.append(frames[places[-1]].rpartition("/")[2])
        return func(*args, **(kwargs or {}))


class Watch(Callback):
    """Watches the steps of a run."""

    def __init__(self) -> None:
        self.products, self.losses = Comparisons(), []

    def on_train_batch_start(self, *_: Any) -> None:
        self.products.__enter__()

    def on_before_backward(self, trainer: Any, module: Any, loss: Any) -> None:
        self.losses.append((loss.item(), loss.dtype))

    def on_train_batch_end(self, *_: Any) -> None:
        self.products.__exit__(None, None, None)


def steps_in_bf16(cfg: Any, accelerator: str) -> tuple[Watch, Any]:
    """Train two steps; return what was seen, and the model."""
    watch = Watch()
    trainer = Trainer(
        max_epochs=1, max_steps=2, accelerator=accelerator, devices=1, precision="bf16-mixed",
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[watch], limit_val_batches=0,
        use_distributed_sampler=False,
    )  # fmt: skip
    model = build_method(cfg := resolve(cfg), data := build_data(cfg))
    trainer.fit(model, datamodule=data)
    return watch, model


def assert_right(method: str, cfg: Any, accelerator: str) -> None:
    watch, model = steps_in_bf16(cfg, accelerator)
    assert all(math.isfinite(loss) and dtype == torch.float32 for loss, dtype in watch.losses)
    assert len(watch.losses) == 2
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert bool(watch.products.rounded) is (method in ROUNDED), set(watch.products.rounded)


@pytest.mark.slow
@pytest.mark.each_kind
def test_two_steps_in_bf16(method: str, small: Callable[..., Any], usual: str) -> None:
    assert_right(method, small(usual, "optimizer.batch_size=32"), "cpu")


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_two_steps_in_bf16_on_a_gpu(method: str, small: Callable[..., Any], usual: str) -> None:
    assert_right(method, small(usual, "optimizer.batch_size=32"), "gpu")
