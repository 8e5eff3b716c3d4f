"""Makes the rows of a table from the records of runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from solo_registry.errors import UserError, nearest
from solo_registry.jobs.job import SELECTING, Job
from solo_registry.leaderboard.board import Board, Choice
from solo_registry.leaderboard.statistics import Comparison, Summary, compare, holm, summarise
from solo_registry.runs.records import Record, contradictions, find_records, unlike

METRICS = (
    "knn_acc1", "linear_acc1", "uniformity", "tolerance", "alignment", "inter_class_uniformity",
    "rankme",
)  # fmt: skip


@dataclass
class Row:
    """One line of the table: the finished runs of one strategy (or one config) over seeds.

    Attributes:
        name: the strategy; for a folder of runs, the method and what distinguishes the row.
        about: one line about the strategy, may be empty.
        setting: the selected point, as arguments.
        hash: hash of its config, empty if nothing was run.
        command: the command that reproduces the row.
        runs: the finished runs by seed.
        problems: the reasons why runs are missing, by seed or path.
        comparison: the test against the reference; None for the reference itself.
        source: the features of its numbers: "trained", or those of a baseline.
    """

    name: str
    about: str = ""
    setting: str = ""
    hash: str = ""
    command: str = ""
    runs: dict[str, Record] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    comparison: Comparison | None = None
    source: str = "trained"

    def values(self, metric: str) -> dict[str, float]:
        """Return the metric by seed, seeds in order."""
        found = {seed: run.value(metric, self.source) for seed, run in self.runs.items()}
        return {seed: found[seed] for seed in sorted(found, key=int) if found[seed] is not None}  # type: ignore[misc]

    def summary(self, metric: str) -> Summary:
        """Return mean and spread of the metric."""
        return summarise(list(self.values(metric).values()))

    def cost(self, key: str) -> float | None:
        """Return the mean over the runs of a number of cost.json; None for a baseline."""
        costs = [run.cost[key] for run in self.runs.values() if run.cost.get(key) is not None]
        return sum(costs) / len(costs) if costs and self.source == "trained" else None

    def protocol(self, metric: str) -> str:
        """Return the metric's protocol, which all its runs share; empty if they name none."""
        return max((run.protocol(metric) for run in self.runs.values()), default="")


@dataclass
class Table:
    """The content of a report.

    Attributes:
        title: its heading.
        facts: lines that hold for all rows.
        metric: the number that is tested.
        reference: name of the row that the others are tested against, or None.
        rows: the rows, best first; rows without a number last.
        tuning: the tuning runs with their jobs.
        selected: what the tuning selected, by strategy.
        problems: the runs that were left out, each with its reason.
        lacking: the faults that `--check` reports.
    """

    title: str
    facts: list[str]
    metric: str
    reference: str | None
    rows: list[Row]
    tuning: dict[Job, Record] = field(default_factory=dict)
    selected: dict[str, Choice] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The numbers of a row, the tested one among them."""
        return tuple(dict.fromkeys((*METRICS, self.metric)))

    def leave_out(self, folder: str) -> None:
        """Remove the path of an unpacked archive's folder from the problems' texts."""
        for problems in (self.problems, *(row.problems for row in self.rows)):
            problems[:] = [text.replace(folder, "") for text in problems]

    def baselines(self) -> list[Row]:
        """Return raw pixels and the untrained backbone, as measured in the reference's runs."""
        starts = {"untrained": "untrained backbone", "initial_weights": "initial weights"}
        for row in sorted(self.rows, key=lambda row: row.name != self.reference):
            for source, name in starts.items():
                start = Row(name, runs=row.runs, source=source)
                if start.values(self.metric):
                    return [start, Row("raw pixels", runs=row.runs, source="raw_pixels")]
        return []


