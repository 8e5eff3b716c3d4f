"""The example of CONTRIBUTING.md, built as somebody's own package and found by its entry point."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.forked import run_forked

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
QUICK = (
    "max_epochs=1", "telemetry.every_n_epochs=0", "evaluation.pictures=false",
    "evaluation.baselines=false", "evaluation.linear=false",
)  # fmt: skip


def block(first_line: str) -> str:
    """Return the code block of the guide that begins with this line."""
    for body in re.findall(r"```\w*\n(.*?)```", TEXT, re.DOTALL):
        if body.startswith(first_line):
            return str(body)
    raise AssertionError(f"no block begins with {first_line!r}")


def install(site: Path) -> None:
    """Put the package of the guide where `pip install --target` would put it."""
    package = site / "my_package"
    for folder in (package, package / "configs"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    for path in re.findall(r"# my_package/(configs/\S+\.yaml)", TEXT):
        (package / path).parent.mkdir(exist_ok=True)
        yaml = block(f"# my_package/{path}")
        (package / path).write_text(yaml.partition("\n")[2])
    (package / "parts.py").write_text(block("# my_package/parts.py"))
    code = block("# my_package/nt_logistic.py\n")
    more = block("# my_package/nt_logistic.py, in register()").partition("\n")[2]
    code = code.replace("import METHODS", "import DATASETS, METHODS, TEMPERATURES")
    code = code.replace('    return "my_package.configs"', more + '    return "my_package.configs"')
    (package / "nt_logistic.py").write_text(code)
    point = re.search(r'"(mine) = (my_package\.nt_logistic:register)"', block("# setup.py"))
    assert point
    info = site / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[solo_registry.plugins]\n{point[1]} = {point[2]}\n")


# several commands in one process, as the guide's package is imported once
PROGRAM = """
import json, sys
from solo_registry.cli.main import main
if __name__ == "__main__":  # what a board starts imports this file
    for words in json.loads(sys.argv[1]):
        sys.argv = ["dyntemp", *words]
        try:
            main()
        except SystemExit as stop:
            if stop.code:
                raise
    from solo_dyntemp.temperature import build_temperature
    print(build_temperature("step"))
"""


@pytest.fixture
def dyntemp(tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs commands where the guide's package is installed."""
    install(tmp_path / "site")
    program, site = tmp_path / "program.py", {"PYTHONPATH": str(tmp_path / "site")}
    program.write_text(PROGRAM)

    def run(*commands: tuple[str, ...]) -> str:
        done = run_forked(program, json.dumps(commands), cwd=tmp_path, env=site)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_the_example_trains_as_an_outside_plugin(tmp_path: Path, dyntemp: Any) -> None:
    out = dyntemp(("methods", "nt_*"), ("pretrain", "method=nt_logistic", "data=stripes", *QUICK))
    assert "my_package" in out
    (result,) = tmp_path.glob("runs/nt_logistic-stripes/*/5/result.json")
    assert json.loads(result.read_text())["method_kwargs"]["weight"] == 1.0


@pytest.mark.slow
def test_its_temperature_is_listed_built_and_trained_with(tmp_path: Path, dyntemp: Any) -> None:
    words = "method=simclr_dyntemp", "data=digits", "method_kwargs.temperature=step"
    words += ("method_kwargs.temperature_kwargs.threshold=0.25",)
    out = dyntemp(("temperatures", "step"), ("pretrain", *words, *QUICK))
    assert "my_package" in out
    assert "\nStepTemperature(tau_min=0.1, tau_max=0.2, thr" in out
    (result,) = tmp_path.glob("runs/simclr_dyntemp-digits/*/5/result.json")
    kwargs = json.loads(result.read_text())["method_kwargs"]
    assert kwargs["temperature"] == "step" and kwargs["temperature_kwargs"]["threshold"] == 0.25


@pytest.mark.slow
def test_its_suite_and_its_space_run(tmp_path: Path, dyntemp: Any) -> None:
    words = "method=simclr_dyntemp", "data=stripes", "space=step", "trials=1"
    dyntemp(("leaderboard", "run", "suite=steps", "seeds=2", *QUICK), ("sweep", *words, *QUICK))
    (table,) = tmp_path.glob("boards/*/report/results.csv")
    assert {"logistic", "step"} <= set(re.findall(r"\w+", table.read_text()))
    best = next(tmp_path.glob("sweeps/*/best.yaml")).read_text()
    assert "temperature: step" in best and "threshold:" in best
