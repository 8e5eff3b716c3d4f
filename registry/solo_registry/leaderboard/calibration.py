"""`dyntemp leaderboard calibrate`: how far the verdicts of a board or of a suite can be trusted."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from solo_registry.catalog.plugins import load_plugins
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.calibrate import Design, Noise, measure, simulate
from solo_registry.leaderboard.suite import SuiteConfig, read_suite
from solo_registry.leaderboard.tables import read_board

HEADINGS = {
    "wins": "any false win",
    "losses": "any false loss",
    "verdicts": "any false verdict",
    "covered": "covers strategies",
    "selected": "covers settings",
    "together": "all cover",
    "equivalent": "called equivalent",
    "power": "finds the margin",
}


def calibrate(
    target: str,
    *,
    noise: Path | None = None,
    seeds: int | None = None,
    spread: float | None = None,
    tuning_spread: float | None = None,
    tunings: int | None = None,
    boards: int = 1000,
) -> tuple[list[str], pd.DataFrame]:
    """Simulate boards without any difference, as a board or a suite would have them.

    Args:
        target: a board, its archive, or `suite=NAME`.
        noise: the board whose noise a suite gets.
        seeds: final seeds; those of the board, else 5.
        spread: deviation of a final run, in points; that of the board if None.
        tuning_spread: deviation of a tuning run, in points.
        tunings: independent tunings to simulate beside one.
        boards: how many boards.

    Returns:
        What was assumed, and a row of rates for each procedure.

    Raises:
        UserError: no noise is known, or numbers that cannot be.
    """
    load_plugins()
    counts: dict[str, int] = {}
    if target.startswith("suite="):
        name = target.removeprefix("suite=")
        with hydra_session([], "runs") as hydra:
            suite = read_suite(name, hydra.option("suite", name), [], [])
        found = Noise(0.0, 0.0, 0.0, (0.0,) * suite.tuning.points)
        if noise is not None:
            with read_board(noise) as (_, table):
                found = measure(table)
    else:
        with read_board(Path(target)) as (board, table):
            found = measure(table)
        suite, counts = board.plan.suite, _distinct(board)
        seeds = seeds or len(board.plan.seeds)
    if spread is not None:
        found = replace(found, run=spread)
    if tuning_spread is not None:
        found = replace(found, tuning=tuning_spread)
    if not found.run > 0:
        raise UserError(
            f"the noise of {target} is not known: name a board that measured it (--noise BOARD), "
            "or state it (--spread POINTS --tuning-spread POINTS)"
        )
    design = _design(suite, counts, seeds or 5)
    many = tunings or min(design.seeds, 5)
    if many > design.seeds:
        raise UserError(f"--tunings is {many}, but there are only {design.seeds} final seeds")
    share = -(-design.tuning_seeds // many) * many  # each tuning needs as many seeds
    designs = {
        "points known before": replace(design, points=(1,) * len(design.points), tunings=1),
        f"1 tuning, {design.tuning_seeds} seeds": replace(design, tunings=1),
        f"{many} tunings, {share // many} seeds each": replace(
            design, tunings=many, tuning_seeds=share
        ),
    }
    rates = {name: asdict(simulate(each, found, boards)) for name, each in designs.items()}
    rows = pd.DataFrame(rates).T.rename(columns=HEADINGS)
    return [_said(found), _said_design(design, boards)], rows.rename_axis("tuning").reset_index()


def _distinct(board: Board) -> dict[str, int]:
    """Return how many points of each strategy differ, in the values of their runs."""
    if len(board.plan.suite.tuning.seeds) < 2:  # one equal value is chance
        return {}
    return {
        name: len({tuple(point.values.items()) for point in choice.points})
        for name, choice in board.selected.items()
    }


def _design(suite: SuiteConfig, counts: dict[str, int], seeds: int) -> Design:
    """Return the design of a suite; `counts` has the points that differ, where they are known."""
    names = suite.question.contrasts or [n for n in suite.strategies if n != suite.reference]
    points = [counts.get(name) or suite.tuning.points for name in (suite.reference, *names)]
    question = suite.question
    return Design(tuple(points), len(suite.tuning.seeds), seeds, 1, question.alpha, question.margin)


def _said(noise: Noise) -> str:
    best = ", ".join(f"{value:.2f}" for value in noise.landscape)
    return (
        f"Noise, in points: {noise.run:.2f} of a final run, {noise.tuning:.2f} of a tuning run, "
        f"{noise.split:.2f} of the held-out images. Points of a strategy below its best: {best}."
    )


def _said_design(design: Design, boards: int) -> str:
    fewer = [str(count) for count in design.points if count < max(design.points)]
    less = f" (fewer differ in some: {', '.join(fewer)})" if fewer else ""
    return (
        f"{boards} simulated boards of equal strategies: {len(design.points) - 1} contrasts, "
        f"{max(design.points)} points{less}, {design.seeds} final seeds, margin {design.margin:g}, "
        f"alpha {design.alpha:g}. A share of 5% has a standard error of "
        f"{(0.05 * 0.95 / boards) ** 0.5:.1%}."
    )
