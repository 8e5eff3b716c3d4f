"""Reading a config section that may be partial, as tests and other programs make them."""

from __future__ import annotations

from typing import Any


def setting(data: Any, key: str, default: Any) -> Any:
    """Return `data.key`, or `default` where the key is absent or null."""
    value = getattr(data, key, None)
    return default if value is None else value
