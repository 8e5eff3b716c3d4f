"""Which device works outside Lightning's training loop."""

from __future__ import annotations

from typing import Any

import torch

from solo_registry.data.settings import setting


def device_of(cfg: Any) -> torch.device:
    """Return the device on which a config's run is evaluated: the first that it trains on.

    It is the CPU where `accelerator=cpu` or there is no CUDA device. Of a list of `devices` the
    first one counts; a machine with fewer GPUs than the run was trained on uses its first.

    Args:
        cfg: reads `accelerator` and `devices`, solo-learn's and Lightning's spellings.

    >>> from types import SimpleNamespace
    >>> device_of(SimpleNamespace(accelerator="cpu", devices=[0, 1]))
    device(type='cpu')
    """
    accelerator = setting(cfg, "accelerator", "auto")
    if accelerator not in ("auto", "gpu", "cuda") or not torch.cuda.is_available():
        return torch.device("cpu")
    devices = setting(cfg, "devices", 1)
    if isinstance(devices, str):
        parts = [part.strip() for part in devices.split(",")] if "," in devices else []
        first = int(parts[0]) if parts and parts[0].isdigit() else 0
    else:
        first = 0 if isinstance(devices, int) else int(devices[0])
    return torch.device("cuda", first if first < torch.cuda.device_count() else 0)
