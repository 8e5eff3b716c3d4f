"""What an installed package contains: every folder of code, or imports would fail only there."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
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


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_git_ignores_no_source() -> None:
    sources = [str(path) for root in ("registry", "plugin") for path in (ROOT / root).rglob("*.py")]
    command = ["git", "check-ignore", "--no-index", *sources]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == [], found.stderr


def test_an_image_gets_what_an_installation_needs() -> None:
    """All that setup.py reads, and nothing that a user's folder may hold besides."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    paths = re.findall(r'"(\w+[./][\w./]+)"', (ROOT / "setup.py").read_text())
    needed = {path.partition("/")[0] for path in paths if (ROOT / path).exists()}
    assert "*" in lines and all((ROOT / path).exists() for path in sent)
    assert {"README.md", "configs", "plugin", "registry"} == needed <= sent
