from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from solo_registry.cli.main import app
from solo_registry.errors import UserError
from solo_registry.runs.find import find_run
from solo_registry.runs.listing import differences, list_runs
from solo_registry.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def runs_dir(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two seeds of one config and one of another, in ./runs."""
    for seed, knn in ((1, 90.0), (2, 91.0)):
        make_run("simclr", seed, knn)
        make_run("simclr_dyntemp", seed, knn + 1.5 + 0.1 * seed, "method_kwargs.tau_max=0.4")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_a_run_is_found_by_any_beginning(runs_dir: Path) -> None:
    run = next(runs_dir.glob("simclr_dyntemp*/*/2"))
    names = (
        run, run.relative_to(runs_dir.parent), "/".join(run.parts[-3:]), "/".join(run.parts[-2:]),
    )  # fmt: skip
    assert {find_run(name).resolve() for name in names} == {run}
    with pytest.raises(UserError, match="2 runs beginning"):
        find_run(run.parts[-2])
    with pytest.raises(UserError, match="Did you mean"):
        find_run("simclr-digit/")
    with pytest.raises(UserError, match="4 runs below"):
        find_run(runs_dir)


@pytest.mark.slow
def test_listing_and_differences(runs_dir: Path, make_run: MakeRun) -> None:
    make_run("simclr", 3, 80.0, "data.validation_fraction=0.2")
    broken = make_run("simclr", 4, 80.0)
    broken.result.write_text("{")
    table = list_runs(runs_dir)
    assert len(table) == 6 and set(table["state"]) == {"finished", "damaged"}
    assert table.loc[table["split"] == "validation", "knn"].tolist() == [80.0]
    assert table["date"].is_monotonic_decreasing
    one, other = (next(runs_dir.glob(f"{name}-*/*/1")) for name in ("simclr", "simclr_dyntemp"))
    changed = differences(one, other)
    assert changed.loc["method"].tolist() == ["simclr", "simclr_dyntemp"]
    assert "optimizer.lr" not in changed.index and "seed" not in changed.index


@pytest.mark.slow
def test_commands_on_runs(runs_dir: Path) -> None:
    def typed(*words: str, given: str = "") -> str:
        done = CliRunner().invoke(app, list(words), input=given, catch_exceptions=False)
        return done.output

    assert "4 runs" in typed("runs") and "2 runs" in typed("runs", "simclr_dyntemp*")
    assert "no runs" in typed("runs", "byol*")
    first, second = (next(runs_dir.glob(f"{name}-*/*/1")) for name in ("simclr", "simclr_dyntemp"))
    compared = typed("compare", str(first), str(second))
    assert "method_kwargs.tau_max" in compared and "paired by seed" in compared
    for name in (".last.ckpt.7.part", ".linear.json.lock"):  # what a killed process leaves
        (first / name).touch()
    shown = typed("show", str(first))
    assert "90.00" in shown and "resolved.yaml" in shown
    assert ".part" not in shown and ".lock" not in shown
    typed("rm", str(first), given="n\n")
    assert first.exists()
    typed("rm", str(first), given="y\n")
    assert not first.exists() and second.exists()
    typed("rm", "--yes", str(next(runs_dir.glob("simclr-*/*/2"))))
    assert not list(runs_dir.glob("simclr-*"))
