"""Reads JSON files that others may have written: the content has the declared shape, or an error.

A shape is a dataclass or a TypedDict. pydantic compares the file with it strictly: no text where a
number belongs, no NaN in a `Number`, no number or nesting without end.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from solo_registry.config.text_file import open_file
from solo_registry.errors import UserError

LARGEST = 1e15  # size of a number in our files; larger ones overflow where they are averaged
MORE = ConfigDict(extra="allow")  # of a TypedDict: it keeps the keys that its shape does not name
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Positive = Annotated[float, Field(ge=0, le=LARGEST)]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]


class Versioned(TypedDict):
    """What a file of any version says."""

    schema_version: int


def read_shaped(path: Path, shape: Any, what: str, cure: str, version: int | None = None) -> Any:
    """Read a JSON file of a shape.

    Args:
        path: the file.
        shape: a dataclass, a TypedDict or another type; an object of it is returned.
        what: what the file is, for the error text.
        cure: what the user can do, for the error text.
        version: the only `schema_version` that is accepted; None accepts files without one.

    Raises:
        UserError: the file cannot be read, is no JSON, or is of another version or shape; the text
            names the file and the key.
    """
    try:
        with open_file(path) as file:
            content = file.read()
        if version is not None:
            found = _adapter(Versioned).validate_json(content, strict=True)["schema_version"]
            if found != version:
                raise UserError(
                    f"{path} has schema version {found}, this version reads {version}; {cure}"
                )
        return _adapter(shape).validate_json(content, strict=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except ValidationError as error:
        raise UserError(f"{path} is not {what}: {_first(error)}; {cure}") from error


@functools.cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def _first(error: ValidationError) -> str:
    """Describe the first fault: its key, the reason and the value."""
    fault = error.errors(include_url=False)[0]
    key = ".".join(map(str, fault["loc"]))
    reason = f"{fault['msg'][0].lower()}{fault['msg'][1:]}"
    shown = "" if fault["type"] in ("missing", "json_invalid") else f", got {fault['input']!r:.60}"
    return f"'{key}': {reason}{shown}" if key else reason + shown
