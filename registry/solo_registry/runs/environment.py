"""environment.json: what a run depends on besides its config, for each part of a resumed run."""

from __future__ import annotations

import contextlib
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from solo_registry.errors import UserError
from solo_registry.paths import exists
from solo_registry.runs.read import read_signed

PACKAGES = (
    "solo-dyntemp", "torch", "torchvision", "lightning", "timm", "hydra-core", "omegaconf",
    "torchmetrics", "lightly", "scikit-learn", "numpy", "nvidia-dali-cuda130",
)  # fmt: skip
OF_A_PART = (
    "blas", "cpu", "cuda", "git", "gpus", "instructions", "platform", "python", "threads",
    "versions",
)  # fmt: skip
SHOWN = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_fp16", "avx512_vnni", "bf16", "sve2")


def environment() -> dict[str, Any]:
    """Collect what a run depends on besides its config."""
    import torch

    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "argv": sys.argv,
        "blas": blas(torch.__config__.show()),
        "cpu": cpu_model(),
        "cuda": torch.version.cuda if gpus else None,
        "git": git_state(),
        "gpus": gpus,
        "host": platform.node(),
        "instructions": instructions(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def cpu_model(listing: str | None = None) -> str:
    r"""Return the processor's model, with its numbers where Linux lists them; "" if unknown.

    Two kinds of processor can round a sum in another order, and so move an accuracy.

    Args:
        listing: the content of /proc/cpuinfo; None reads it.

    >>> cpu_model("model name: Fast CPU\ncpu family: 6\nmodel: 85\nstepping: 7")
    'Fast CPU (family 6, model 85, stepping 7)'
    """
    if listing is None:
        try:
            listing = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return platform.processor()
    pairs = (line.partition(":") for line in listing.partition("\n\n")[0].splitlines())
    found = {key.strip(): value.strip() for key, _, value in pairs}
    named = {"cpu family": "family", "model": "model", "stepping": "stepping",
             "CPU part": "part", "CPU revision": "revision"}  # fmt: skip
    numbers = ", ".join(f"{name} {found[key]}" for key, name in named.items() if key in found)
    model = found.get("model name", platform.processor())
    return f"{model} ({numbers})" if numbers else model


def instructions() -> str:
    """Return the instruction sets that torch uses here, and those for bf16 that the CPU has."""
    import torch

    known: dict[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # not in older versions of torch
    more = [name for name in SHOWN if known.get(name) is True]
    return " ".join([torch.backends.cpu.get_cpu_capability(), *more])


def blas(built: str) -> str:
    r"""Return the libraries that multiply matrices, of the text that torch describes itself with.

    >>> blas("- Intel(R) oneAPI Math Kernel Library Version 2024.2-Product\n"
    ...      "- Intel(R) MKL-DNN v3.12.0 (Git\n- Build settings: BLAS_INFO=mkl, BUILD")
    'mkl 2024.2, oneDNN 3.12.0'
    """
    name = re.search(r"BLAS_INFO=(\w+)", built)
    version = re.search(r"Math Kernel Library Version ([\d.]+)", built)
    other = re.search(r"MKL-DNN v([\d.]+)", built)
    first = " ".join(part[1] for part in (name, version) if part)
    return ", ".join(filter(None, (first, other and f"oneDNN {other[1]}")))


def git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the checkout this code runs from, or None."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not a file in another's checkout
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain")}
    except (OSError, subprocess.CalledProcessError):
        return None


def known_parts(path: Path, epochs: int) -> list[dict[str, Any]]:
    """Return the parts in an environment.json of which the first `epochs` epochs are made.

    A file of an older version tells of one part, the last. A damaged file tells of none.
    """
    try:
        found = read_signed(path) if exists(path) else {}
    except UserError:
        found = {}
    parts = found.get("parts", [_part(found, 0)] if found else [])
    whole = isinstance(parts, list) and all(
        isinstance(part, dict) and isinstance(part.get("from_epoch"), int) for part in parts
    )
    return [part for part in parts if part["from_epoch"] < epochs] if whole else []


def with_part(
    before: list[dict[str, Any]], now: dict[str, Any], epochs: int
) -> list[dict[str, Any]]:
    """Return the parts and one that begins after `epochs` epochs, unless it is as the last one."""
    last = before[-1] if before else None
    new = _part(now, epochs)
    return before if last == new | {"from_epoch": last and last["from_epoch"]} else [*before, new]


def change(before: list[dict[str, Any]], now: dict[str, Any]) -> str:
    """Describe how an environment differs from that of the last part; empty if it does not.

    >>> old = {"from_epoch": 0, "threads": 2, "versions": {"torch": "2.6.0", "timm": "1.0.20"}}
    >>> change([old], {"threads": 8, "versions": {"torch": "2.7.0", "timm": "1.0.20"}})
    'threads 2, now 8; torch 2.6.0, now 2.7.0'
    >>> change([], {"threads": 8})
    ''
    """
    if not before:
        return ""
    old, new = _flat(before[-1]), _flat(_part(now, 0))
    keys = [key for key in {**old, **new} if key != "from_epoch"]
    return "; ".join(
        f"{key} {old.get(key)}, now {new.get(key)}" for key in keys if old.get(key) != new.get(key)
    )


def _part(found: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Return what of an environment concerns the numbers of the epochs after `epochs`."""
    return {"from_epoch": epochs} | {key: found[key] for key in OF_A_PART if key in found}


def _flat(part: dict[str, Any]) -> dict[str, Any]:
    """Put the versions beside the other entries; of git only the commit."""
    git, versions = part.get("git"), part.get("versions")
    flat = {key: value for key, value in part.items() if key not in ("git", "versions")}
    if isinstance(git, dict):
        flat["commit"] = git.get("commit")
    return flat | (versions if isinstance(versions, dict) else {})
