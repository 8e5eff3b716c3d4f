"""Makes the table of a board, or of a folder of runs, from the records of runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from solo_registry.errors import UserError, nearest
from solo_registry.jobs.job import SELECTING, Job
from solo_registry.leaderboard.archive import opened
from solo_registry.leaderboard.board import Board, Choice, Plan
from solo_registry.leaderboard.family import compare_rows, merge
from solo_registry.leaderboard.power import sensitivity
from solo_registry.leaderboard.question import QuestionConfig
from solo_registry.leaderboard.rows import METRICS, Row, Table
from solo_registry.paths import is_file
from solo_registry.runs.records import Record, contradictions, find_records, unlike


@contextmanager
def read_board(
    path: Path, metric: str | None = None, against: str | None = None
) -> Iterator[tuple[Board, Table]]:
    """Open a board, or its archive, and make its table.

    Raises:
        UserError: there is no board, or it is damaged.
    """
    with opened(path) as board:
        table = board_table(board, metric, against)
        if is_file(path):
            table.leave_out(f"{board.path}/")
        yield board, table


def board_table(board: Board, metric: str | None = None, against: str | None = None) -> Table:
    """Make the table of a board."""
    plan, suite = board.plan, board.plan.suite
    records = board.records()
    bad = contradictions(records.values())
    seeds = [str(seed) for seed in plan.seeds]
    rows, notes = [], []
    for name, strategy in suite.strategies.items():
        choice = board.selected.get(name) or Choice(None, _so_far(name, records, suite.metric))
        row = Row(name, strategy.about, " ".join(choice.point or []))
        jobs = {job: record for job, record in records.items()
                if job.strategy == name and job.phase == "final"}  # fmt: skip
        notes += [f"{name}: {note}." for note in choice.notes]
        if choice.point is None:
            row.problems.append(f"no setting was selected: {choice.why}")
        points = {" ".join(job.point): None for job in jobs}  # several, if tuned several times
        row.setting = " | ".join(points) or row.setting
        row.hash = " ".join({record.hash: None for record in jobs.values()})
        row.command = _command(jobs)
        _take(row, jobs.values(), bad)
        rows.append(row)
    budget = suite.tuning
    tuned = (
        f"Tuning: {budget.points + budget.extra} points per strategy, seeds {budget.seeds}, by "
        f"{suite.metric} on {budget.validation_fraction:.0%} of train held out; "
        "selected.json has every value."
        if budget.points > 1
        else "Nothing was tuned: the suite gives one setting per strategy."
    )
    common = shlex.join(plan.words) or "none"
    facts = [suite.about, f"Final runs: seeds {', '.join(seeds)}.", tuned]
    facts += [f"Settings for all runs beyond the suite's: {common}.", *notes]
    table = Table(f"Suite {plan.name}", facts, metric or suite.metric,
                  against or suite.reference, rows, selected=board.selected)  # fmt: skip
    table.tuning = {job: record for job, record in records.items() if job.phase == "tuning"}
    table.problems += [
        f"tuning, {job.label}: {bad.get((record.hash, record.seed)) or record.problem}"
        for job, record in table.tuning.items()
        if (record.problem or (record.hash, record.seed) in bad)
        and (record.status != "unfinished" or job.strategy in board.selected)  # else: _so_far
    ]
    asked = (table.metric, table.reference) == (suite.metric, suite.reference)
    tunings = board_tunings(plan)
    table.facts.append(estimand(tunings, budget.points > 1))
    if not asked:
        table.facts.append(
            f"The suite asked about {suite.metric} against '{suite.reference}'. This table does "
            "not, so all of its differences are exploratory."
        )
    table.tunings = tunings
    return _finish(table, seeds, suite.question if asked else None)


def _so_far(name: str, records: Mapping[Job, Record], metric: str) -> str:
    """Say how far the tuning of a strategy is, and which point leads."""
    runs = {job: record.value(metric) for job, record in records.items()
            if job.strategy == name and job.phase == "tuning"}  # fmt: skip
    values: dict[str, list[float]] = {}
    for job, value in runs.items():
        if value is not None:
            values.setdefault(" ".join(job.point), []).append(value)
    text = f"{sum(map(len, values.values()))} of {len(runs)} tuning runs are finished"
    if not values:
        return text
    best = max(values, key=lambda point: fmean(values[point]))
    seeds = f"{len(values[best])} seed{'s' * (len(values[best]) > 1)}"
    return f"{text}, so far {best} is best: {metric} {fmean(values[best]):.2f} over {seeds}"


def _command(jobs: Iterable[Job]) -> str:
    """Return the command that runs jobs again: one for each selected point."""
    runs: dict[tuple[str, ...], list[str]] = {}
    for job in jobs:
        words = tuple(word for word in job.words if not word.startswith("seed="))
        runs.setdefault(words, []).append(str(job.seed))
    return " && ".join(
        shlex.join(["dyntemp", "pretrain", "--multirun", *words, f"seed={','.join(seeds)}"])
        for words, seeds in runs.items()
    )


def board_tunings(plan: Plan) -> dict[str, int]:
    """Return the number of the tuning that each final seed belongs to; empty if there is one."""
    count = plan.suite.tuning.replicates
    return {str(seed): i % count for i, seed in enumerate(plan.seeds)} if count > 1 else {}


def estimand(tunings: Mapping[str, int], is_tuned: bool) -> str:
    """Say what the differences of a table are differences of."""
    if tunings:
        return (
            f"Differences are between strategies: each was tuned {len(set(tunings.values()))} "
            "times, independently, and the test is over these tunings."
        )
    if not is_tuned:
        return "Differences are between the settings that the suite gives."
    return (
        "Differences are between the settings in the table. Another tuning may select others; a "
        "verdict on the strategies themselves needs several tunings of each."
    )


def folder_table(runs_dir: Path, metric: str | None = None, against: str | None = None) -> Table:
    """Make the table of all runs in a folder: one row per config, without plan or tuning."""
    records = find_records(runs_dir)
    bad = contradictions(records)
    configs: dict[str, list[Record]] = {}
    for record in records:
        if record.result.get("split", "test") == "test":  # an unfinished run has no split
            configs.setdefault(record.hash, []).append(record)
    rows = []
    for runs in configs.values():
        rows.append(_row_of_config(runs))
        _take(rows[-1], runs, bad)
    facts = [f"All runs under {runs_dir}: a row per config, nothing was tuned or planned here."]
    if held := len(records) - sum(map(len, configs.values())):
        facts.append(f"{held} runs measured on a validation split are no rows.")
    seeds = sorted({seed for row in rows for seed in row.runs}, key=int)
    reference = None
    if against is not None:
        found = [row.name for row in rows if against in (row.hash, row.name)]
        if not found:
            raise UserError(f"no row has the hash '{against}'.{nearest(against, configs)}")
        reference = found[0]
    table = Table("Runs", facts, metric or METRICS[0], reference, rows)
    return _finish(table, seeds, QuestionConfig())


def _row_of_config(runs: Iterable[Record]) -> Row:
    """Return the row of some runs of one config, named after what they are."""
    row = Row("")
    for record in runs:
        row.hash = record.hash
        row.name = row.name or record.hash
        if record.status == "finished":
            result = record.result
            row.name = f"{result['name']} {record.hash}"
            row.about = f"{result['method']} on {result['dataset']}, {result['backbone']}"
            row.setting = " ".join(f"{k}={v}" for k, v in sorted(result["method_kwargs"].items()))
            command = ["dyntemp", "pretrain", "--config-path", str(record.path.resolve())]
            row.command = shlex.join([*command, "--config-name", "config"])
    return row


def _take(row: Row, records: Iterable[Record], bad: Mapping[tuple[str, str], str]) -> None:
    """Add runs to their row; those that do not count leave the reason in the row's problems."""
    records = list(records)
    problems = {**unlike(records), **bad}
    for record in records:
        problem = problems.get((record.hash, record.seed)) or record.problem
        if not problem:
            row.runs.setdefault(record.seed, record)
        elif (text := f"seed {record.seed}: {problem}") not in row.problems:
            row.problems.append(text)


