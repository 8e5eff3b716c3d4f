"""No training step waits for the device, where a card is and, as far as it shows, on a CPU."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils._python_dispatch import TorchDispatchMode

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.runs.model import build_method

# operations whose result the host must read, or whose result's shape: a GPU is waited for
READS = {
    "_local_scalar_dense", "_unique2", "unique_dim", "unique_consecutive", "nonzero",
    "masked_select", "bincount", "is_nonzero", "equal", "_assert_async",
}  # fmt: skip
BY_MASK = {"index", "index_put", "index_put_", "_unsafe_index"}
# methods whose step reads a number, and why
LIGHTLY = "lightly's loss chooses pairs by a mask"
LABELS = "an image without a label is an error, and the classes of a batch differ in size"
WAITS = {
    **dict.fromkeys(("dcl", "dclw", "vicreg", "vicregl"), LIGHTLY),
    **dict.fromkeys(("supcon", "supcon_out", "supcon_dyntemp"), LABELS),
    "frossl": "lightly's loss checks its own numbers",
    "isogclr": "its temperatures are kept by data set index, which it checks and groups",
}
# seen with a card only
GPU_WAITS = WAITS | {
    "mmcr": "singular values, of which cuSOLVER asks whether they converged",
    "wmse": "lightly's loss copies a zero to the device",
}


class Waits(TorchDispatchMode):
    """Notes each operation that would wait, and where our code calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        masks = name in BY_MASK and any(
            isinstance(each, torch.Tensor) and each.dtype == torch.bool for each in args[1]
        )
        counts = name == "repeat_interleave" and not (kwargs or {}).get("output_size")
        if name in READS or masks or counts:
            ours = [
                f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
                for frame in traceback.extract_stack()
                if "solo_" in frame.filename
            ]
            self.seen.append(f"{name} at {' < '.join(ours[::-1][:3])}")
        return func(*args, **(kwargs or {}))


class OneStep(Callback):
    """Watches the third step, from its beginning to its optimizer's end."""

    def __init__(self) -> None:
        self.waits = Waits()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            if module.device.type == "cuda":
                with warnings.catch_warnings():  # that it does not yet detect all
                    warnings.simplefilter("ignore", UserWarning)
                    torch.cuda.set_sync_debug_mode("error")
            self.waits.__enter__()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
        if rest[-1] == 2:
            self.waits.__exit__(None, None, None)
            if module.device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")


def waits_of(method: str, cfg: Any, accelerator: str) -> list[str]:
    """Train three steps and return what waits in the last one."""
    step = OneStep()
    trainer = Trainer(
        max_epochs=1, max_steps=3, accelerator=accelerator, devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[step], limit_val_batches=0, use_distributed_sampler=False,
    )  # fmt: skip
    model = build_method(cfg := resolve(cfg), data := build_data(cfg))
    trainer.fit(model, datamodule=data)
    return step.waits.seen


@pytest.mark.slow
@pytest.mark.each_kind
def test_a_step_reads_nothing_from_the_device(
    method: str, small: Callable[..., Any], usual: str
) -> None:
    seen = waits_of(method, small(usual, "optimizer.batch_size=32", "max_epochs=1"), "cpu")
    assert bool(seen) is (method in WAITS), seen


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_waits_for_no_gpu(method: str, small: Callable[..., Any], usual: str) -> None:
    if method in GPU_WAITS:
        pytest.skip(f"its step waits: {GPU_WAITS[method]}")
    cfg = small(usual, "optimizer.batch_size=32", "max_epochs=1", "data.format=on_device")
    try:
        waits_of(method, cfg, "gpu")
    finally:
        torch.cuda.set_sync_debug_mode("default")  # after an error too: it is the process's
