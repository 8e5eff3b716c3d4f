"""Reading a config section that may be partial, as other programs make it; numbers in text."""

from __future__ import annotations

from typing import Any


def setting(data: Any, key: str, default: Any) -> Any:
    """Return `data.key`, or `default` where the key is absent or null."""
    value = getattr(data, key, None)
    return default if value is None else value


def whole(text: str) -> int | None:
    """Read an integer from 0 on; None where the text is none, or is longer than ten digits.

    >>> whole("12"), whole("-1"), whole("9" * 5000)
    (12, None, None)
    """
    return int(text) if text.isdecimal() and len(text) <= 10 else None
