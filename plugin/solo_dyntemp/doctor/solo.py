"""Checks whether solo-learn is usable here, and which of its known faults this environment has."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shlex import quote

from solo_dyntemp.doctor.probe import Finding, attempt, installed, lacking
from solo_dyntemp.hosts.found import solo_learn

CLONE = "git clone https://github.com/vturrisi/solo-learn"
ON_PATH = "export PYTHONPATH=$PWD/solo-learn"
KNOWN_VERSION, KNOWN_COMMIT = "1.0.6", "9187ea3"
NEEDS = "einops scipy tqdm wandb"  # packages that its scripts import and we do not install
VISIBLE = (
    "from hydra.core.plugins import Plugins;"
    "from hydra.plugins.search_path_plugin import SearchPathPlugin as P;"
    "print([found.__name__ for found in Plugins.instance().discover(P)])"
)
STARTS_HYDRA = "from hydra._internal.utils import get_args_parser; get_args_parser()"
READS_CONFIG = (
    "import io, torch; from omegaconf import OmegaConf; file = io.BytesIO();"
    "torch.save({'betas': OmegaConf.create([0.9, 0.999])}, file); file.seek(0); torch.load(file)"
)


def hydra_plugin() -> list[Finding]:
    """Check that Hydra finds our plugin, for solo-learn's scripts; in editable mode it may not."""
    good, said = attempt(VISIBLE)
    what = "Hydra plugin"
    if good and "SoloDynTemp" in said:
        return [Finding("hydra", what, "ok", "solo-learn's scripts see our methods")]
    project = editable_project()
    cure = "pip install --force-reinstall --no-deps .  # in this package's folder"
    if project:
        cure = f"pip install --no-deps -e {quote(project)} --config-settings editable_mode=strict"
    detail = "Hydra does not find it" + (" in this editable mode" if project else f": {said}")
    if solo_learn() is None:
        return [Finding("hydra", what, "known", f"not needed without solo-learn: {detail}", cure)]
    return [Finding("hydra", what, "broken", detail, cure)]


def editable_project() -> str | None:
    """Return the folder of our editable installation, or None."""
    try:
        text = distribution("solo-dyntemp").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    origin = json.loads(text or "{}")
    editable = origin.get("dir_info", {}).get("editable")
    return origin["url"].removeprefix("file://") if editable else None


def solo() -> list[Finding]:
    """Check solo-learn itself, then each known fault."""
    folder = solo_learn()
    if folder is None:
        other = importlib.util.find_spec("solo")
        if other is None:
            return [
                Finding("solo", "solo-learn", "missing", "not importable", f"{CLONE}; {ON_PATH}"),
            ]
        detail = f"{other.origin} is not solo-learn {KNOWN_VERSION}"
        old = "pip uninstall --yes solo-learn; " if installed("solo-learn") else ""
        return [Finding("solo", "solo-learn", "broken", detail, f"{old}{CLONE}; {ON_PATH}")]
    return [version_of(folder), imported(), *faults(folder)]


def version_of(folder: Path) -> Finding:
    """Check version and commit of the solo-learn at `folder`."""
    setup = folder.with_name("setup.py")
    match = re.search(r'version="([^"]+)"', setup.read_text()) if setup.is_file() else None
    version = match[1] if match else installed("solo-learn") or "of unknown version"
    words = ["git", "-C", str(folder.parent), "describe", "--always", "--dirty", "--abbrev=7"]
    try:
        done = subprocess.run([*words, "--exclude=*"], capture_output=True, text=True)
        commit = done.stdout.strip() if setup.is_file() else ""
    except FileNotFoundError:
        commit = ""
    detail = f"{version} {commit} in {folder.parent}".replace("  ", " ")
    if version == KNOWN_VERSION:
        return Finding("solo", "solo-learn", "ok", detail)
    cure = f"git -C {quote(str(folder.parent))} checkout {KNOWN_COMMIT}"
    return Finding("solo", "solo-learn", "broken", f"{detail}; known is {KNOWN_VERSION}", cure)


def imported() -> Finding:
    """Check that solo-learn's methods can be imported, and that `attach` adds ours."""
    program = (
        "from solo_dyntemp.hosts.solo_learn import attach; import solo.args; print(len(attach()))"
    )
    good, said = attempt(program)
    if good:
        return Finding("solo", "its methods and ours", "ok", f"{said} of ours attached")
    name = lacking(said)
    cure = f"pip install {NEEDS}" if name else "pip install --upgrade lightning torchmetrics timm"
    return Finding("solo", "its methods and ours", "broken", said, cure)


def faults(folder: Path) -> list[Finding]:
    """Check each known fault of solo-learn 1.0.6."""
    return [scripts(), knn(folder), reading_checkpoints(), building(folder)]


def scripts() -> Finding:
    """Check whether Hydra can make the command line of its scripts; on Python 3.14 it cannot."""
    good, said = attempt(STARTS_HYDRA)
    if good:
        return Finding("solo", "its Hydra scripts", "ok", "main_pretrain.py, main_linear.py")
    detail = f"Hydra {installed('hydra-core')} does not start on this Python: {said}"
    cure = "dyntemp solo main_pretrain.py ...  # in place of python main_pretrain.py"
    return Finding("solo", "its Hydra scripts", "known", detail, cure)


def knn(folder: Path) -> Finding:
    """Check whether its kNN and `knn_eval` pass an argument that torchmetrics 1.x refuses."""
    program = "from solo.utils.knn import WeightedKNNClassifier; WeightedKNNClassifier(k=1)"
    good, said = attempt(program)
    if good:
        return Finding("solo", "its kNN", "ok", "main_knn.py, knn_eval")
    file = quote(str(folder / "utils" / "knn.py"))
    cure = f"sed -i 's/, compute_on_step=False//' {file}"
    if "compute_on_step" not in said:
        return Finding("solo", "its kNN", "broken", said)
    detail = f"torchmetrics {installed('torchmetrics')} refuses compute_on_step in main_knn.py"
    return Finding("solo", "its kNN", "known", detail, cure)


def reading_checkpoints() -> Finding:
    """Check whether torch.load in main_linear.py refuses a checkpoint with a config in it."""
    good, _ = attempt(READS_CONFIG)
    if good:
        return Finding("solo", "its torch.load", "ok", "takes configs in checkpoints")
    detail = "refuses checkpoints of AdamW runs, which hold a config (main_linear.py)"
    cure = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 python main_linear.py ...  # a file you trust"
    return Finding("solo", "its torch.load", "known", detail, cure)


def building(folder: Path) -> Finding:
    """Check whether its setup.py imports pkg_resources, which setuptools 82 no longer has."""
    what = "pip install of its clone"
    if version := installed("solo-learn"):
        return Finding("solo", what, "ok", f"installed: {version}")
    setup = folder.with_name("setup.py")
    if not setup.is_file() or "pkg_resources" not in setup.read_text(encoding="utf-8"):
        return Finding("solo", what, "ok", "its setup.py needs no pkg_resources")
    return Finding("solo", what, "known", "needs setuptools < 82 while it is built", build(folder))


def build(folder: Path) -> str:
    """Return the command that installs the clone; older pip reads the first variable."""
    return (
        "echo 'setuptools<82' > old.txt; PIP_CONSTRAINT=old.txt PIP_BUILD_CONSTRAINT=old.txt "
        f"pip install --no-deps {quote(str(folder.parent))} && pip install {NEEDS}"
    )
