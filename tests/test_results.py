"""The published tables are what the published result files give."""

from __future__ import annotations

import io
import re
import runpy
import tarfile
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.data.arrays import DEBIAN_FASHION_MNIST
from solo_registry.data.from_images import Planned
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.leaderboard.archive import unpacked
from solo_registry.leaderboard.report import frame

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "results_page.py"))
PLANNED = Planned()
PAGE, ARCHIVES = SCRIPT["PAGE"], SCRIPT["ARCHIVES"]
SEEDS = {"baselines": 3, "decisive": 20, "positive_control": 20}
EACH = pytest.mark.parametrize(
    "archive",
    [
        pytest.param(path, marks=() if "digits" in path.name else pytest.mark.nightly)
        for path in ARCHIVES
    ],
    ids=SCRIPT["name_of"],
)


def test_there_are_results_and_they_are_small() -> None:
    assert len(ARCHIVES) > 4
    assert sum(path.stat().st_size for path in ARCHIVES[0].parent.iterdir()) < 5e6


def test_unpacking_gives_the_folders_that_the_page_names() -> None:
    text = PAGE.read_text(encoding="utf-8")
    unfinished = sorted((PAGE.parent / "results" / "unfinished").iterdir())
    for archive in [*ARCHIVES, *unfinished]:
        with tarfile.open(archive) as file:
            names = file.getnames()
        assert {name.partition("/")[0] for name in names} == {SCRIPT["name_of"](archive)}
        if archive in unfinished:
            assert f"tar xJf docs/results/unfinished/{archive.name}\n" in text
            done = sum(name.endswith("result.json") for name in names)
            assert re.search(rf"\b{done} of (the|their) \d+", text), done


def test_the_page_says_how_two_machines_differ() -> None:
    runs = pd.read_csv(PAGE.parent / "results" / "machines.csv")
    gaps = (runs.epyc - runs.xeon).round(6)
    text = (PAGE.parent / "statistics.md").read_text(encoding="utf-8")
    assert f"{len(runs)} runs again, of {runs.method.nunique()} methods" in text
    assert f"mean | {gaps.mean():+.2f} ± {gaps.sem():.2f} |" in text
    assert f"the {len(runs)} differences | {gaps.std():.2f} (" in text
    assert f"{gaps.abs().max():.2f}; {(gaps.abs() > 1).sum()} of {len(runs)} are above 1" in text
    assert f"0.50 / √2 = {gaps.std() / 2**0.5:.2f} points" in text


@pytest.mark.slow
@EACH
def test_the_table_follows_from_the_result_files(archive: Path) -> None:
    table: Any = SCRIPT["read"](archive)
    assert not table.lacking and not table.problems
    seeds = {len(row.runs) for row in table.rows}
    assert seeds == {SEEDS.get(archive.name.partition("-")[0], 5)}
    shown = pd.read_csv(archive.with_name(f"{SCRIPT['name_of'](archive)}.csv"))
    made = pd.read_csv(io.StringIO(frame(table).to_csv(index=False)))
    pd.testing.assert_frame_equal(made, shown, check_dtype=False, rtol=1e-9)
    text = PAGE.read_text(encoding="utf-8")
    assert SCRIPT["page"](text, {SCRIPT["name_of"](archive): table}) == text
    with pytest.raises(ValueError, match="the page has no <!-- other -->"):
        SCRIPT["page"](text, {"other": table})


@pytest.mark.slow
@EACH
def test_the_words_of_a_run_lead_to_its_folder(archive: Path) -> None:
    """So whoever runs the board again finds the published runs, or other images are refused."""
    with unpacked(archive) as board, hydra_session([], "runs") as hydra, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some points are not monotone
        for job in list(board.records())[::30]:
            cfg = resolve(hydra.compose(job.words))
            if cfg.data.dataset == "digits" or DEBIAN_FASHION_MNIST.is_dir():
                cfg = PLANNED.completed(cfg)
            else:
                run = OmegaConf.load(board.runs_dir / job.path / "resolved.yaml")
                cfg.data.digest = run.data.digest
            assert f"{cfg.name}/{config_hash(cfg)}/{cfg.seed}" == job.path


@pytest.mark.slow
def test_only_measured_values_are_in_the_curves() -> None:
    (archive,) = (path for path in ARCHIVES if path.name.startswith("temperature-fashion_mnist."))
    with unpacked(archive) as board:
        for record in board.records().values():
            measured = record.curve.val_acc1.notna()
            assert measured.tolist() == [False, True, False, True]  # check_val_every_n_epoch=2
