"""Writes the results of a sweep: every trial, the winner as a config, a picture and a page.

The files are functions of the trials alone: the same run folders give the same bytes.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console

from solo_registry.errors import UserError
from solo_registry.plots.names import LABELS, number
from solo_registry.plots.pages import page
from solo_registry.plots.style import attempt
from solo_registry.runs.read import csv_text
from solo_registry.runs.run_folder import write_text
from solo_registry.sweep.figures import draw_sweep
from solo_registry.sweep.plan import Planner, Trial
from solo_registry.sweep.state import Sweep

SHOWN = 5  # trials in the page's table
FINAL_SEEDS = "1,2,3,4,5"
HEAD = """\
The winner of a sweep of {trials} trials: {label}
{metric} {value} on {share:.0%} of train held out (seed {seed}); here all of train is used.
  {command} seed=1
The same with arguments:
  dyntemp pretrain {words}
"""
HYDRA = """\
defaults:
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
  - _self_

hydra:
  output_subdir: null
  run:
    dir: .
  sweep:
    dir: ${runs_dir}/.multirun
    subdir: .

"""


def write_report(sweep: Sweep, console: Console) -> None:
    """Write all files and print the winner.

    Raises:
        UserError: no trial finished.
    """
    write_trials(sweep)
    if not sweep.ranked:
        problems = [f"; the first failed with: {t.problem}" for t in sweep.of_state("failed")]
        raise UserError(
            f"none of {len(sweep.trials)} trials finished{''.join(problems[:1])}. "
            f"{sweep.path / 'trials.csv'} lists them all. When the cause is repaired, the same "
            "command with retry=true runs failed trials again; sweep.pruner.name=none prunes none"
        )
    filled = content(sweep, attempt(draw_sweep, sweep))
    report = page("solo_registry.sweep", "report.md.jinja", **filled)
    texts = {"best.yaml": best_yaml(sweep), "report.md": report}
    for name, text in texts.items():
        write_text(sweep.path / name, text)
    best, metric = sweep.ranked[0], sweep.planner.space.metric
    console.print(
        f"best of {len(sweep.trials)} trials: {best.label}, {metric} {number(best.value, metric)} "
        f"on held-out images\nreport: {sweep.path / 'report.md'}",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip
    if failed := sweep.of_state("failed"):
        console.print(f"{len(failed)} failed; retry=true runs them again", highlight=False)


def write_trials(sweep: Sweep) -> None:
    """Write trials.csv: a row per trial."""
    rows = [
        {
            "trial": trial.number,
            **trial.point,
            "state": trial.state,
            sweep.planner.space.metric: trial.value,
            "epochs": max(trial.curve, default=0),
            f"best_{sweep.planner.space.intermediate}": max(trial.curve.values(), default=None),
            "run": trial.run.path.as_posix(),
            "config_hash": trial.run.path.parent.name,
            "problem": trial.problem,
        }
        for trial in sweep.trials
    ]
    write_text(sweep.path / "trials.csv", csv_text(pd.DataFrame(rows)))


def best_yaml(sweep: Sweep) -> str:
    """Write the winner as a config of `dyntemp pretrain`, on all of train and measured in full."""
    planner, best = sweep.planner, sweep.ranked[0]
    words = planner.final_overrides(best.point)
    head = HEAD.format(
        trials=len(sweep.trials), label=best.label, metric=planner.space.metric,
        value=number(best.value, planner.space.metric), seed=planner.space.seed,
        share=planner.space.validation_fraction, command=sweep.command,
        words=shlex.join(words),
    )  # fmt: skip
    header = "".join(f"# {line}\n" for line in head.splitlines()) + HYDRA
    return header + OmegaConf.to_yaml(planner.hydra.plain(words))


def content(sweep: Sweep, picture: Path | None) -> dict[str, Any]:
    """Return what the page, report.md, inserts."""
    planner, space = sweep.planner, sweep.planner.space
    best = sweep.ranked[0]
    low = (best.value or 0.0) - sweep.margin
    near = [trial for trial in sweep.ranked if (trial.value or 0.0) >= low]
    states = ("finished", "pruned", "failed")
    report = ["dyntemp", "leaderboard", "report", planner.hydra.runs_dir, "--against", "HASH"]
    return {
        "sweep": sweep,
        "space": space,
        "best": best,
        "label": LABELS[space.metric],
        "value": lambda trial: number(trial.value, space.metric),
        "counts": ", ".join(f"{len(sweep.of_state(state))} {state}" for state in states),
        "ranges": ranges(planner),
        "words": shlex.join([*planner.overrides, *space.words]) or "nothing",
        "shown": sweep.ranked[:SHOWN],
        "near": near,
        "spread": spread(near),
        "picture": picture and picture.name,
        "command": f"{sweep.command} --multirun seed={FINAL_SEEDS}",
        "report": shlex.join(report),
    }


def ranges(planner: Planner) -> str:
    """Describe the ranges that were searched."""
    parts = []
    for name, parameter in planner.space.parameters.items():
        if parameter.choices:
            parts.append(f"{name} among {', '.join(map(str, parameter.choices))}")
        else:
            scale = " (log)" if parameter.log else ""
            parts.append(f"{name} from {parameter.low} to {parameter.high}{scale}")
    return "; ".join(parts)


def spread(trials: list[Trial]) -> str:
    """Describe the range of the trials' values."""
    parts = []
    for name in trials[0].point:
        values = [trial.point[name] for trial in trials]
        if all(isinstance(value, int | float) for value in values):
            parts.append(f"{name} {min(values):g} to {max(values):g}")
        else:
            parts.append(f"{name} {', '.join(sorted({str(value) for value in values}))}")
    return ", ".join(parts)
