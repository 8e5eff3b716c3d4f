from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from solo_registry.catalog.kwargs import declared_kwargs
from solo_registry.catalog.registry import METHODS
from solo_registry.config.compose import help_of, register_configs
from solo_registry.config.keys import all_keys
from solo_registry.config.pages import config_page, matching_keys
from solo_registry.config.schema import PretrainConfig
from solo_registry.errors import UserError

PAGE = Path(__file__).parents[3] / "docs" / "config.md"


def help_lines(*words: str) -> dict[str, str]:
    """The help's lines about keys, by what can be typed."""
    register_configs()
    lines = [line.strip() for line in help_of(words).splitlines() if line.startswith("  ")]
    return {line.split("  ")[0]: line for line in lines}


def test_the_page_in_docs_is_fresh() -> None:
    fresh = config_page()
    assert PAGE.read_text(encoding="utf-8") == fresh, "dyntemp config --markdown > docs/config.md"
    for item in all_keys(PretrainConfig):
        if item.section is None:
            assert f"| `{item.name}` | " in fresh and item.help in fresh


def test_help_shows_every_key_with_the_value_of_the_words() -> None:
    lines = help_lines("data=cifar10", "optimizer.lr=0.7", "-m", "seed=1,2", "--cfg", "job")
    assert lines["optimizer.lr=0.7"].endswith(
        "of an optimizer step; null suits the optimizer. [number or null, 0 or more]"
    )
    assert "data.dataset=cifar10" in lines and "seed=5" in lines
    shown = {line.partition("=")[0].replace("augmentations.0.", "augmentations.") for line in lines}
    assert {item.name for item in all_keys(PretrainConfig) if item.section is None} <= shown


@pytest.mark.parametrize("words", [("method=byol",), ("recipe=cifar/byol",)])
def test_help_shows_the_keys_of_a_method_that_is_named(words: tuple[str, ...]) -> None:
    declared = declared_kwargs(METHODS.get("byol"))
    lines = help_lines(*words)
    for key, kwarg in declared.items():
        (line,) = (line for line in lines if line.startswith(f"method_kwargs.{key}="))
        assert kwarg.help in lines[line] and kwarg.allowed in lines[line]
    set_by_hand = help_lines(*words, "method_kwargs.proj_hidden_dim=13")
    assert "method_kwargs.proj_hidden_dim=13" in set_by_hand


def test_help_begins_with_the_ten_keys_that_are_set_most_and_names_each_once() -> None:
    register_configs()
    text = help_of(["data=cifar10", "seed=7"])
    most = text.partition("== Most used")[2].partition("\n== ")[0]
    keys = [line.strip().partition("=")[0] for line in most.splitlines()[1:] if line.strip()]
    assert len(keys) == 10 and {"method", "data", "seed", "optimizer.lr"} <= set(keys)
    assert "data=cifar10 " in most and "seed=7 " in most
    typed = [line.strip().partition("=")[0] for line in text.splitlines() if line[:2] == "  "]
    typed = [key for key in typed if not key.startswith("dyntemp ")]
    assert len(typed) == len(set(typed))


def test_a_wrong_word_before_help_is_told() -> None:
    with pytest.raises(UserError, match=r"unknown method 'byoll'\. Did you mean 'byol'"):
        help_lines("method=byoll")


def test_help_imports_no_torch_and_writes_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, solo_registry.cli.main as cli; sys.argv = ['dyntemp', 'pretrain', '--help']\n"
        "cli.app(standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.endswith("\nFalse\n") and "optimizer.lr=" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_pattern_chooses_keys() -> None:
    assert {item.name for item in matching_keys("momentum.*")} == {
        "momentum.base_tau", "momentum.final_tau", "momentum.classifier",
    }  # fmt: skip
    with pytest.raises(UserError, match=r"no config key matches 'momentum.tau'. Did you mean 'mo"):
        matching_keys("momentum.tau")
