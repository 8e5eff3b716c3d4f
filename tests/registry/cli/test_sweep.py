from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from solo_registry.cli import sweep as command
from solo_registry.cli.main import main
from solo_registry.errors import UserError
from solo_registry.sweep import run


@pytest.mark.distributed
def test_help_names_the_words_without_importing_optuna() -> None:
    program = (
        "import sys, solo_registry.cli.main as cli; sys.argv = ['dyntemp', 'sweep', '--help']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'hydra', 'optuna', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stderr
    for text in ("space=NAME", "trials=N", "retry=true", "type it again to resume"):
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


def test_ctrl_c_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typer would exit with 130 and without a word."""

    def stopped(words: list[str], console: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_sweep", stopped)
    monkeypatch.setattr(sys, "argv", ["dyntemp", "sweep", "space=cosine"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert "Stopped. The same command goes on" in capsys.readouterr().err
