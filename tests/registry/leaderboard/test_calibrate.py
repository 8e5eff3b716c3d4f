"""Verdicts on simulated boards of equal strategies, selection by tuning included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from solo_registry.catalog.plugins import load_plugins
from solo_registry.cli.leaderboard import app
from solo_registry.errors import UserError
from solo_registry.leaderboard.calibrate import Design, Noise, Rates, measure, simulate
from solo_registry.leaderboard.calibration import calibrate
from solo_registry.leaderboard.tables import read_board

LANDSCAPES = {
    "flat": (0.0,) * 9,
    "wide": (0.0, -0.1, -0.3, -0.5, -0.7, -1.0, -1.3, -1.7, -2.2),
    "narrow": (0.0, -0.6, -1.2, -1.8, -2.4, -3.0, -3.5, -4.0, -4.5),
    "two levels": (0.0, 0.0, 0.0, 0.0, -0.5, -0.5, -0.5, -0.5, -0.5),
}
NOISE = Noise(0.25, 0.5, 0.2, LANDSCAPES["wide"])
FIVE = Design((9,) * 7, 5, 5, 5, 0.05, 0.5)  # five tunings, each with a final seed of its own
ARCHIVES = Path(__file__).parents[3] / "docs" / "results"


def assert_held(rates: Rates, boards: int) -> None:
    slack = 2 * np.sqrt(0.05 * 0.95 / boards)
    assert max(rates.wins, rates.losses) <= 0.025 + slack and rates.verdicts <= 0.05 + slack
    assert 0.93 <= rates.covered <= 0.97 and rates.selected >= 0.93
    assert rates.together >= 0.95 - slack


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_several_tunings_hold_false_verdicts_and_coverage(landscape: str) -> None:
    noise = replace(NOISE, landscape=LANDSCAPES[landscape])
    assert_held(simulate(FIVE, noise, 3000), 3000)
    assert_held(simulate(replace(FIVE, seeds=20, tuning_seeds=10), noise, 3000), 3000)


def test_strategies_with_fewer_points_are_tested_as_well() -> None:
    assert_held(simulate(replace(FIVE, points=(9, 9, 6, 6, 3, 3, 1)), NOISE, 3000), 3000)


def test_a_copy_of_the_reference_gets_no_win_or_loss() -> None:
    rates = simulate(replace(FIVE, points=(9, 9)), NOISE, 3000)
    assert rates.wins + rates.losses <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 3000)


def test_one_tuning_is_right_about_settings_and_wrong_about_strategies() -> None:
    """The fault that several tunings mend; more final seeds make it worse."""
    one = simulate(replace(FIVE, tunings=1, tuning_seeds=3), NOISE, 2000)
    more = simulate(replace(FIVE, tunings=1, tuning_seeds=3, seeds=20), NOISE, 2000)
    for rates in (one, more):
        assert rates.selected == pytest.approx(0.95, abs=0.02)
    assert one.covered < 0.9 and one.verdicts > 0.1
    assert more.covered < one.covered and more.verdicts > one.verdicts


def test_points_known_before_need_no_correction_for_tuning() -> None:
    assert_held(simulate(replace(FIVE, points=(1,) * 7, tunings=1), NOISE, 3000), 3000)


def test_the_noise_of_a_simulated_board_is_measured() -> None:
    """From its numbers alone: `measure` finds what went in."""
    from solo_registry.leaderboard.calibrate import _residual

    generator = np.random.default_rng(0)
    values = generator.normal(size=(300, 1)) + generator.normal(size=20) * 3
    found = _residual(values + 0.4 * generator.normal(size=(300, 20)))
    assert found == pytest.approx(0.4, rel=0.03)


@pytest.mark.nightly
def test_a_published_board_is_calibrated() -> None:
    archive = ARCHIVES / "temperature-fashion_mnist.tar.xz"
    load_plugins()
    with read_board(archive) as (_, table):
        noise = measure(table)
    assert 0.1 < noise.run < 0.4 and 0.2 < noise.tuning < 0.8 and len(noise.landscape) == 9
    facts, rates = calibrate(str(archive), boards=100)
    assert "14 contrasts, 9 points" in facts[1] and len(rates) == 3


@pytest.mark.slow
def test_a_suite_is_calibrated_with_stated_noise() -> None:
    shown = CliRunner().invoke(
        app, ["calibrate", "suite=smoke", "--spread", "0.5", "--tuning-spread", "0.5",
              "--boards", "100"]
    )  # fmt: skip
    assert shown.exit_code == 0 and "2 contrasts, 2 points, 5 final seeds" in shown.output
    with pytest.raises(UserError, match="noise of suite=smoke is not known"):
        calibrate("suite=smoke")
