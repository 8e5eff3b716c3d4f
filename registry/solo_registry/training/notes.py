"""What a run says about its settings: in its first lines, and if it diverges."""

from __future__ import annotations

import time

from omegaconf import DictConfig

from solo_registry.config.devices import on_cpu
from solo_registry.data.sampling import one_thread

BFLOAT16 = ("bf16", "bf16-mixed", "bf16-true", "16", "16-mixed")  # what uses bfloat16 on a CPU
SLOWER = 2.0  # times as long as in float32, from which a user is told


def notes_of(cfg: DictConfig) -> list[str]:
    """Return what a run, and a plan of it, say about the settings before anything is trained."""
    notes = (idle_gpu, micro_batches, all_warmup, slow_bfloat16)
    return [text for note in notes if (text := note(cfg))]


def micro_batches(cfg: DictConfig) -> str:
    """Return what micro-batches change and what they do not, else ""."""
    batch, size = cfg.optimizer.batch_size, cfg.optimizer.micro_batch_size
    if size is None:
        return ""
    return (
        f"each device's loss compares {batch} images, which its networks see {size} at a time "
        f"(optimizer.micro_batch_size): BatchNorm uses the statistics of {size} images"
    )


def all_warmup(cfg: DictConfig) -> str:
    """Return a warning if the learning rate never ends its warm-up, else ""."""
    warmup, epochs = cfg.scheduler.warmup_epochs, cfg.max_epochs
    if cfg.scheduler.name != "warmup_cosine" or warmup < epochs:
        return ""
    return (
        f"warning: scheduler.warmup_epochs={warmup:g} of max_epochs={epochs}: the learning rate "
        f"only rises, so little is learnt; scheduler.warmup_epochs={epochs / 10:g} is usual"
    )


def idle_gpu(cfg: DictConfig) -> str:
    """Return a note if Apple's GPU is there and `accelerator=auto` does not use it, else ""."""
    import torch

    if cfg.accelerator != "auto" or not on_cpu(cfg) or not torch.backends.mps.is_available():
        return ""
    return (
        "trains on the CPU: Apple's GPU has not been tried yet (docs/usage.md, Windows and macOS)"
    )


def slow_bfloat16(cfg: DictConfig) -> str:
    """Return a warning if the run's bfloat16 makes this CPU slower, else ""."""
    on_gpu = not on_cpu(cfg) or cfg.accelerator == "mps"
    if on_gpu or str(cfg.precision) not in BFLOAT16 or (cost := bfloat16_cost()) < SLOWER:
        return ""
    return (
        f"warning: precision={cfg.precision}: a convolution in bfloat16 takes this CPU {cost:.0f} "
        "times as long as one in float32; precision=32 is faster here"
    )


def bfloat16_cost() -> float:
    """Return how many times as long a convolution takes this CPU in bfloat16 as in float32.

    Measured in a moment, forward and backward. A CPU with units for bfloat16 (AMX, AVX512-BF16)
    takes less than once; one without AVX512 takes ten times and more, because PyTorch's fast
    convolutions do not serve it.
    """
    import torch

    def fastest(dtype: torch.dtype) -> float:
        images = torch.ones(8, 64, 16, 16, dtype=dtype, requires_grad=True)
        weight = torch.ones(64, 64, 3, 3, dtype=dtype, requires_grad=True)
        taken = []
        for _ in range(3):  # the first makes the kernels
            start = time.perf_counter()
            made = torch.nn.functional.conv2d(images, weight, padding=1)
            torch.autograd.grad(made.sum(), (images, weight))
            taken.append(time.perf_counter() - start)
        return min(taken)

    with one_thread(), torch.enable_grad():  # several threads wait for each other on a busy CPU
        return fastest(torch.bfloat16) / fastest(torch.float32)


def what_helps(cfg: DictConfig) -> str:
    """Return what to try if training diverges, for the message."""
    optimizer = cfg.optimizer
    ways = [
        f"a lower optimizer.lr (it is {optimizer.lr:g}, effective {optimizer.effective_lr:g})",
        f"more scheduler.warmup_epochs (now {cfg.scheduler.warmup_epochs:g})",
        "gradient_clip_val=1",
    ]
    if str(cfg.precision).startswith("16"):
        ways.append("precision=bf16-mixed or 32")
    return ", ".join(ways)
