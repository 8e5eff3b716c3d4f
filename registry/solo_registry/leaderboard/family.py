"""Which rows of a table are tested, and the verdict on each."""

from __future__ import annotations

from collections.abc import Sequence

from solo_registry.leaderboard.question import QuestionConfig
from solo_registry.leaderboard.rows import Row, Table
from solo_registry.leaderboard.statistics import compare, decide


def merge(rows: Sequence[Row], metrics: Sequence[str], reference: str | None = None) -> list[Row]:
    """Return the rows with each group of equal runs as one row.

    Rows are equal if every number of every seed is, to the last bit: their configs were one run
    under several names, as a cosine and a line are between equal temperatures. Counted twice, one
    measurement would make the verdicts on all others stricter.

    Args:
        rows: the rows; the first of a group stays, and gets the others' names as `same`.
        metrics: the numbers that are compared.
        reference: the row that stays in its group.
    """
    groups: dict[object, Row] = {}
    for row in sorted(rows, key=lambda row: row.name != reference):
        numbers = tuple(tuple(row.values(metric).items()) for metric in metrics)
        first = groups.setdefault(numbers if any(numbers) else id(row), row)
        if first is not row:
            first.same.append(row.name)
            first.problems += [text for text in row.problems if text not in first.problems]
    return [row for row in rows if any(row is first for first in groups.values())]


def compare_rows(table: Table, question: QuestionConfig | None) -> None:
    """Compare every row with the reference, and decide on the rows of the family.

    A row that was measured by another protocol than the reference is not compared.

    Args:
        table: the table; `family`, and the `comparison` of each row are set.
        question: the family; None makes every row exploratory.
    """
    reference = next((row for row in table.rows if row.name == table.reference), None)
    if reference is None:
        return
    others = [row for row in table.rows if row is not reference]
    ours = reference.protocol(table.metric)
    base = reference.values(table.metric)
    for row in others:
        values = row.values(table.metric)
        if (its := row.protocol(table.metric)) and ours and its != ours:
            row.problems.append(
                f"not tested against '{reference.name}': measured by '{its}' and not by '{ours}'"
            )
            table.lacking.append(f"row '{row.name}' lacks the reference's protocol")
            values = {}
        row.comparison = compare(values, base, table.tunings)
    table.question = question
    if question is None:
        return
    names = set(question.contrasts)
    table.family = [row for row in others if not names or names & {row.name, *row.same}]
    tests = [row.comparison for row in table.family if row.comparison is not None]
    decided = decide(tests, question.alpha, question.margin)
    for row, test in zip(table.family, decided, strict=True):
        row.comparison = test
