"""scripts/gpu_check.py, which measures on a GPU, run without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.forked import run_forked

SCRIPTS = Path(__file__).parents[1] / "scripts"
PARTS = (
    "tests", "loss", "temperatures", "shapes", "step", "loader", "epoch", "resume", "board",
    "large_batch",
)  # fmt: skip
# a part that says something and then fails, one that hangs with a child, and a good one
FAILING = """
import subprocess, sys, time
import gpu_check
from gpu_parts.common import Part, Verdict

def fails(setting):
    yield {"seen": 1}
    raise ValueError("no such thing")

def hangs(setting):
    yield {"seen": 2}
    subprocess.run(["sleep", "1000"])

def works(setting):
    yield {"seen": 3}

def verdict(lines):
    return Verdict(f"saw {[line['seen'] for line in lines]}", True)

gpu_check.PARTS = {f.__name__: Part(f.__name__, "about", 2, "goal", f, verdict)
                   for f in (fails, hangs, works)}
gpu_check.DRY_SECONDS, gpu_check.BEFORE_FORKS = 2, ()
sys.argv = ["gpu_check.py", "--dry-run", "--out", sys.argv[1]]
raise SystemExit(gpu_check.main())
"""


WHERE = {"PYTHONPATH": str(SCRIPTS)}


def run(*words: object) -> subprocess.CompletedProcess[str]:
    # several threads, since a fork can hang only where the parent had them
    environment = {**os.environ, "OMP_NUM_THREADS": "2", **WHERE}
    command = [sys.executable, "-W", "ignore", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(
    "parts", [pytest.param(PARTS, marks=pytest.mark.nightly), ("loss", "step")], ids=len
)
def test_parts_run_dry(tmp_path: Path, parts: tuple[str, ...]) -> None:
    words = "--dry-run", "--parts", ",".join(parts), "--out", tmp_path
    done = run(SCRIPTS / "gpu_check.py", *words)
    logs = "".join(path.read_text(errors="replace")[-800:] for path in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == [f"| {name}" for name in parts]
    found = json.loads((tmp_path / "check.json").read_text())
    assert tuple(found["parts"]) == parts and found["about"]["torch"]
    for name, lines in found["parts"].items():
        assert "wall" in lines[-1] and len(lines) > 1, name
        assert not any("error" in line for line in lines)
    errors = {line["case"]: line for line in found["parts"]["loss"] if "case" in line}
    assert errors["tiled"]["gradient_error"] < 1e-5 and errors["flex"]["loss_error"] < 1e-5
    if parts == PARTS:
        assert any(line.get("metrics_equal") for line in found["parts"]["resume"])
        assert sum("knn_acc1" in line for line in found["parts"]["board"]) == 4


@pytest.mark.slow
@pytest.mark.distributed
def test_a_part_that_fails_or_hangs_leaves_what_it_found_and_stops_no_other(tmp_path: Path) -> None:
    program = tmp_path / "failing.py"
    program.write_text(FAILING)
    done = run_forked(program, tmp_path, env=WHERE)
    assert done.returncode == 1
    rows = [line.split(" | ")[2] for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert rows == [
        "saw [1]; failed: ValueError: no such thing",
        "saw [2]; failed: did not end within 2 s",
        "saw [3]",
    ]
    assert (
        "Traceback" in json.loads((tmp_path / "fails.jsonl").read_text().splitlines()[1])["trace"]
    )


@pytest.mark.slow
def test_the_command_line_is_checked_before_anything_runs() -> None:
    wrong = run_forked(SCRIPTS / "gpu_check.py", "--parts", "los", "--out", "x", env=WHERE)
    assert wrong.returncode == 2
    assert f"unknown part los; known: {', '.join(PARTS)}" in wrong.stderr
