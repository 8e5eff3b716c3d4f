"""The tests that need a GPU, then those of the losses, the kernels' precision and resuming."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_parts.common import Line, Part, Setting, Verdict

PROJECT = Path(__file__).parents[2]
# what is run: words of pytest; of the files only those needed, others import what may not be there
GPU = ("-n", "8", "-m", "gpu")
OTHERS = (
    "-n", "8", "-m", "not nightly and not distributed", "tests/plugin/losses",
    "tests/registry/methods/test_resume.py",
)  # fmt: skip
NO_BENCHMARK = ("-p", "no:benchmark")  # where it is installed, it warns of -n
DRY = ("-m", "not slow", "tests/plugin/losses/test_checks.py", "-k", "shape")


def measure(setting: Setting) -> Iterator[Line]:
    """Yield a line for each call of pytest."""
    for words in (DRY,) if setting.dry else ((*GPU, *files()), OTHERS):
        known = [word for word in words if "/" not in word or (PROJECT / word).exists()]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *NO_BENCHMARK, *known],
            cwd=PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        print(done.stdout, done.stderr, flush=True)  # to the log
        counts = {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", last(done.stdout))}
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        yield {"words": words, "rc": done.returncode, "counts": counts, "not_passed": failed}


def files() -> list[str]:
    """Return the test files in which a test needs a GPU."""
    found = sorted((PROJECT / "tests").rglob("test_*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in found}
    return [str(path.relative_to(PROJECT)) for path in found if "pytest.mark.gpu" in texts[path]]


def last(text: str) -> str:
    """Return the last line."""
    return (text.strip().splitlines() or [""])[-1]


def verdict(lines: Sequence[Line]) -> Verdict:
    """All must pass; and some must have run."""
    passed = sum(line["counts"].get("passed", 0) for line in lines)
    failed = [name for line in lines for name in line["not_passed"]]
    figure = f"{passed} passed, {len(failed)} failed {' '.join(failed[:3])}".strip()
    return Verdict(figure, passed > 0 and all(line["rc"] == 0 for line in lines))


PART = Part(
    "tests",
    "pytest -m gpu, then the tests of losses and resuming, 8 at once",
    110,
    "all pass",
    measure,
    verdict,
)
