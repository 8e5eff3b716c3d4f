"""Files that a user names: YAML as OmegaConf reads it, and a paragraph for whatever is none."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from solo_registry.config.text_file import plain_yaml, read_text, read_yaml
from solo_registry.errors import UserError

CONFIGS = Path(__file__).parents[3] / "configs"
# whatever the versions of YAML, and OmegaConf, read in different ways
SCALARS = (
    "1e-3", "1e3", "-1E+2", "1.5e2", ".5", "5.", "+.5e-1", "1_000", "1_0.5", "0x1f", "0o17",
    "017", "0b11", "1:30", "1:30.5", ".inf", "-.Inf", ".NaN", "nan", "inf", "~", "null", "Null",
    "yes", "No", "on", "OFF", "true", "TRUE", "y", "n", "2020-01-01", "12:30:45", "1.2.3", "1e",
    "'e3'", "+1", "-0", "0.0", "007", "08",
)  # fmt: skip


def oracle(text: str) -> Any:
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_is_what_omegaconf_reads(scalar: str) -> None:
    text = f"{{key: {scalar}, list: [{scalar}, '{scalar.strip(chr(39))}']}}"
    assert repr(plain_yaml(text, "a.yaml")) == repr(oracle(text))


def outcome(read: Callable[[str], Any], text: str) -> str:
    try:
        return repr(read(text))
    except (UserError, yaml.YAMLError, ValueError):
        return "refused"


def test_numbers_as_people_write_them_are_what_omegaconf_reads() -> None:
    dice, refused = random.Random(3), 0
    for _ in range(3000):
        text = f"key: {''.join(dice.choices('0123456789.e+-_:', k=dice.randint(1, 7)))}\n"
        expected = outcome(oracle, text)
        assert outcome(lambda text: plain_yaml(text, "a.yaml"), text) == expected, text
        refused += expected == "refused"
    assert 20 < refused < 300


def test_each_config_of_ours_is_what_omegaconf_reads() -> None:
    files = sorted(CONFIGS.rglob("*.yaml"))
    assert len(files) > 50
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert plain_yaml(text, path.name) == oracle(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "found duplicate key a"),
        ("learning rate", "it holds 'learning rate', not keys with values"),
        ("5", "it holds '5', not keys with values"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: ${oc.env:HOME}", "In a file"),
        ("a: !!bool maybe", "is no YAML of a config, or damaged: 'maybe'"),
        ("a: !!timestamp today", "is no YAML of a config, or damaged"),
        ("a: !!python/object/apply:pathlib.Path [1]", "is no YAML of a config, or damaged"),
        ("--- {a: 1}\n--- {a: 2}", "expected a single document"),
    ],
)
def test_what_is_no_config_is_refused(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        plain_yaml(text, "a.yaml")


def test_a_value_that_no_config_holds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: !!set {b, c}")
    with pytest.raises(UserError, match=r"a\.yaml is no YAML of a config.*'set' is not"):
        read_yaml(tmp_path / "a.yaml", "suite")


@pytest.mark.parametrize("text", ["", "# nothing\n", "null", "---\n"])
def test_an_empty_file_holds_no_keys(text: str) -> None:
    assert plain_yaml(text, "a.yaml") == {} == oracle(text)


def test_what_is_no_text_or_yaml_or_json_is_a_paragraph(tmp_path: Path) -> None:
    """Each reader; a folder, a pipe, bytes, depth and an alias that would fill the memory."""
    pipe, bomb = tmp_path / "pipe", tmp_path / "bomb"
    os.mkfifo(pipe)
    aliases = "\n".join(f"a{i}: &a{i} [{', '.join(['*a' + str(i - 1)] * 9)}]" for i in range(1, 12))
    bomb.write_text(f"a0: &a0 x\n{aliases}\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep").write_text("[" * 5000)
    (tmp_path / "self").write_text("a: &a [*a]")
    for reader in (read_text, read_yaml):
        for path in (tmp_path, pipe, tmp_path / "none", tmp_path / "bytes", "a\0b", "~nobody/x"):
            with pytest.raises(UserError):
                reader(path, "key")
    for name in ("deep", "self", "bomb"):
        with pytest.raises(UserError):
            read_yaml(tmp_path / name, "key")
