"""Writes the results of a sweep: every trial, the winner as a config, a picture and a page.

The files are functions of the trials alone: the same run folders give the same bytes.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console

from solo_registry.errors import UserError
from solo_registry.plots.names import LABELS, number
from solo_registry.plots.style import attempt
from solo_registry.runs.run_folder import atomic_write
from solo_registry.sweep.figures import draw_sweep
from solo_registry.sweep.plan import Planner, Trial
from solo_registry.sweep.state import Sweep

SHOWN = 5  # trials in the page's table
FINAL_SEEDS = "1,2,3,4,5"
HEADER = """\
# The winner of a sweep of {trials} trials: {label}
# {metric} {value} on {share:.0%} of train held out (seed {seed}); here all of train is used.
#   {command} seed=1
# The same with arguments:
#   dyntemp pretrain {words}
defaults:
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
  - _self_

hydra:
  output_subdir: null
  run:
    dir: .
  sweep:
    dir: ${{runs_dir}}/.multirun
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
    texts = {"best.yaml": best_yaml(sweep), "report.md": page(sweep, attempt(draw_sweep, sweep))}
    for name, text in texts.items():
        with atomic_write(sweep.path / name) as part:
            part.write_text(text, encoding="utf-8")
    best, metric = sweep.ranked[0], sweep.planner.space.metric
    console.print(
        f"best of {len(sweep.trials)} trials: {best.label}, {metric} {number(best.value, metric)} "
        f"on held-out images\nreport: {sweep.path / 'report.md'}", soft_wrap=True, highlight=False,
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
    with atomic_write(sweep.path / "trials.csv") as part:
        pd.DataFrame(rows).to_csv(part, index=False)


def best_yaml(sweep: Sweep) -> str:
    """Write the winner as a config of `dyntemp pretrain`, on all of train and measured in full."""
    planner, best = sweep.planner, sweep.ranked[0]
    words = planner.final_words(best.point)
    header = HEADER.format(
        trials=len(sweep.trials), label=best.label, metric=planner.space.metric,
        value=number(best.value, planner.space.metric), seed=planner.space.seed,
        share=planner.space.validation_fraction, command=sweep.command,
        words=shlex.join(words),
    )  # fmt: skip
    return header + OmegaConf.to_yaml(planner.hydra.plain(words))


def page(sweep: Sweep, picture: Path | None) -> str:
    """Return the page, report.md."""
    planner, space = sweep.planner, sweep.planner.space
    best, metric, margin = sweep.ranked[0], space.metric, sweep.margin
    label = LABELS[metric]
    near = [trial for trial in sweep.ranked if (trial.value or 0.0) >= (best.value or 0.0) - margin]
    counts = ", ".join(
        f"{len(sweep.of_state(state))} {state}" for state in ("finished", "pruned", "failed")
    )
    lines = [
        f"# Sweep {sweep.path.name}", "",
        f"{space.about[:1].upper()}{space.about[1:]}.", "",
        f"- Searched: {ranges(planner)}.",
        f"- {len(sweep.trials)} trials of {sweep.cfg.max_epochs} epochs: {counts}. Pruner: "
        f"{space.pruner.name}"
        + (f", by {space.intermediate} after each epoch." if space.pruner.name != "none" else "."),
        f"- Selected by {metric} after the last epoch on {space.validation_fraction:.0%} of train, "
        f"held out; seed {space.seed}.",
        f"- For all trials: `{shlex.join([*planner.words, *space.words]) or 'nothing'}`.", "",
        "## The winner", "",
        f"**{best.label}**: {label.replace(', %', '')} {number(best.value, metric)} %, trial "
        f"{best.number}, run `{best.run.path.as_posix()}`.", "",
        *([f"![every trial]({picture.name})", ""] if picture else []),
        "| trial | " + " | ".join(space.parameters) + f" | {label} |",
        "|---|" + "---|" * len(space.parameters) + "---|",
        *(
            f"| {trial.number} | " + " | ".join(str(value) for value in trial.point.values())
            + f" | {number(trial.value, metric)} |"
            for trial in sweep.ranked[:SHOWN]
        ), "",
        f"{len(near)} of {len(sweep.ranked)} finished trials lie within one standard error of the "
        f"winner ({margin:.2f} points at this many held-out images): {spread(near)}. The search "
        "cannot tell them apart.", "",
    ]  # fmt: skip
    if failed := sweep.of_state("failed"):
        lines += ["## Failed", "", *(f"- trial {t.number}, {t.label}: {t.problem}" for t in failed)]
        lines += ["", "The same command with `retry=true` runs them again.", ""]
    lines += [
        "## Next", "",
        "These numbers are not test numbers. The winner's is the best of many noisy numbers, so it "
        "is optimistic. Run the winner on all of train, over seeds:", "",
        "```bash", f"{sweep.command} --multirun seed={FINAL_SEEDS}", "```", "",
        "To say that it is better than another method, sweep that method with as many trials and "
        "run its winner over the same seeds. Then type "
        f"`dyntemp leaderboard report {planner.hydra.runs_dir} --against HASH`, or compare tuned "
        "strategies with `dyntemp leaderboard run`.", "",
    ]  # fmt: skip
    return "\n".join(lines)


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
