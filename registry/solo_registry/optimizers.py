"""Optimizers and learning-rate schedules by name, with solo-learn's keys."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from omegaconf import DictConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR

from solo_registry.catalog.declared import Declared
from solo_registry.errors import UserError, nearest

LARS_ONLY = {"eta": 1e-3, "clip_lr": False, "exclude_bias_n_norm": False}  # and their defaults

ParamGroup = dict[str, Any]


def split_by_dimension(groups: Iterable[ParamGroup], **for_vectors: Any) -> list[ParamGroup]:
    """Split each group into matrices and vectors (biases, norms); `for_vectors` go to the latter.

    >>> layer = torch.nn.Linear(2, 3)
    >>> groups = split_by_dimension([{"name": "fc", "params": layer.parameters()}], weight_decay=0)
    >>> [(group["name"], len(group["params"]), group.get("weight_decay")) for group in groups]
    [('fc', 1, None), ('fc_vectors', 1, 0)]
    """
    split = []
    for group in groups:
        params = list(group["params"])
        matrices = [p for p in params if p.ndim > 1]
        vectors = [p for p in params if p.ndim <= 1]
        if matrices:
            split.append({**group, "params": matrices})
        if vectors:
            name = f"{group.get('name', 'group')}_vectors"
            split.append({**group, "params": vectors, "name": name, **for_vectors})
    return split


def check_kwargs(kwargs: Mapping[str, Any], optimizer: type) -> None:
    """Refuse arguments of another type than the optimizer's default of them, and NaN.

    Raises:
        UserError: such an argument; unknown ones are left to the optimizer.

    >>> check_kwargs({"momentum": "0.9"}, torch.optim.SGD)
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: optimizer.kwargs.momentum must be of type number, got '0.9'
    """
    parameters = inspect.signature(optimizer).parameters.items()
    defaults = {key: parameter.default for key, parameter in parameters} | LARS_ONLY
    for key, value in kwargs.items():
        default = defaults.get(key)
        if isinstance(default, tuple):
            Declared(default, kind=list[float]).check(f"optimizer.kwargs.{key}", value)
        elif isinstance(default, int | float):
            kind = bool if isinstance(default, bool) else float
            Declared(default, kind=kind).check(f"optimizer.kwargs.{key}", value)


def on_gpu(groups: list[ParamGroup]) -> bool:
    """Whether all trained weights are on an NVIDIA GPU."""
    return all(parameter.is_cuda for group in groups for parameter in group["params"])


def build_optimizer(groups: list[ParamGroup], cfg: DictConfig) -> Optimizer:
    """Build the optimizer of `cfg.optimizer` at its `effective_lr`.

    Args:
        groups: parameter groups with "name" and "params", and what a group sets for itself.
        cfg: resolved config. `optimizer.kwargs` of `lars` are solo-learn's: `momentum`, `eta`,
            `clip_lr` and `exclude_bias_n_norm`; the optimizer itself is timm's.

    Raises:
        UserError: an unknown name, or keyword arguments that the optimizer does not take.
    """
    name, kwargs = cfg.optimizer.name, dict(cfg.optimizer.kwargs)
    if cfg.optimizer.exclude_bias_n_norm_wd:
        groups = split_by_dimension(groups, weight_decay=0)
    classes: dict[str, Any] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
    }
    if name == "lars":
        from timm.optim.lars import Lars

        classes["lars"] = Lars
    if name in classes:
        check_kwargs(kwargs, classes[name])
    if name in ("sgd", "lars"):
        kwargs.setdefault("momentum", 0.9)
    groups = [{**group, "params": list(group["params"])} for group in groups]
    if name != "lars" and "foreach" not in kwargs and on_gpu(groups):
        # one kernel for all weights; not where a gradient scaler must divide the gradients first
        kwargs.setdefault("fused", not str(cfg.get("precision", 32)).startswith("16"))
    if name == "lars":
        if kwargs.pop("exclude_bias_n_norm", False):
            groups = split_by_dimension(groups, weight_decay=0, always_adapt=False)
        kwargs["trust_coeff"] = kwargs.pop("eta", 1e-3)
        kwargs["trust_clip"] = kwargs.pop("clip_lr", False)
        kwargs["always_adapt"] = True
    else:  # a data set's YAML chooses LARS with these; another name leaves them behind
        kwargs = {key: value for key, value in kwargs.items() if key not in LARS_ONLY}
    if name not in classes:
        known = sorted({*classes, "lars"})
        raise UserError(
            f"unknown optimizer.name '{name}'.{nearest(name, known)} Known: {', '.join(known)}"
        )
    try:
        optimizer: Optimizer = classes[name](
            groups,
            lr=cfg.optimizer.effective_lr,
            weight_decay=cfg.optimizer.weight_decay,
            **kwargs,
        )
    except (IndexError, TypeError, ValueError) as error:
        raise UserError(f"optimizer.kwargs do not fit optimizer.name={name}: {error}") from error
    return optimizer


def warmup_cosine(
    step: float, *, peak: float, warmup: float, total: float, start: float = 0.0, end: float = 0.0
) -> float:
    """Learning rate after `step` steps: linear from `start` to `peak`, then a cosine to `end`.

    >>> [round(warmup_cosine(step, peak=1.0, warmup=2, total=6), 3) for step in range(7)]
    [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup:
        return start + (peak - start) * step / warmup
    progress = min(1.0, (step - warmup) / max(total - warmup, 1e-12))
    return end + 0.5 * (peak - end) * (1 + math.cos(math.pi * progress))


def build_schedule(
    optimizer: Optimizer, static: list[bool], cfg: DictConfig, total_steps: int
) -> dict[str, Any] | None:
    """Build the schedule of `cfg.scheduler` in the form Lightning takes, or None for "none".

    Args:
        optimizer: its groups' `lr` are the peaks.
        static: for each group, whether its learning rate stays as it is.
        cfg: resolved config.
        total_steps: optimizer steps of the whole run.
    """
    scheduler, by_step = cfg.scheduler, cfg.scheduler.interval == "step"
    if scheduler.name == "none":
        return None
    if scheduler.name == "step":
        milestones = list(scheduler.lr_decay_steps or [])
        return {"scheduler": MultiStepLR(optimizer, milestones), "interval": "epoch"}
    total = total_steps if by_step else cfg.max_epochs
    warmup = min(scheduler.warmup_epochs, cfg.max_epochs) / cfg.max_epochs * total

    def factor(peak: float) -> Any:
        def at(step: int) -> float:
            rate = warmup_cosine(
                step,
                peak=peak,
                warmup=warmup,
                total=total,
                start=min(scheduler.warmup_start_lr, peak),
                end=min(scheduler.min_lr, peak),
            )
            return rate / peak if peak else 1.0

        return at

    factors = [
        (lambda _: 1.0) if fixed else factor(group["lr"])
        for fixed, group in zip(static, optimizer.param_groups, strict=True)
    ]
    schedule: LRScheduler = LambdaLR(optimizer, factors)
    return {"scheduler": schedule, "interval": scheduler.interval}
