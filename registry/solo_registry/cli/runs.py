"""The commands on past runs: list, show, compare, remove."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from solo_registry.cli.inference import RunName
from solo_registry.cli.output import print_table, say
from solo_registry.paths import is_file

RunsDir = Annotated[Path, typer.Option(help="Where the runs are.")]
RUNS = Path("runs")


def runs(
    pattern: Annotated[str, typer.Argument(help="Shell pattern, such as '*simclr*'.")] = "*",
    runs_dir: RunsDir = RUNS,
) -> None:
    """List the runs: state, method, data, epochs, kNN, linear probe, date, size."""
    import fnmatch

    from solo_registry.runs.listing import list_runs

    table = list_runs(runs_dir)
    table = table[[fnmatch.fnmatch(name, pattern) for name in table["run"]]]
    if not len(table):
        say(f"no runs under {runs_dir}" + ("" if pattern == "*" else f" match '{pattern}'"))
        return
    print_table(table, f"{len(table)} runs under {runs_dir}")


def show(run: RunName, runs_dir: RunsDir = RUNS) -> None:
    """Print the result of a run, and what its files are."""
    from solo_registry.console import terminal
    from solo_registry.evaluation.publish import show as show_result
    from solo_registry.runs.find import find_run
    from solo_registry.runs.records import read_record
    from solo_registry.runs.run_folder import RunFolder

    folder = RunFolder(find_run(run, runs_dir))
    record = read_record(folder.path)
    if record.status == "finished":
        show_result(record.result, folder, terminal())
    else:
        say(f"{folder.path}: {record.status}. {record.problem}")
    # a killed process leaves locks and parts of writes, which begin with a dot
    files = sorted(path.relative_to(folder.path) for path in folder.path.rglob("[!.]*.*"))
    say("files: " + ", ".join(str(path) for path in files))


def compare(a: RunName, b: RunName, runs_dir: RunsDir = RUNS) -> None:
    """Compare two runs: settings that differ, numbers, and a paired test where seeds match.

    The test takes all seeds that both configs have. It needs two.
    """
    import pandas as pd

    from solo_registry.errors import UserError
    from solo_registry.leaderboard.statistics import compare as test
    from solo_registry.runs.find import find_run
    from solo_registry.runs.listing import differences
    from solo_registry.runs.records import read_record

    paths = [find_run(name, runs_dir) for name in (a, b)]
    records = [read_record(path) for path in paths]
    for record in records:
        if record.status != "finished":
            raise UserError(f"{record.path} is {record.status}: {record.problem}")
    say(f"A: {paths[0]}\nB: {paths[1]}")
    changed = differences(*paths)
    print_table(changed.rename_axis("key").reset_index(), "settings that differ")
    metrics = {"kNN (%)": "knn_acc1", "linear probe (%)": "linear_acc1", "uniformity": "uniformity"}
    rows = []
    for heading, metric in metrics.items():
        one, two = (record.value(metric) for record in records)
        change = None if one is None or two is None else two - one
        rows.append((heading, one, two, change))
    print_table(pd.DataFrame(rows, columns=["measure", "A", "B", "B - A"]), "results")
    seeds = []
    for path in paths:
        siblings = [read_record(each.parent) for each in path.parent.glob("*/result.json")]
        values = {each.seed: each.value("knn_acc1") for each in siblings}
        seeds.append({seed: value for seed, value in values.items() if value is not None})
    if len(seeds[0].keys() & seeds[1].keys()) > 1:
        say(f"kNN, paired by seed, B against A: {test(seeds[1], seeds[0])}")
    else:
        say("one seed in common: run more seeds to know whether the difference is noise")


def remove(
    run: RunName,
    runs_dir: RunsDir = RUNS,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a run with everything in its folder; asks first.

    A run that another process is training or measuring is not removed.
    """
    import shutil

    from solo_registry.console import terminal
    from solo_registry.errors import UserError
    from solo_registry.runs.find import find_run
    from solo_registry.runs.lock import held

    path = find_run(run, runs_dir)
    if is_file(path):
        raise UserError(f"{path} is a file inside a run: name the run folder")
    if not yes:
        typer.confirm(f"Remove {path} and everything in it?", abort=True)
    with held(path, terminal(), patience=0):
        shutil.rmtree(path)
    for parent in (path.parent, path.parent.parent):
        if not any(parent.iterdir()):
            parent.rmdir()
    say(f"removed {path}")


COMMANDS: dict[str, Callable[..., None]] = {
    "runs": runs,
    "show": show,
    "compare": compare,
    "rm": remove,
}
