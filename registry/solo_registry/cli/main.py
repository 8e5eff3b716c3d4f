"""The `dyntemp` command. Heavy imports are inside the commands, so that --help is quick."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from solo_registry.cli.evaluation import COMMANDS as EVALUATION
from solo_registry.cli.inference import COMMANDS as INFERENCE
from solo_registry.cli.leaderboard import OVERRIDES
from solo_registry.cli.leaderboard import app as leaderboard
from solo_registry.cli.runs import COMMANDS as RUNS
from solo_registry.cli.sweep import sweep
from solo_registry.console import plain_warnings, print_all_names, quiet_libraries
from solo_registry.errors import told
from solo_registry.paths import is_dir
from solo_registry.processes import SIGNALS
from solo_registry.runs.lifetime import STOPPED, end_with_parent, stop

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from solo_registry.catalog.registry import Entry


class Stoppable(typer.core.TyperGroup):
    """The commands. After Ctrl-C or one of `SIGNALS` they print how to resume."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # Typer would end without a message
            print("\nStopped. The same command goes on from what is saved.", file=sys.stderr)
            raise SystemExit(STOPPED) from None


app = typer.Typer(
    cls=Stoppable,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Pretrain with a similarity-dependent temperature, and find out whether it helps.",
)
app.add_typer(leaderboard, name="leaderboard")


def print_version(asked: bool) -> None:
    """Print the version of the package and end."""
    if asked:
        print(f"solo-dyntemp {version('solo-dyntemp')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


# --help is passed on; the program behind knows more
PASS_ON = {**OVERRIDES, "help_option_names": []}
Pattern = Annotated[str, typer.Argument(help="Shell pattern, such as 'sim*'.")]


@app.command(context_settings=PASS_ON, options_metavar="[KEY=VALUE]...")
def pretrain(ctx: typer.Context) -> None:
    """Train a backbone: dyntemp pretrain method=simclr_dyntemp data=digits seed=3.

    Every config key can be set. --help lists them, --cfg job shows the config without running,
    --multirun runs every combination of comma-separated values.
    """
    from solo_registry.config.compose import run_with_config

    here = os.getpid()

    def train(cfg: DictConfig) -> tuple[str, str]:
        from hydra.core.hydra_config import HydraConfig

        from solo_registry.jobs.gpus import take_gpus
        from solo_registry.jobs.pretrain import pretrain as run

        if os.getpid() != here:  # a launcher's process, one of several
            take_gpus(cfg)
        words = " ".join(HydraConfig.get().overrides.task)
        return str(run(cfg).path), words

    def finish(done: list[tuple[str, str]]) -> None:
        if len(done) > 1:
            from solo_registry.console import terminal
            from solo_registry.jobs.table import runs_table

            terminal().print(runs_table({Path(path): words for path, words in done}))

    run_with_config(train, ctx.args, finish)


for use in (*EVALUATION, *INFERENCE):
    takes_overrides = use.__name__ == "evaluate"
    app.command(context_settings=OVERRIDES if takes_overrides else None)(use)
for name, past in RUNS.items():
    app.command(name)(past)
app.command(context_settings=OVERRIDES, options_metavar="[KEY=VALUE]...")(sweep)


@app.command(context_settings=OVERRIDES, options_metavar="[OPTIONS] [KEY=VALUE]...")
def verify_ddp(
    ctx: typer.Context,
    processes: Annotated[int, typer.Option(help="How many processes share the batch.")] = 2,
    images: Annotated[int, typer.Option(help="Images per process.")] = 8,
) -> None:
    """Check that several processes get the gradient of one: dyntemp verify-ddp method=dcl_dyntemp.

    Takes the arguments of pretrain; needs no data and no GPU. Exits with 1 if the gradients differ.
    """
    from solo_registry.config.compose import run_with_config

    def check(cfg: DictConfig) -> None:
        from solo_registry.catalog.registry import METHODS
        from solo_registry.verify_ddp import verify_ddp as verify

        found = verify(cfg, processes=processes, images=images)
        relative = found.error / found.scale
        print(
            f"{cfg.method}: {processes} processes against one: largest gradient difference "
            f"{found.error:.1e} ({relative:.1e} of the largest gradient, in {found.worst}), "
            f"loss difference {found.loss_error:.1e}"
        )
        if reason := getattr(METHODS.get(cfg.method), "PER_PROCESS", ""):
            print(f"'{cfg.method}' promises no other: {reason}")
        if relative > 1e-6:
            raise SystemExit(1)

    run_with_config(check, ctx.args)


@app.command(context_settings=OVERRIDES, options_metavar="[OPTIONS] [KEY=VALUE]...")
def plan(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(min=0, help="How long training is tried.")] = 30.0,
) -> None:
    """Say what a run will cost: dyntemp plan method=simclr_dyntemp data=imagenet devices=4.

    Takes the arguments of pretrain: steps, images, memory of the loss, and the time to train, from
    some seconds on one device. Writes nothing.
    """
    from solo_registry.config.compose import run_with_config

    def say(cfg: DictConfig) -> None:
        from solo_registry.jobs.plan import plan as lines

        for line in lines(cfg, seconds):
            typer.echo(line)

    run_with_config(say, ctx.args)


