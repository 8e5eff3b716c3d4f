from __future__ import annotations

import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from tests.registry.conftest import pasted
from tests.registry.sweep.conftest import Formula, Search, inside

from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.sweep.figures import shown_range, smooth

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*is not monotone")]  # draws
FOLDER = "sweeps/simclr_dyntemp-cosine-digits"


def composed(folder: Path, *words: str) -> DictConfig:
    """What `dyntemp pretrain --config-path FOLDER --config-name best` composes."""
    with initialize_config_dir(str(folder), version_base="1.3"):
        return compose("best", overrides=[f"++{word}" for word in words])


def test_best_yaml_is_the_winner_on_all_of_train(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the very run of the words in its head, so both share a folder."""
    mine = ("optimizer.lr=0.002", "data.long_tail.profile=step", "runs_dir=elsewhere")
    sweep = search("here", "trials=5", *mine)
    best = sweep.ranked[0]
    cfg = resolve(composed(tmp_path / "here" / FOLDER, "seed=3"))
    words = ["method=simclr_dyntemp", "data=digits", "max_epochs=6", *mine, "seed=3",
             "method_kwargs.temperature=cosine",
             *(f"method_kwargs.{name}={value}" for name, value in best.point.items())]  # fmt: skip
    with hydra_session([], "elsewhere") as hydra:
        expected = resolve(hydra.plain(words))
    assert cfg == expected and config_hash(cfg) == config_hash(expected)
    assert (
        cfg.data.validation_fraction == 0 and cfg.evaluation.baselines and not cfg.knn_eval.enabled
    )
    assert cfg.runs_dir == "elsewhere" and best.run.path.parts[0] == "elsewhere"
    with inside(tmp_path / "here", monkeypatch):
        text = Path(FOLDER, "best.yaml").read_text()
    assert f'--config-path "$PWD"/{FOLDER} --config-name best seed=1' in text


def test_page_and_config_pass_on_what_was_given_as_text(search: Search, tmp_path: Path) -> None:
    """The folder has a name that a shell would run, and the run's name is HTML."""
    folder, name = "out=it's `touch hacked`; $(touch hacked) <b>", 'name="<i>|x"'
    sweep = search("here", "trials=2", folder, name)
    here = tmp_path / "here"
    report, best = ((here / sweep.path / name).read_text() for name in ("report.md", "best.yaml"))
    words = ["pretrain", "--config-path", f"{here}/{sweep.path}", "--config-name", "best"]
    (command,) = re.findall(r"```bash\n(.*)\n```", report)
    assert pasted(command, here) == [*words, "--multirun", "seed=1,2,3,4,5"]
    one, arguments = re.findall(r"^#   (dyntemp .*)$", best, flags=re.MULTILINE)
    assert pasted(one, here) == [*words, "seed=1"]
    assert name in pasted(arguments, here)
    prose = re.sub(r"(`+).*?\1", "", report, flags=re.DOTALL)
    assert "&lt;b&gt;" in prose and not re.search(r"<[a-z]", prose)


def test_the_page_names_winner_spread_and_caution(
    search: Search, formula: type[Formula], tmp_path: Path
) -> None:
    formula.fails = lambda cfg: cfg.method_kwargs.tau_min > 0.12
    sweep = search("here", "trials=7")
    page, best = (tmp_path / "here" / FOLDER / "report.md").read_text(), sweep.ranked[0]
    assert f"**{best.label}**" in page and "not test numbers" in page
    near = [t for t in sweep.ranked if t.value >= best.value - sweep.margin]  # type: ignore[operator]
    assert f"{len(near)} of {len(sweep.ranked)} finished trials lie within" in page
    assert f"{sweep.margin:.2f} points" in page and "cannot tell them apart" in page
    assert "tau_max from tau_min to 1.0 (log)" in page and "the loss is nan" in page
    share = best.value / 100  # type: ignore[operator]
    assert sweep.margin == pytest.approx(100 * np.sqrt(share * (1 - share) / 287))


def test_the_table_has_a_row_per_trial_with_its_run(search: Search, tmp_path: Path) -> None:
    sweep = search("here", "trials=4")
    rows = pd.read_csv(tmp_path / "here" / FOLDER / "trials.csv")
    assert list(rows.trial) == [1, 2, 3, 4]
    assert (rows.tau_min <= rows.tau_max).all()
    assert list(rows.knn_acc1.notna()) == [t.state == "finished" for t in sweep.trials]
    for run, digest in zip(rows.run, rows.config_hash, strict=True):
        assert (tmp_path / "here" / run / "metrics.csv").exists() and f"/{digest}/" in run


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(
            ["space=temperature", "method=simclr", "sweep.parameters.temperature.low=0.05"],
            marks=pytest.mark.nightly,
        ),
        ["trials=1"],
        pytest.param(["space=shifted_cosine", "trials=8"], marks=pytest.mark.nightly),
        ["sweep.parameters.lr.key=optimizer.lr", "sweep.parameters.lr.choices=[0.001,0.002]",
         "sweep.parameters.tau_min.high=0.02", "sweep.parameters.tau_max.high=0.02"],
    ],
)  # fmt: skip
def test_every_kind_of_space_gives_a_picture(
    search: Search, formula: type[Formula], tmp_path: Path, words: list[str]
) -> None:
    if words[0] == "space=temperature":
        formula.quality = staticmethod(lambda cfg: 90 - 10 * cfg.method_kwargs.temperature)
    sweep = search("here", "trials=4", *words)
    picture = matplotlib.image.imread(tmp_path / "here" / sweep.path / "trials.png")
    assert picture.shape[1] > 800 and picture[..., :3].std() > 0.05
    page = (tmp_path / "here" / sweep.path / "report.md").read_text()
    assert "![every trial](trials.png)" in page


def test_smoothing_stays_between_the_values_and_says_nothing_far_away() -> None:
    points, values = np.random.default_rng(0).random((9, 2)) / 2, np.arange(9.0)
    found = smooth(np.array([points[3] + 0.01, [3.0, 3.0]]), points, values)
    assert 0 < found[0] < 8 and np.isnan(found[1])


def test_the_map_has_no_colour_where_nothing_was_tried() -> None:
    angles = np.linspace(0, 2 * np.pi, 40)
    ring = 0.1 * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # many trials, none inside
    found = smooth(np.array([[0.0, 0.0], [0.1, 0.0], [0.13, 0.0]]), ring, np.ones(40))
    assert np.isnan(found).tolist() == [True, False, False]


def test_one_bad_setting_does_not_take_the_colours_of_all_others() -> None:
    low, high = shown_range(np.array([10.0, 93.0, 94.0, 94.5, 95.0, 95.5]))
    assert 90 > low > 80 or 90 < low < 93
    assert high == 95.5
    assert shown_range(np.array([90.0])) == (89.5, 90.5)
