"""What a GPU does here, in a minute: the loss's kernel, the loaders, the parts of a training step.

Each measurement is a function that a process of its own calls; it returns a sentence.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from solo_dyntemp.doctor.probe import Finding, attempt

PLAN = (
    "which kernel the loss takes and why, views/s of each loader, and the slowest part of a "
    "training step"
)
CARD = """
import subprocess, torch
assert torch.cuda.is_available()
card = torch.cuda.get_device_properties(0)
query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
driver = subprocess.run(query, capture_output=True, text=True).stdout.split()
print(f"{card.name}, {card.total_memory / 1e9:.0f} GB, capability {card.major}.{card.minor}, "
      f"driver {driver[0] if driver else 'unknown'}, CUDA {torch.version.cuda}")
"""
FORMATS = ("on_device", "image_folder", "dali")


def gpu(device: str = "cuda", small: bool = False) -> list[Finding]:
    """Measure on a device; without a card, say what would be measured.

    Args:
        device: "cuda", or "cpu" for the tests.
        small: fewer images, to see that it works.
    """
    if device == "cuda":
        good, said = attempt(CARD)
        if not good:
            return [Finding("gpu", "card", "missing", f"no CUDA device; with one: {PLAN}")]
        findings = [Finding("gpu", "card", "ok", said)]
    else:
        findings = []
    calls = {
        "loss": f"loss({device!r})",
        **{form: f"loader({form!r}, {device!r}, {small})" for form in FORMATS},
        "training step": f"step({device!r}, {small})",
    }
    for what, call in calls.items():  # one after the other: they share the card
        program = f"from solo_dyntemp.doctor import gpu; import json; print(json.dumps(gpu.{call}))"
        good, said = attempt(program)
        detail = json.loads(said.splitlines()[-1]) if good else said
        absent = what == "dali" and "nvidia-dali" in detail and not good
        state = "ok" if good else "missing" if absent else "broken"
        findings.append(Finding("dali" if absent else "gpu", what, state, detail))
    return findings


def seconds_of(call: Callable[[], Any], device: str, times: int = 5) -> float:
    """Return the median seconds of a call, after one that is not counted."""
    import torch

    found = []
    for _ in range(times + 1):
        start = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def loss(device: str) -> str:
    """Say which kernel `auto` takes for 512 pairs of views, why, and how long it takes."""
    import torch

    from solo_dyntemp.losses import dyntemp_ntxent
    from solo_dyntemp.losses.contrast import choose
    from solo_dyntemp.losses.kernels import triton
    from solo_dyntemp.temperature import CosineTemperature

    temperature = CosineTemperature()
    z = torch.randn(2, 512, 128, device=device, requires_grad=True)
    chosen = choose("auto", temperature, 2, z.flatten(0, 1).detach(), 1024)
    reason = triton.unsupported_reason(temperature, z.flatten(0, 1).detach(), 1024)
    why = f"triton {reason}" if reason else f"products in {triton.precision()}"

    def run() -> None:
        z.grad = None
        dyntemp_ntxent(z[0], z[1], temperature=temperature).backward()  # type: ignore[no-untyped-call]

    return f"{chosen} ({why}): {1e3 * seconds_of(run, device, 20):.2f} ms for 1,024 rows"


def loader(form: str, device: str, small: bool) -> str:
    """Say how many views a second a loader makes of images in memory, 32 x 32."""
    import torch

    for _ in (data := views_loader(form, device, small)):  # workers start, DALI builds its graph
        pass
    start, seen = time.perf_counter(), 0
    for _, views, _ in data:
        seen += sum(len(view) for view in views)
    if device == "cuda":
        torch.cuda.synchronize()
    return f"{seen / (time.perf_counter() - start):,.0f} views/s at 32 px"


def views_loader(form: str, device: str, small: bool) -> Any:
    """Return a loader of two SimCLR views of images of noise."""
    import torch
    from omegaconf import OmegaConf

    from solo_registry.data.module import PretrainDataModule
    from solo_registry.data.sets import SetInfo, TensorSet

    count, batch = (64, 32) if small else (8192, 512)
    cfg = OmegaConf.create(
        {
            "seed": 0,
            "augmentations": [{"crop_size": 32, "num_crops": 2}],
            "optimizer": {"batch_size": batch},
            "data": {"format": form, "num_workers": 0 if small else min(16, os.cpu_count() or 1)},
        }
    )
    info = SetInfo("noise", 10, 3, 32, (0.5,) * 3, (0.25,) * 3, tuple("abcdefghij"))
    images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8)
    module = PretrainDataModule(cfg, TensorSet(info, images, torch.arange(count) % 10), None)
    module._device = lambda: torch.device(device)  # type: ignore[method-assign]
    return module.train_dataloader()


def step(device: str, small: bool) -> str:
    """Say what the parts of a step take: simclr_dyntemp, ResNet-18, 32 x 32, bf16."""
    import torch
    from omegaconf import OmegaConf

    from solo_registry.catalog.plugins import load_plugins
    from solo_registry.catalog.registry import METHODS
    from solo_registry.config.resolve import resolve

    load_plugins()
    loader = views_loader("on_device", device, small)
    cfg = resolve(
        OmegaConf.create(
            {
                "method": "simclr_dyntemp",
                "backbone": {"name": "resnet10_narrow" if small else "resnet18"},
                "data": {"dataset": "digits", "num_classes": 10, "image_channels": 3},
                "augmentations": [{"crop_size": 32, "num_crops": 2}],
                "optimizer": {"name": "sgd", "batch_size": loader.batch_size},
            }
        )
    )
    model = METHODS.get("simclr_dyntemp")(cfg).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    parts: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        if device == "cuda":
            torch.cuda.synchronize()
        parts.setdefault(name, []).append(time.perf_counter() - start)
        return result

    for _ in range(2 if small else 10):
        indexes, views, _ = timed("views", lambda: next(iter(loader)))
        groups = indexes.repeat(2)
        with torch.autocast(device, torch.bfloat16):
            out = timed("network", partial(model.embed, views))
            compare = partial(model.contrastive_loss, torch.cat(out["z"]), groups)
            value = timed("loss", compare)
        timed("backward", value.backward)
        timed("optimizer", optimizer.step)
        optimizer.zero_grad(set_to_none=True)
    medians = {name: 1e3 * statistics.median(times) for name, times in parts.items()}
    slowest = max(medians, key=medians.__getitem__)
    shown = ", ".join(f"{name} {ms:.1f}" for name, ms in medians.items())
    return f"slowest is {slowest}; ms: {shown} (batch {len(indexes)}, bf16)"
