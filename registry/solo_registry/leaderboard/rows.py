"""A table and its rows, for every report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from solo_registry.jobs.job import Job
from solo_registry.leaderboard.board import Choice
from solo_registry.leaderboard.question import QuestionConfig
from solo_registry.leaderboard.statistics import Comparison, Summary, summarise
from solo_registry.runs.records import Record

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
        same: names of the strategies whose runs are equal to these, to the last bit.
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
    same: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Return its name, and those of the strategies that it stands for."""
        return " = ".join([self.name, *self.same])

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
        family: the rows that are tested together; the others are exploratory.
        question: the margin and the level of their tests; None without a declared question.
        tunings: number of the tuning that each seed belongs to, see `compare`; empty if all are
            of one.
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
    family: list[Row] = field(default_factory=list)
    question: QuestionConfig | None = None
    tunings: Mapping[str, int] = field(default_factory=dict)

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
