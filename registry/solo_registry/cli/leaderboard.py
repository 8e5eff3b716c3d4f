"""`dyntemp leaderboard`: run, report, pack, prune, merge, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compare strategies over seeds: run a suite, report its table.",
)


OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}  # KEY=VALUE, for the config


@app.command(context_settings=OVERRIDES, options_metavar="[KEY=VALUE]...")
def run(ctx: typer.Context) -> None:
    """Run a suite: dyntemp leaderboard run suite=temperature data=fashion_mnist seeds=5.

    Arguments of its own: suite=NAME, seeds=N or seeds=[3,7], strategies=a,b (a part of the suite),
    board=DIR, runs_dir=DIR, suite.KEY=VALUE (suite.metric, suite.tuning.seeds, ...), and
    hydra/launcher=basic|joblib|submitit_local|submitit_slurm|ray with hydra.launcher.KEY=VALUE.
    All others are those of pretrain and hold for every run. If the command was killed or stopped,
    type it again to resume.
    """
    from solo_registry.console import terminal
    from solo_registry.leaderboard.report import write_report
    from solo_registry.leaderboard.run import run_board

    console = terminal()
    board = run_board(ctx.args, console)
    write_report(board.path, console)


@app.command()
def report(
    path: Annotated[
        Path, typer.Argument(help="A board (boards/...), its archive, or a folder of runs.")
    ],
    out: Annotated[Path | None, typer.Option(help="Where; PATH/report if not given.")] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Row to test the others against; for a folder of runs: its hash."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Number to test: knn_acc1 or linear_acc1.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a row lacks a seed, protocol or hash.")
    ] = False,
) -> None:
    """Write Markdown, CSV, HTML and pictures from result files alone."""
    from solo_registry.console import terminal
    from solo_registry.leaderboard.report import write_report

    lacking = write_report(path, terminal(), out=out, against=against, metric=metric)
    if check and lacking:
        for line in lacking:
            typer.echo(f"check: {line}", err=True)
        raise SystemExit(1)


@app.command()
def pack(
    path: Annotated[Path, typer.Argument(help="A board (boards/...).")],
    out: Annotated[Path | None, typer.Option(help="PATH.tar.xz if not given.")] = None,
) -> None:
    """Pack a board and the numbers of its runs into one small file, to publish.

    `dyntemp leaderboard report FILE` makes the table and the pictures from this file, anywhere.
    """
    from solo_registry.leaderboard import archive

    typer.echo(archive.pack(path, out))


@app.command()
def prune(path: Annotated[Path, typer.Argument(help="A board (boards/...).")]) -> None:
    """Free disk space: remove the checkpoints of a board's finished tuning runs.

    Numbers, pictures and the weights of final runs stay; the board goes on and reports as before.
    """
    from solo_registry.console import terminal
    from solo_registry.leaderboard import prune as pruning

    typer.echo(pruning.prune(path, terminal()))


@app.command()
def merge(
    paths: Annotated[list[Path], typer.Argument(help="Boards or their archives, the main first.")],
    out: Annotated[Path, typer.Option(help="The new board.")] = Path("boards/merged"),
) -> None:
    """Put the rows of several boards into one, another person's packed rows among them.

    The first board gives the suite and the reference. The others must have been run with the same
    settings, images, seeds and budget, and so share runs of the reference.
    """
    from solo_registry.leaderboard import intake

    for line in intake.merge(paths, out):
        typer.echo(line)
    typer.echo(out)


@app.command(context_settings=OVERRIDES)
def check(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A board, or its archive.")],
    strategy: Annotated[str | None, typer.Option(help="Whose runs are made again.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of which seed.")] = None,
    within: Annotated[
        float | None, typer.Option(min=0, help="Points by which they may differ; else as seeds do.")
    ] = None,
    runs: Annotated[int, typer.Option(min=0, help="How many runs are made again.")] = 1,
    rerun: Annotated[bool, typer.Option(help="Make runs again and compare them.")] = True,
) -> None:
    """Check a board: files, hashes, selection; and make some of its runs again.

    Arguments KEY=VALUE that change no number can follow, such as data.train_path=DIR. Exits with 1
    if there is a fault.
    """
    from solo_registry.console import terminal
    from solo_registry.leaderboard.verify import check_board

    problems = check_board(path, terminal(), strategy=strategy, seed=seed, within=within,
                           runs=runs if rerun else 0, overrides=ctx.args)  # fmt: skip
    for line in problems:
        typer.echo(f"check: {line}", err=True)
    if problems:
        raise SystemExit(1)


@app.command()
def calibrate(
    target: Annotated[str, typer.Argument(help="A board, its archive, or suite=NAME.")],
    noise: Annotated[
        Path | None, typer.Option(help="Board whose noise a suite gets.", metavar="BOARD")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="Final seeds; else 5.")] = None,
    spread: Annotated[
        float | None, typer.Option(min=0.0, help="Deviation of a final run, in points.")
    ] = None,
    tuning_spread: Annotated[
        float | None, typer.Option(min=0.0, help="Deviation of a tuning run, in points.")
    ] = None,
    tunings: Annotated[
        int | None, typer.Option(min=2, help="Independent tunings of each strategy to simulate.")
    ] = None,
    boards: Annotated[int, typer.Option(min=100, help="Simulated boards.")] = 1000,
) -> None:
    """Simulate boards without any difference: how often is a verdict false, an interval wrong?

    Selection by tuning is included: dyntemp leaderboard calibrate boards/temperature-digits.
    """
    from solo_registry.cli.output import print_table
    from solo_registry.leaderboard.calibration import calibrate as simulated

    facts, rates = simulated(
        target, noise=noise, seeds=seeds, spread=spread, tuning_spread=tuning_spread,
        tunings=tunings, boards=boards,
    )  # fmt: skip
    for fact in facts:
        typer.echo(fact)
    print_table(rates.set_index("tuning").map("{:.1%}".format).reset_index(), "shares")


@app.command()
def summary(
    paths: Annotated[list[Path], typer.Argument(help="Boards or archives, one for a data set.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("summary"),
    metric: Annotated[str | None, typer.Option(help="Number that is compared.")] = None,
) -> None:
    """Average ranks and probability of improvement over several boards, as CSV, LaTeX, picture."""
    from solo_registry.cli.output import print_table
    from solo_registry.leaderboard.summary import summarise_boards

    facts, table = summarise_boards(paths, out, metric)
    print_table(table, "several boards")
    for line in (*facts, f"files: {out}"):
        typer.echo(line)