@app.command(context_settings=OVERRIDES, options_metavar="[OPTIONS] [KEY=VALUE]...")
def views(
    ctx: typer.Context,
    images: Annotated[int, typer.Option(min=1, help="How many images.")] = 6,
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("views.png"),
) -> None:
    """Draw images and their augmented views: dyntemp views data=custom data.train_path=photos.

    Takes the arguments of pretrain. A row is an image: the original first, then each view.
    """
    from solo_registry.config.compose import run_with_config

    def show(cfg: DictConfig) -> None:
        from solo_registry.data.preview import data_for_preview, draw_views

        typer.echo(draw_views(data_for_preview(cfg, out), out, images=images))

    run_with_config(show, ctx.args)


@app.command()
def pack_data(
    folder: Annotated[Path, typer.Argument(help="A folder per class, each with its images.")],
    out: Annotated[Path, typer.Argument(help="The new folder.")],
    val: Annotated[Path | None, typer.Option(help="The folder of the test images.")] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Folders are no classes.")] = False,
    shard_mb: Annotated[int, typer.Option(min=1, help="Megabytes of images in a shard.")] = 256,
) -> None:
    """Write folders of images as shards, which open in seconds: dyntemp pack-data photos packed.

    A folder that holds train and val gives both. Train by `dyntemp pretrain data=packed`.
    """
    from solo_registry.config.own_data import splits_of
    from solo_registry.console import terminal
    from solo_registry.export.pack_data import pack_data as pack

    if val is None and is_dir(folder) and (splits := splits_of(folder)):
        root, folder = folder, folder / splits["train"]
        val = root / splits["val"] if "val" in splits else None
    counts = pack(folder, out, val=val, labels=not no_labels, shard_mb=shard_mb, console=terminal())
    typer.echo(f"{out}: {', '.join(f'{n} images of {split}' for split, n in counts.items())}")


@app.command()
def methods(
    pattern: Pattern = "*",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/methods.md.")] = False,
) -> None:
    """List the methods: family, paper, and what in them comes from lightly or solo-learn."""
    from solo_registry.catalog.listing import method_page, show
    from solo_registry.catalog.registry import METHODS

    print(method_page(pattern), end="") if markdown else show(METHODS, pattern)


@app.command()
def config(
    pattern: Annotated[str, typer.Argument(help="Shell pattern, such as 'optimizer.*'.")] = "*",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/config.md.")] = False,
) -> None:
    """List the config keys: default, allowed values, meaning."""
    from solo_registry.config.pages import config_page, show_keys

    print(config_page(), end="") if markdown else show_keys(pattern)


@app.command()
def losses(pattern: Pattern = "*") -> None:
    """List the losses."""
    from solo_registry.catalog.listing import show
    from solo_registry.catalog.registry import LOSSES

    show(LOSSES, pattern)


@app.command()
def temperatures(pattern: Pattern = "*") -> None:
    """List the temperature functions."""
    from solo_registry.catalog.listing import show
    from solo_registry.catalog.registry import TEMPERATURES

    show(TEMPERATURES, pattern)


@app.command()
def backbones(pattern: Pattern = "*") -> None:
    """List the short names of backbones; any timm model goes as timm/NAME."""
    from solo_registry.catalog.listing import show
    from solo_registry.catalog.registry import BACKBONES

    show(BACKBONES, pattern)


@app.command()
def datasets(pattern: Pattern = "*") -> None:
    """List the data sets."""
    from solo_registry.catalog.listing import show
    from solo_registry.catalog.registry import DATASETS

    show(DATASETS, pattern)


@functools.cache
def add_plugin_commands() -> None:
    """Add the plugins' commands; their code is imported when a command is run."""
    from solo_registry.catalog.plugins import load_plugins
    from solo_registry.catalog.registry import COMMANDS

    def command(entry: Entry) -> Callable[[typer.Context], None]:
        return lambda ctx: entry.load()(ctx.args)

    load_plugins()
    for entry in COMMANDS.entries():
        function = command(entry)
        function.__annotations__ = {"ctx": typer.Context, "return": None}
        app.command(
            entry.name, help=entry.summary, context_settings=PASS_ON, options_metavar="[ARGS]..."
        )(function)


def main() -> None:
    """Run the command; a mistake or a full disk ends in one paragraph and exit code 2."""
    print_all_names()
    further = end_with_parent()  # a further device's process, which rank 0 ends
    for number in (signal.SIGINT, *SIGNALS):
        signal.signal(number, signal.SIG_IGN if further else stop)
    try:
        with plain_warnings():
            quiet_libraries()
            add_plugin_commands()
            app()
    except Exception as error:
        if (problem := told(error)) is None or os.environ.get("DYNTEMP_TRACEBACK"):
            raise
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
