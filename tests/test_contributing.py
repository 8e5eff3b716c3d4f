"""The example of CONTRIBUTING.md, built as somebody's own package and found by its entry point."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(first_line: str) -> str:
    """Return the code block of the guide that begins with this line."""
    for body in re.findall(r"```\w*\n(.*?)```", TEXT, re.DOTALL):
        if body.startswith(first_line):
            return str(body)
    raise AssertionError(f"no block begins with {first_line!r}")


@pytest.mark.slow
def test_the_example_trains_as_an_outside_plugin(tmp_path: Path) -> None:
    package = tmp_path / "site" / "my_package"
    (package / "configs" / "method").mkdir(parents=True)
    for folder in (package, package / "configs"):
        (folder / "__init__.py").touch()
    (package / "nt_logistic.py").write_text(block("# my_package/nt_logistic.py"))
    yaml = block("# my_package/configs/method/nt_logistic.yaml")
    (package / "configs/method/nt_logistic.yaml").write_text(yaml.partition("\n")[2])
    point = re.search(r'"(mine) = (my_package\.nt_logistic:register)"', block("# setup.py"))
    assert point
    info = tmp_path / "site" / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[solo_registry.plugins]\n{point[1]} = {point[2]}\n")

    def dyntemp(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "solo_registry", *words], capture_output=True, text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "my_package" in dyntemp("methods", "nt_*")
    dyntemp("pretrain", "method=nt_logistic", "max_epochs=1", "evaluation.pictures=false")
    (result,) = tmp_path.glob("runs/nt_logistic-digits/*/5/result.json")
    assert json.loads(result.read_text())["method_kwargs"]["weight"] == 1.0
