"""Checks of the libraries that training needs, and of those that it can use."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import distributions, requires

from packaging.requirements import Requirement

from solo_dyntemp.doctor.probe import Finding, attempt, installed

IMPORTS = (
    "torch", "torchvision", "lightning.pytorch", "timm", "hydra", "torchmetrics", "lightly",
    "sklearn", "pandas", "matplotlib",
)  # fmt: skip
ON_GPU = (
    "import torch; x = torch.ones(64, 64, device='cuda'); y = (x @ x).sum().item();"
    "assert y == 64 ** 3, y; print(torch.cuda.get_device_name())"
)
BFLOAT16 = "from solo_registry.training.notes import bfloat16_cost; print(bfloat16_cost())"
IN_DALI = """
import numpy, nvidia.dali.fn as fn
from nvidia.dali import pipeline_def
@pipeline_def(batch_size=1, num_threads=1, device_id=None)
def pipe(): return fn.external_source(source=lambda: [numpy.ones((2, 2), "uint8")])
built = pipe(); built.build(); built.run()
"""


def requirements() -> list[Finding]:
    """The versions that setup.py asks for, with the extra `bench`."""
    findings = []
    for text in requires("solo-dyntemp") or ():
        need = Requirement(text)
        if need.marker and not need.marker.evaluate({"extra": "bench"}):
            continue
        found = installed(need.name)
        good = found is not None and need.specifier.contains(found, prereleases=True)
        state = "ok" if good else "broken"
        detail = f"{found or 'not installed'} (needs {need.specifier})"
        cure = "" if good else f"pip install '{need.name}{need.specifier}'"
        findings.append(Finding("core", need.name, state, detail, cure))
    return findings


def imports() -> list[Finding]:
    """Whether everything imports together, as a run does."""
    good, said = attempt(f"import {', '.join(IMPORTS)}")
    if good:
        return [Finding("core", "imports", "ok", "all libraries of a run")]
    cure = "pip install --upgrade torch torchvision lightning torchmetrics timm"
    return [Finding("core", "imports", "broken", said, cure)]


def lightnings() -> list[Finding]:
    """Check that `lightning` and `pytorch-lightning` have one version; their classes do not mix."""
    ours, other = installed("lightning"), installed("pytorch-lightning")
    what, detail = "one Lightning", f"lightning {ours}, pytorch-lightning {other}"
    if other is None or other == ours:  # lightly installs the second
        return [Finding("core", what, "ok", detail)]
    return [Finding("core", what, "broken", detail, f"pip install pytorch-lightning=={ours}")]


def bf16() -> list[Finding]:
    """Measure whether this CPU trains faster in bfloat16; nothing is said where it cannot tell."""
    good, said = attempt(BFLOAT16)
    if not good:  # `imports` says why
        return []
    cost = float(said)
    verdict = "trains faster" if cost < 0.9 else "is of no use" if cost < 2 else "trains slower"
    detail = (
        f"precision=bf16-mixed {verdict} on this CPU: a convolution takes {cost:.2g} times as long"
    )
    return [Finding("core", "bfloat16", "ok", detail)]


def cuda() -> list[Finding]:
    """Check CUDA by a matrix product on the GPU."""
    good, said = attempt(ON_GPU)
    if good:
        return [Finding("cuda", "CUDA", "ok", said)]
    if shutil.which("nvidia-smi") is None:
        return [Finding("cuda", "CUDA", "missing", "no NVIDIA driver; runs use the CPU")]
    _, version = attempt("import torch; print(torch.version.cuda)")
    if version == "None":
        cure = "pip install --force-reinstall torch torchvision"
        return [Finding("cuda", "CUDA", "broken", "torch was built without CUDA", cure)]
    detail = f"{said} (torch for CUDA {version})"
    return [Finding("cuda", "CUDA", "broken", detail, "nvidia-smi  # update the driver it names")]


def dali() -> list[Finding]:
    """Check that DALI runs a pipeline, and is built for torch's CUDA."""
    names = {dist.metadata["Name"] or "": dist.version for dist in distributions()}
    found = {name: v for name, v in names.items() if name.startswith("nvidia-dali-cuda")}
    _, cuda_version = attempt("import torch; print(torch.version.cuda)")
    major = cuda_version.partition(".")[0]
    wanted = f"nvidia-dali-cuda{major if major.isdigit() else '13'}0"
    if not found:
        return [Finding("dali", "DALI", "missing", "not installed", f"pip install {wanted}")]
    detail = ", ".join(f"{name} {version}" for name, version in found.items())
    good, said = attempt(IN_DALI)
    uninstall = f"pip uninstall --yes {' '.join(found)} && pip install {wanted}"
    if not good:
        return [Finding("dali", "DALI", "broken", f"{detail}: {said}", uninstall)]
    built = re.search(r"cuda(\d\d)", next(iter(found)))
    if len(found) > 1 or (major.isdigit() and built and built[1] != major):
        detail += f", torch for CUDA {cuda_version}"
        return [Finding("dali", "DALI", "broken", detail, uninstall)]
    return [Finding("dali", "DALI", "ok", detail)]


def loggers() -> list[Finding]:
    """Check the optional loggers."""
    findings = []
    programs = {
        "tensorboard": "from torch.utils.tensorboard import SummaryWriter",
        "wandb": "import wandb; wandb.init",
    }
    for name, program in programs.items():
        found, cure = installed(name), f"pip install {name}"
        if found is None:
            findings.append(Finding("loggers", name, "missing", "not installed", cure))
            continue
        good, said = attempt(program)
        state, detail = ("ok", found) if good else ("broken", f"{found}: {said}")
        findings.append(Finding("loggers", name, state, detail, "" if good else cure))
    return findings
