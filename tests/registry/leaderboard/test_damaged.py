"""Files of boards and runs that were damaged, or written by hand: one error, or a named run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.registry.leaderboard.conftest import QUIET, change, first_run

from solo_registry.errors import UserError
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.columns import columns
from solo_registry.leaderboard.report import frame, runs_frame, write_report
from solo_registry.leaderboard.rows import METRICS, Table
from solo_registry.leaderboard.tables import board_table, folder_table

pytestmark = pytest.mark.slow

ODD: tuple[Any, ...] = (
    None, True, -1, 10**30, 1e308, float("nan"), float("inf"), "", "x", [], [None], {}, {"a": {}},
    "\ud800",
)  # fmt: skip
DEEP = "[" * 2000 + "]" * 2000
BOARD = ("board.json", "selected.json")
LONG = (pytest.mark.nightly, pytest.mark.slow)
RUN = ("result.json", "cost.json", "environment.json", "metrics.csv", "resolved.yaml")


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Each container and key inside a JSON value."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield node, key
        if isinstance(value, dict | list):
            yield from places(value)


def shapes(path: Path) -> Iterator[str]:
    """What somebody could write by hand: each key left out, and each value of another type."""
    for number in range(len(list(places(json.loads(path.read_text()))))):
        for odd in (..., *ODD):
            content = json.loads(path.read_text())
            node, key = list(places(content))[number]
            if odd is ...:
                node.pop(key)
            else:
                node[key] = odd
            yield json.dumps(content)
    yield from ("", "null", "[]", "3", DEEP, '{"schema_version": ' + DEEP + "}")


def flip(content: bytes, draw: random.Random) -> bytes:
    place, bit = draw.randrange(len(content)), 1 << draw.randrange(8)
    return content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def zero(content: bytes, draw: random.Random) -> bytes:
    start, count = draw.randrange(len(content)), draw.choice((1, 16, 512))
    return content[:start] + bytes(len(content[start : start + count])) + content[start + count :]


def swap(content: bytes, draw: random.Random) -> bytes:
    a, b, c = sorted(draw.randrange(len(content)) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def no_text(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + draw.choice((b"\xff", b"\xc3", b"\x80\xfe")) + content[place:]


def huge(content: bytes, draw: random.Random) -> bytes:
    numbers = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    place = draw.choice(numbers)
    return content[:place] + draw.choice((b"9" * 400, b"1e999", b"NaN")) + content[place + 1 :]


DAMAGE: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip, cut, zero, swap, no_text, huge,
)  # fmt: skip


def numbers(table: Table) -> dict[tuple[str, str, str], float]:
    return {
        (row.hash, seed, metric): value
        for row in table.rows
        for metric in METRICS
        for seed, value in row.values(metric).items()
    }


def read(board: Path) -> Table | None:
    """The table with all its texts; None if a UserError says why there is none."""
    try:
        table = board_table(Board.read(board))
    except UserError as error:
        assert str(board) in str(error)
        return None
    assert len(frame(table)) == len(table.rows) and runs_frame(table) is not None
    for column in columns(table):
        for row in (*table.rows, *table.baselines()):
            assert isinstance(column.text(row), str) and column.key(row) is not ...
    return table


def says_null(file: Path, missing: Iterable[tuple[str, str, str]]) -> bool:
    """Whether a result itself says that numbers were not measured; `--check` asks for one only."""
    trained = json.loads(file.read_text())["results"]["trained"] if file.name in RUN[:1] else {}
    return all(trained.get(metric, "") is None for *_, metric in missing)


def check(board: Path, file: Path, whole: dict[tuple[str, str, str], float]) -> bool:
    """Read a board with a bad file; return whether it, or a run of it, was refused."""
    table = read(board)
    if table is None:
        return True
    found = numbers(table)
    missing = whole.keys() - found.keys()
    assert not missing or table.problems or table.lacking or says_null(file, missing)
    assert found.keys() <= whole.keys() or table.problems
    changed = {found[key] for key in found if found[key] != whole.get(key)}
    if changed:  # one number became another, and the file says so itself
        assert file.name == "result.json"
        assert changed <= {*json.loads(file.read_text())["results"]["trained"].values()}
    return bool(table.problems)


def fuzz(board: Path, file: Path, count: int, seed: int) -> int:
    """Damage a file again and again; return how often its run or board was refused."""
    whole, good = numbers(board_table(Board.read(board))), file.read_bytes()
    refused = 0
    for number in range(count):
        file.write_bytes(DAMAGE[number % len(DAMAGE)](good, random.Random(seed + number)))
        refused += check(board, file, whole)
    return refused


def hand_written(board: Path, file: Path, count: int) -> int:
    """Write a file in other shapes; return how often its run or board was refused."""
    whole, texts = numbers(board_table(Board.read(board))), list(shapes(file))
    refused = 0
    for text in random.Random(0).sample(texts, count) + texts[-6:]:
        file.write_text(text)
        refused += check(board, file, whole)
    return refused


def place(board: Path, name: str) -> Path:
    return (board if name in BOARD else first_run(board, "cosine", 1)) / name


@pytest.mark.parametrize(
    ("name", "count", "least"),
    [
        ("board.json", 40, 15), ("selected.json", 15, 8), ("result.json", 15, 6),
        ("cost.json", 6, 4), ("environment.json", 6, 4),
        pytest.param("board.json", 400, 160, marks=LONG),
        pytest.param("selected.json", 60, 22, marks=LONG),
        pytest.param("result.json", 400, 80, marks=LONG),
    ],
)  # fmt: skip
def test_files_of_another_shape_are_refused(small: Path, name: str, count: int, least: int) -> None:
    assert hand_written(small, place(small, name), count) > least


@pytest.mark.parametrize("text", ["", "{}", '{"error": " "}', '{"error": 3}', "null", DEEP])
def test_a_failed_run_is_named_whatever_its_error_says(small: Path, text: str) -> None:
    place(small, "result.json").unlink()
    place(small, "error.json").write_text(text)
    table = read(small)
    assert table and len(table.problems) == 1 and "error.json" in table.problems[0]


@pytest.mark.parametrize("name", [*BOARD, *RUN])
def test_damaged_bytes_end_in_one_error_or_a_named_run(small: Path, name: str) -> None:
    assert fuzz(small, place(small, name), len(DAMAGE), seed=0) > 1


@pytest.mark.nightly
@pytest.mark.parametrize("name", [*BOARD, *RUN])
def test_several_hundred_damages_of_each_file(small: Path, name: str) -> None:
    assert fuzz(small, place(small, name), 300, seed=1000) > 150


def test_a_run_without_the_tested_number_is_lacking(small: Path) -> None:
    """A result may say null, "not measured"; then a mean is over fewer seeds."""
    result = json.loads(place(small, "result.json").read_text())["results"]
    trained = {**result["trained"], "knn_acc1": None, "rankme": None}
    change(place(small, "result.json"), results={**result, "trained": trained})
    table = board_table(Board.read(small))
    assert table.lacking == ["row 'cosine' lacks knn_acc1 (seed 1)"] and not table.problems


def test_a_damaged_run_costs_its_own_numbers_only(board: Path) -> None:
    """A report of both kinds, drawn."""
    first, second, third = (first_run(board, *run) for run in
                            (("fixed", 3), ("cosine", 1), ("twin", 2)))  # fmt: skip
    change(first / "cost.json", train_seconds="fast")
    (second / "result.json").write_text('{"schema_version": 2, "results": {"trained": []}}')
    (third / "metrics.csv").write_text("epoch,val_acc1\n0,x\n")
    for folder in (board, board.parents[1] / "runs"):
        lacking = write_report(folder, QUIET)
        assert len(lacking) == 3 and all("lacks seed" in line for line in lacking)
        text = (folder / "report" / "report.md").read_text()
        for problem in ("result.json is not a run's result: 'evaluation': field required",
                        "metrics.csv is damaged: column 'val_acc1' holds more than numbers",
                        "cost.json is not a run's cost.json: 'train_seconds"):  # fmt: skip
            assert problem in text


def test_files_that_contradict_each_other_are_named(small: Path) -> None:
    plan = json.loads((small / "board.json").read_text())

    def refused(message: str, **keys: Any) -> None:
        jobs = [{**plan["jobs"][0], **keys}, *plan["jobs"][1:]]
        change(small / "board.json", jobs=jobs)
        with pytest.raises(UserError, match=message):
            Board.read(small)

    refused("no strategy 'other'", strategy="other")
    refused("is no folder of a run with seed 1", path="../../elsewhere/1")
    refused("is no folder of a run with seed 1", path="/elsewhere/1")
    refused("is no folder of a run with seed 2", seed=2)
    refused("which was not selected", point=["method_kwargs.tau_min=0.2"])


def test_a_run_is_named_by_its_folder_wherever_the_report_starts(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = first_run(small, "cosine", 1)
    for folder in (run, run.parent):
        monkeypatch.chdir(folder)
        (row,) = folder_table(Path(".")).rows
        assert (row.hash, list(row.runs)) == (run.parent.name, ["1"]) and not row.problems
