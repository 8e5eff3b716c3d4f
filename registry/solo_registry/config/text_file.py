"""Reading what a user names as a file: never a pipe or a device, which could wait for ever."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from solo_registry.errors import UserError

# OmegaConf's rules (a private name of 2.2 and 2.3; hydra-core 1.3 takes no others), by libyaml
# where PyYAML has it: five times as fast
_QUICK: Any = (yaml.CSafeLoader,) if yaml.__with_libyaml__ else ()
_LOADER: Any = type("ConfigLoader", (*_QUICK, get_yaml_loader()), {})
MOST_NODES = 100_000  # of a YAML file, with every alias written out
# places that a batch system sets; no other variable is read for a file, as it could be a secret
PLACES = (
    "HOME", "SCRATCH", "SLURM_JOB_ID", "SLURM_SUBMIT_DIR", "SLURM_TMPDIR", "TMPDIR", "USER", "WORK",
)  # fmt: skip
KEY = re.compile(r"\$\{\s*[\w.\[\]-]+\s*\}")
PLACE = re.compile(rf"\$\{{\s*oc\.env\s*:\s*({'|'.join(PLACES)})\s*(,[^${{}}]*)?\}}")


def open_file(path: Path) -> BinaryIO:
    """Open a file to read its bytes; a pipe or a device is refused, as reading it may never end.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is no file but a folder, a pipe or a device")
    return path.open("rb")


def file_digest(path: str | Path, key: str) -> str:
    """Return the SHA-256 of a file's bytes, 16 hex digits.

    Args:
        path: the file.
        key: what named it, for the message.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open_file(Path(path).expanduser()) as file:
            digest = hashlib.sha256()  # Python 3.10 has no hashlib.file_digest
            while part := file.read(2**20):
                digest.update(part)
            return digest.hexdigest()[:16]
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"cannot open {key}={path}: {error}") from error


def read_text(path: str | Path, key: str) -> str:
    """Return a text file's content without the byte-order mark that Windows puts before it.

    Args:
        path: the file.
        key: what named it, for the message: a key of the config, or an argument.

    Raises:
        UserError: it cannot be read, or is not UTF-8.
    """
    try:
        with open_file(Path(path).expanduser()) as file:
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{key}={path} is no text in UTF-8: {error}") from error
    except (OSError, RuntimeError, ValueError) as error:  # no home folder; a NUL in the path
        raise UserError(f"cannot read {key}={path}: {error}") from error


def read_yaml(path: str | Path, key: str, *, places: bool = False) -> Any:
    """Return the content of a YAML file as a DictConfig or ListConfig; see `plain_yaml`.

    Raises:
        UserError: it cannot be read, has a value that no config can hold, or what `plain_yaml`
            refuses.
    """
    plain = plain_yaml(read_text(path, key), str(path), places=places)
    try:
        return OmegaConf.create(plain)
    except OmegaConfBaseException as error:
        raise _damaged(str(path), error) from error


def plain_yaml(text: str, where: str, *, places: bool = False) -> Any:
    """Return YAML as dicts and lists, with values as OmegaConf reads them: 1e-3 is a number.

    A value may name another key, `${optimizer.lr}`. A resolver, such as `${oc.env:TOKEN}`, is
    refused: the file may be another person's, and what it reads would be written into results.

    Args:
        text: the YAML; an empty one is an empty dict.
        where: the file, for the message.
        places: allow `${oc.env:NAME}` for the variables in `PLACES`.

    Raises:
        UserError: it is no YAML of a dict or a list, is too large, or has a resolver.

    >>> plain_yaml("{lr: 1e-3, betas: [0.9, yes]}", "a.yaml")
    {'lr': 0.001, 'betas': [0.9, True]}
    """
    try:
        loader = _LOADER(text)
        root = loader.get_single_node()
        if root is not None and _nodes(root, {}) > MOST_NODES:
            raise UserError(f"{where} has more than {MOST_NODES} values")
        plain = None if root is None else loader.construct_document(root)
        if plain is None:
            plain = {}
        if not isinstance(plain, dict | list):
            raise ValueError(f"it holds '{plain}', not keys with values")
        refuse_resolvers(plain, where, places=places)
    except UserError:
        raise
    except Exception as error:  # what a wrong tag raises: `!!bool maybe` is a KeyError
        raise _damaged(where, error) from error
    return plain


def _damaged(where: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:300]
    return UserError(f"{where} is no YAML of a config, or damaged: {reason}")


def refuse_resolvers(plain: Any, where: str, *, places: bool = False) -> None:
    """Raise UserError if a text in nested dicts and lists would run a resolver of OmegaConf.

    Args:
        plain: dicts, lists and values.
        where: the file, for the message.
        places: allow `${oc.env:NAME}` for the variables in `PLACES`.

    >>> refuse_resolvers({"lr": "${optimizer.lr}"}, "a.yaml")
    >>> refuse_resolvers({"name": "${oc.env:TOKEN}"}, "a.yaml")
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: a.yaml: name is '${oc.env:TOKEN}'...
    """
    for name, value in leaves(plain):
        if isinstance(value, str) and "${" in value:
            rest = KEY.sub("", PLACE.sub("", value) if places else value)
            if "${" in rest:
                allowed = f", or ${{oc.env:NAME}} with NAME in {', '.join(PLACES)}"
                raise UserError(
                    f"{where}: {name} is '{value}'. In a file, ${{...}} can name a key"
                    f"{allowed if places else ''}. On the command line every resolver works: "
                    f"type {name}='...'"
                )


def leaves(plain: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value in nested dicts and lists with its name.

    >>> list(leaves({"a": [1, {"b": 2}]}))
    [('a.0', 1), ('a.1.b', 2)]
    """
    if isinstance(plain, dict | list):
        pairs = plain.items() if isinstance(plain, dict) else enumerate(plain)
        for key, value in pairs:
            yield from leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, plain


def _nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values below a node, those behind an alias each time that it is used."""
    if id(node) not in known:
        known[id(node)] = 1
        children: list[Any] = node.value if isinstance(node, yaml.CollectionNode) else []
        pairs = isinstance(node, yaml.MappingNode)
        below = [each for pair in children for each in pair] if pairs else children
        known[id(node)] = 1 + sum(_nodes(each, known) for each in below)
    return known[id(node)]