def _finish(table: Table, seeds: Iterable[str], question: QuestionConfig | None) -> Table:
    if table.metric not in (known := tuple(dict.fromkeys((*METRICS, *SELECTING)))):
        raise UserError(
            f"metric is '{table.metric}'.{nearest(table.metric, known)} Known: {', '.join(known)}"
        )
    names = [row.name for row in table.rows]
    if table.reference is not None and table.reference not in names:
        raise UserError(
            f"no row '{table.reference}' to compare with.{nearest(table.reference, names)} "
            f"Rows: {', '.join(names)}"
        )
    table.rows = merge(table.rows, table.metrics, table.reference)
    compare_rows(table, question)

    def order(row: Row) -> tuple[bool, float, str]:
        mean = row.summary(table.metric).mean
        return mean is None, -(mean or 0.0), row.name

    table.rows.sort(key=order)
    for row in table.rows:
        table.problems += [f"{row.name}, {problem}" for problem in row.problems]
        if row.same:
            table.facts.append(f"One run under several names, counted once: {row.title}.")
        table.lacking += _lacking(row, table.metric, seeds)
    if question is not None and table.reference is not None:
        table.facts.append(sensitivity([row.comparison for row in table.family], question))
    machines = sorted({run.machine for row in table.rows for run in row.runs.values()})
    if len(machines) > 1:
        table.facts.append(
            f"Runs come from unlike machines, so times are not comparable: {'; '.join(machines)}."
        )
    elif machines:
        table.facts.append(f"Machine: {machines[0]}.")
    return table


def _lacking(row: Row, metric: str, seeds: Iterable[str]) -> list[str]:
    lacks = [f"seed {seed}" for seed in seeds if seed not in row.runs]
    lacks += [] if row.hash else ["a config hash"]
    for seed, run in row.runs.items():
        if not run.result["protocols"].get(metric):
            lacks.append(f"the protocol of {metric} (seed {seed})")
        elif run.value(metric, row.source) is None:
            lacks.append(f"{metric} (seed {seed})")
    return [f"row '{row.name}' lacks {lack}" for lack in lacks]
