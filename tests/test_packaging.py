"""What an installed package contains: every folder of code, or imports would fail only there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from setuptools import find_packages

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("root", ["registry", "plugin"])
def test_every_folder_of_code_is_installed(root: str) -> None:
    folders = {path.parent.relative_to(ROOT / root) for path in (ROOT / root).rglob("*.py")}
    code = {
        ".".join(folder.parts)
        for folder in folders
        if "templates" not in folder.parts and folder.parts[0] != "hydra_plugins"
    }
    assert code == set(find_packages(str(ROOT / root)))


def test_the_losses_need_torch_alone() -> None:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    (needs,) = [node.value for node in keywords if node.arg == "install_requires"]
    assert [name.partition(">")[0] for name in ast.literal_eval(needs)] == ["torch"]


def test_ruff_asks_for_no_name_that_the_oldest_python_lacks() -> None:
    """Without a target it takes its own default, and rewrote imports so that 3.10 lacked them."""
    (oldest,) = re.findall(r'python_requires=">=3\.(\d+)"', (ROOT / "setup.py").read_text())
    assert f'target-version = "py3{oldest}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_git_ignores_no_source() -> None:
    sources = [str(path) for root in ("registry", "plugin") for path in (ROOT / root).rglob("*.py")]
    command = ["git", "check-ignore", "--no-index", *sources]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == [], found.stderr


@pytest.mark.nightly
@pytest.mark.slow
def test_a_wheel_is_complete_and_trains_without_the_checkout(tmp_path: Path) -> None:
    """Build it, unpack it elsewhere, and pretrain on a folder of images there."""
    source, home, site = (tmp_path / name for name in ("source", "home", "site"))
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "build", "runs")
    shutil.copytree(ROOT, source, ignore=unwanted)
    build = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path))
    env = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([sys.executable, *build, str(source)], check=True, env=env)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    packed = {file.name for file in site.rglob("*.*") if file.is_file()}
    made = [
        file for name in ("configs", "registry", "plugin") for file in (source / name).rglob("*.*")
    ]
    assert {file.name for file in made if file.is_file()} - packed == set()
    (info,) = site.glob("*.dist-info")
    assert (info / "licenses" / "LICENSE").is_file()
    shutil.rmtree(source)
    for number in range(24):
        folder = home / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 99, (8, 8), np.uint8)
        Image.fromarray(pixels + 99 * (number % 2)).save(folder / f"{number}.png")
    where = "import solo_registry, dyntemp, solo_dyntemp; print(solo_registry.__file__)"
    train = ["pretrain", "method=simclr_dyntemp", "data=photos", "max_epochs=1"]
    use = ["predict", "runs", "photos", "--out", "classes.csv"]
    for words, told in (
        (["-c", where], str(site)),
        (["-m", "solo_registry", *train], "trained backbone"),
        (["-m", "solo_registry", *use], "24 images"),
    ):
        done = subprocess.run(
            [sys.executable, *words], cwd=home, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0 and told in done.stdout, done.stdout + done.stderr


def test_an_image_gets_what_an_installation_needs() -> None:
    """All that setup.py reads, and nothing that a user's folder may hold besides."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    paths = re.findall(r'"(\w+[./][\w./]+)"', (ROOT / "setup.py").read_text())
    needed = {path.partition("/")[0] for path in paths if (ROOT / path).exists()}
    assert "*" in lines and all((ROOT / path).exists() for path in sent)
    assert {"README.md", "configs", "plugin", "registry"} == needed <= sent
