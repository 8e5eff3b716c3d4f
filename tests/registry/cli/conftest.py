from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from solo_registry.cli.main import main

Dyntemp = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dyntemp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Dyntemp:
    """Return a function that runs the command here, in an empty folder: exit code, out, err."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dyntemp", *words])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
