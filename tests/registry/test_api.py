from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

import dyntemp
from solo_registry import api
from solo_registry.config.compose import compose_config
from solo_registry.console import plain
from solo_registry.errors import UserError

TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(TEXT)
def test_any_text_reaches_the_config_unchanged(text: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([api._word("name", text)])
    assert override.value() == text


@pytest.mark.parametrize("value", [None, True, 3, 0.1, 1e-5, [1, 2], ["a b", "c"], {"a": 1}])
def test_any_value_reaches_the_config_unchanged(value: object) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([api._word("key", value)])
    assert override.value() == value


def test_settings_are_those_of_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    composed: list[DictConfig] = []

    def train(cfg: DictConfig) -> object:
        composed.append(cfg)
        return type("Folder", (), {"path": tmp_path})

    monkeypatch.setattr("solo_registry.jobs.pretrain.pretrain", train)
    photos = tmp_path / "my photos = new"
    photos.mkdir()
    dyntemp.pretrain(
        "method=simclr_dyntemp", {"method_kwargs.tau_max": 0.4}, data=photos, max_epochs=3
    )
    words = ["method=simclr_dyntemp", "method_kwargs.tau_max=0.4", "max_epochs=3", "data=custom"]
    expected = compose_config([*words, f"data.train_path='{photos}'"])
    assert composed == [expected]
    with pytest.raises(UserError, match="max_epoch"):
        dyntemp.pretrain(max_epoch=3)


def test_version() -> None:
    from importlib.metadata import version

    assert dyntemp.__version__ == version("solo-dyntemp")


@pytest.mark.parametrize("notebook", [False, True])
def test_a_notebook_is_no_terminal(monkeypatch: pytest.MonkeyPatch, notebook: bool) -> None:
    """The kernel's stdout says that it is one; what redraws itself would fill the page."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    console = plain(file=Terminal())
    assert console.is_terminal is not notebook and not console.is_jupyter
