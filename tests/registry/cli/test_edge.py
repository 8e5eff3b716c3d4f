"""The edge of the command: what a person or the machine did wrong is one paragraph."""

from __future__ import annotations

import errno
import io
import sys
from pathlib import Path

import pytest
from rich.table import Table

from solo_registry.cli import main as cli
from solo_registry.console import plain, terminal
from solo_registry.errors import UserError, told

BY_LIGHTNING = RuntimeError("DataLoader worker (pid(s) 71) exited unexpectedly")
PROBLEMS = {
    "no space": (OSError(errno.ENOSPC, "No space left on device", "runs/x"), "'runs/x'. Free some"),
    "read-only": (OSError(errno.EROFS, "Read-only file system", "a"), "Read-only file system: 'a'"),
    "permission": (PermissionError(errno.EACCES, "Permission denied", "a"), "denied: 'a'"),
    "memory": (MemoryError(), "memory is full"),
    "loader": (BY_LIGHTNING, "data.num_workers"),
    "checkpoint": (
        RuntimeError("PytorchStreamWriter failed: file write failed"),
        "Free some space",
    ),
    "weights": (RuntimeError("Error: No space left on device (os error 28)"), "Free some space"),
    "user": (UserError("no such method"), "no such method"),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_problem_of_the_machine_is_one_paragraph(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error, message = PROBLEMS[kind]
    outer = RuntimeError("a library's own words")
    outer.__cause__ = error

    def fails(*_: object, **__: object) -> None:
        raise outer

    monkeypatch.setattr("solo_registry.catalog.listing.show", fails)
    monkeypatch.setattr(sys, "argv", ["dyntemp", "datasets"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.startswith("error: ") and message in err
    assert "Traceback" not in err
    monkeypatch.setenv("DYNTEMP_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="own words"):
        cli.main()


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), BrokenPipeError(32, "pipe")])
def test_what_is_for_a_developer_keeps_its_trace(error: Exception) -> None:
    assert told(error) is None


@pytest.mark.parametrize("text", ["[/x]", "a[red]b", "[1/2] [link=x]y", ":smile:", "[", "]", "[[]"])
def test_every_text_is_printed_as_written(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal().print(f"run folder {text}", soft_wrap=True)
    table = Table(text, title=text)
    table.add_row(text)
    terminal().print(table)
    assert capsys.readouterr().out.count(text) == 4
    told_to = io.StringIO()
    plain(file=told_to, width=80).print(text)
    assert told_to.getvalue() == f"{text}\n"


@pytest.mark.slow
def test_a_run_in_a_folder_with_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "[/b] [red]" / ":x:"
    words = [f"runs_dir='{runs}'", "max_epochs=1", "backbone.kwargs.channels=[4,4,8,8]",
             "data.fraction=0.1", "optimizer.batch_size=64", "telemetry.every_n_epochs=0",
             "data.num_workers=0", "evaluation.enabled=false", "progress=lines"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["dyntemp", "pretrain", *words])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    out = capsys.readouterr().out
    assert f"run folder {runs}/" in out and list(runs.glob("*/*/*/checkpoints/last.ckpt"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_name_that_stdout_cannot_encode_is_escaped(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "\u732b\udce4"  # a character that Latin-1 lacks, and a byte that UTF-8 lacks
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "argv", ["dyntemp", "runs", "--runs-dir", str(tmp_path / name)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    stdout.flush()
    assert not ended.value.code
    assert name.encode(encoding, "backslashreplace") in stdout.buffer.getvalue()
