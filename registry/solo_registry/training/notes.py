"""What a run says about its settings: in its first lines, and if it diverges."""

from __future__ import annotations

from omegaconf import DictConfig


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
