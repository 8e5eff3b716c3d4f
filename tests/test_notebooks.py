"""The notebooks of examples/: they hold the outputs of a real run, and they still run."""

from __future__ import annotations

import ast
import importlib
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
LARGEST = 500_000  # bytes
MACHINE = re.compile(r"(?<![\w.:/<])/[A-Za-z_][\w.-]*/[\w.-]+|\b[A-Z]:\\")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    book = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in book["cells"] if cell["cell_type"] == kind]


def outputs(path: Path) -> Iterator[dict[str, Any]]:
    for cell in cells(path, "code"):
        yield from cell["outputs"]


def faults(path: Path) -> list[str]:
    """Return what is wrong with a notebook, a line each."""
    text = path.read_text(encoding="utf-8")
    found = [f"{len(text)} bytes"] if len(text) > LARGEST else []
    code = cells(path, "code")
    if [cell["execution_count"] for cell in code] != list(range(1, len(code) + 1)):
        found.append("its cells were not run once, in their order")
    kinds = [output["output_type"] for output in outputs(path)]
    if len(kinds) < len(code) / 3:
        found.append(f"{len(kinds)} outputs of {len(code)} cells")
    found += ["an error in its output"] * ("error" in kinds)
    found += [
        f"on stderr: {''.join(output['text'])[:200]}"
        for output in outputs(path)
        if output.get("name") == "stderr"
    ]
    pictures = r'(base64,[A-Za-z0-9+/=]+|"image/png": "[^"]+")'
    found += [
        f"a path of a machine: {each}" for each in MACHINE.findall(re.sub(pictures, "", text))
    ]
    return [f"{path.name}: {each}" for each in found]


def imported(path: Path) -> Iterator[tuple[str, str | None]]:
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.Import):
                yield from ((alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((str(node.module), alias.name) for alias in node.names)


@each_notebook
def test_it_holds_the_outputs_of_a_run_from_top_to_bottom(path: Path) -> None:
    assert faults(path) == []


@each_notebook
def test_it_is_valid(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs pip install '.[test]'")
    nbformat.validate(nbformat.read(path, as_version=4))


@each_notebook
def test_what_it_imports_exists(path: Path) -> None:
    for module, name in imported(path):
        found = importlib.import_module(module)
        assert name is None or hasattr(found, name), f"{path.name}: from {module} import {name}"


@each_notebook
def test_it_ends_in_what_was_seen_and_what_was_not(path: Path) -> None:
    prose = ["".join(cell["source"]) for cell in cells(path, "markdown")]
    assert "**What was seen:**" in prose[-1] and "**What this does not show:**" in prose[-1]
    for target in re.findall(r"\]\(([^():\s]+)\)", "\n".join(prose)):
        file, _, _ = target.partition("#")
        assert (path.parent / file).exists(), f"{path.name}: {target}"


def test_there_are_five_and_the_index_names_them() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\(\.\./examples/notebooks/(\w+\.ipynb)\)", index)
    assert sorted(named) == [path.name for path in NOTEBOOKS] and len(named) == 5


def test_a_fault_is_found(tmp_path: Path) -> None:
    error = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
    told = {"output_type": "stream", "name": "stderr", "text": ["warning: /home/me/runs"]}
    code = {"cell_type": "code", "execution_count": 2, "outputs": [error, told], "source": []}
    path = tmp_path / "broken.ipynb"
    path.write_text(json.dumps({"cells": [code]}))
    texts = [fault.removeprefix("broken.ipynb: ") for fault in faults(path)]
    assert texts == [
        "its cells were not run once, in their order", "an error in its output",
        "on stderr: warning: /home/me/runs", "a path of a machine: /home/me",
    ]  # fmt: skip


@pytest.mark.nightly
@pytest.mark.slow
@each_notebook
def test_it_runs_in_an_empty_folder(path: Path, tmp_path: Path) -> None:
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason="needs pip install '.[test]'")
    script = runpy.run_path(str(ROOT / "scripts" / "run_notebooks.py"))
    book = script["executed"](path, tmp_path)
    kinds = [[each["output_type"] for each in cell.get("outputs", ())] for cell in book["cells"]]
    kept = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert kinds == [[each["output_type"] for each in cell.get("outputs", ())] for cell in kept]