def board_table(board: Board, metric: str | None = None, against: str | None = None) -> Table:
    """Make the table of a board."""
    plan, suite = board.plan, board.plan.suite
    records = board.records()
    bad = contradictions(records.values())
    seeds = [str(seed) for seed in plan.seeds]
    rows = []
    for name, strategy in suite.strategies.items():
        choice = board.selected.get(name, Choice(None, "tuning unfinished"))
        row = Row(name, strategy.about, " ".join(choice.point or []))
        jobs = {job: record for job, record in records.items()
                if job.strategy == name and job.phase == "final"}  # fmt: skip
        if choice.point is None:
            row.problems.append(f"no setting was selected: {choice.why}")
        for job, record in jobs.items():
            words = [word for word in job.words if not word.startswith("seed=")]
            row.hash = record.hash
            command = ["dyntemp", "pretrain", "--multirun", *words, f"seed={','.join(seeds)}"]
            row.command = shlex.join(command)
        _take(row, jobs.values(), bad)
        rows.append(row)
    budget = suite.tuning
    tuned = (
        f"Tuning: {budget.points} points per strategy, seeds {budget.seeds}, by "
        f"{suite.metric} on {budget.validation_fraction:.0%} of train held out; "
        "selected.json has every value."
        if budget.points > 1
        else "Nothing was tuned: the suite gives one setting per strategy."
    )
    common = shlex.join(plan.words) or "none"
    facts = [suite.about, f"Final runs: seeds {', '.join(seeds)}.", tuned]
    facts.append(f"Settings for all runs beyond the suite's: {common}.")
    table = Table(f"Suite {plan.name}", facts, metric or suite.metric,
                  against or suite.reference, rows, selected=board.selected)  # fmt: skip
    table.tuning = {job: record for job, record in records.items() if job.phase == "tuning"}
    table.problems += [
        f"tuning, {job.label}: {bad.get((record.hash, record.seed)) or record.problem}"
        for job, record in table.tuning.items()
        if record.problem or (record.hash, record.seed) in bad
    ]
    return _finish(table, seeds)


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
    return _finish(Table("Runs", facts, metric or METRICS[0], reference, rows), seeds)


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


def _finish(table: Table, seeds: Iterable[str]) -> Table:
    if table.metric not in (known := (*METRICS, *SELECTING)):
        raise UserError(
            f"metric is '{table.metric}'.{nearest(table.metric, known)} Known: "
            f"{', '.join(dict.fromkeys(known))}"
        )
    names = [row.name for row in table.rows]
    if table.reference is not None and table.reference not in names:
        raise UserError(
            f"no row '{table.reference}' to compare with.{nearest(table.reference, names)} "
            f"Rows: {', '.join(names)}"
        )
    _compare(table)

    def order(row: Row) -> tuple[bool, float, str]:
        mean = row.summary(table.metric).mean
        return mean is None, -(mean or 0.0), row.name

    table.rows.sort(key=order)
    for row in table.rows:
        table.problems += [f"{row.name}, {problem}" for problem in row.problems]
        table.lacking += _lacking(row, table.metric, seeds)
    machines = sorted({run.machine for row in table.rows for run in row.runs.values()})
    if len(machines) > 1:
        table.facts.append(
            f"Runs come from unlike machines, so times are not comparable: {'; '.join(machines)}."
        )
    elif machines:
        table.facts.append(f"Machine: {machines[0]}.")
    return table


def _compare(table: Table) -> None:
    reference = next((row for row in table.rows if row.name == table.reference), None)
    if reference is None:
        return
    others = [row for row in table.rows if row is not reference]
    ours = reference.protocol(table.metric)
    for row in others:
        if (its := row.protocol(table.metric)) and ours and its != ours:
            row.problems.append(
                f"not tested against '{reference.name}': measured by '{its}' and not by '{ours}'"
            )
            table.lacking.append(f"row '{row.name}' lacks the reference's protocol")
            continue
        row.comparison = compare(row.values(table.metric), reference.values(table.metric))
    tested = [(row, test) for row in others if (test := row.comparison) and test.p is not None]
    for (row, test), p in zip(tested, holm([t.p or 0.0 for _, t in tested]), strict=True):
        row.comparison = replace(test, holm=p)


def _lacking(row: Row, metric: str, seeds: Iterable[str]) -> list[str]:
    lacks = [f"seed {seed}" for seed in seeds if seed not in row.runs]
    lacks += [] if row.hash else ["a config hash"]
    for seed, run in row.runs.items():
        if not run.result["protocols"].get(metric):
            lacks.append(f"the protocol of {metric} (seed {seed})")
    return [f"row '{row.name}' lacks {lack}" for lack in lacks]
