from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from solo_registry.errors import UserError
from solo_registry.sweep import command


def test_help_names_the_words_without_importing_optuna() -> None:
    program = (
        "import sys, solo_registry.cli as cli; sys.argv = ['dyntemp', 'sweep', '--help']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'hydra', 'optuna', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stderr
    for text in ("space=NAME", "trials=N", "retry=true", "the same command goes on"):
        assert text in done.stdout


def test_without_optuna_the_pip_line_comes_before_anything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(command, "version", absent)
    with pytest.raises(UserError, match=r"pip install 'solo-dyntemp\[sweep\]'"):
        command.sweep(None)  # type: ignore[arg-type]
    monkeypatch.setattr(command, "version", lambda name: "2.10.1")
    with pytest.raises(UserError, match=r"needs Optuna 5 or newer, found 2\.10\.1: pip"):
        command.sweep(None)  # type: ignore[arg-type]
