"""Reads the files that runs have written: a changed byte is noticed, and the error names the file.

resolved.yaml and config.yaml end in a checksum; data.json and the files in evaluations/ have it as
a key. result.json must stay the same byte for byte, so its checksum is in result.sha256, with that
of metrics.csv. Parquet files have a checksum for each page, checkpoints for each member of the zip
archive that they are. Files of older versions, without any, are read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_registry.config.text_file import leaves, open_file, plain_yaml
from solo_registry.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MARK = "# The last line is a checksum: a line that is changed by hand is noticed.\n"
SEAL = "# sha256 of the lines above: "


def checksum(text: str) -> str:
    """Return the SHA-256 of a text, as 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def json_text(content: Any) -> str:
    """Format `content` as all our JSON files are; equal content gives equal bytes."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def csv_text(table: pd.DataFrame) -> str:
    """Format a table as our CSV files are: without its index, and with equal bytes everywhere."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def signed(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a JSON file with its checksum, which `read_signed` compares."""
    return content | {"sha256": checksum(json_text(content))}


def sealed(text: str) -> str:
    """Return a YAML text between a comment that promises a checksum and the checksum."""
    return f"{MARK}{text}{SEAL}{checksum(MARK + text)}\n"


def read_text(path: Path) -> str:
    """Return the content of a text file.

    Raises:
        UserError: it cannot be read, or is no UTF-8.
    """
    try:
        with open_file(path) as file:
            return file.read().decode()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: {error}") from error


def read_signed(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; where it has a checksum, it must fit.

    Raises:
        UserError: it cannot be read, has been changed since it was written, or is no JSON object.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object")
    bare = {key: value for key, value in content.items() if key != "sha256"}
    if "sha256" in content and content != signed(bare):
        raise UserError(f"{path} is damaged: its content is not what was written")
    return content


def read_yaml(path: Path) -> DictConfig:
    """Return the config in a YAML file, which can run no resolver (`plain_yaml`).

    Raises:
        UserError: it cannot be read, has been changed since it was written, or is no config.
    """
    plain = _plain(path)
    try:
        return OmegaConf.create(plain)
    except OmegaConfBaseException as error:
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def read_settings(path: Path) -> dict[str, Any]:
    """Return the same config as dicts and lists, with the value of each `${...}`.

    It takes a sixth of the time of `read_yaml`, which counts where hundreds of runs are read.

    Raises:
        UserError: as `read_yaml`.
        OmegaConfBaseException: a `${...}` leads nowhere.
    """
    plain = _plain(path)
    if any(isinstance(value, str) and "${" in value for _, value in leaves(plain)):
        return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(plain), resolve=True))
    return plain


def _plain(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds; where it has a checksum, it must fit."""
    text = read_text(path)
    body, seal, found = text.rpartition(SEAL)
    if found != f"{checksum(body)}\n" if seal else text.startswith(MARK):
        raise UserError(f"{path} is damaged: its lines are not those that were written")
    try:
        plain = plain_yaml(text, path.name)
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if not isinstance(plain, dict):
        raise UserError(f"{path} is damaged: it holds no config")
    return plain
