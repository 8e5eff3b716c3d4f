"""Similarity-dependent temperature (DySTreSS, arXiv 2308.01140) for InfoNCE losses.

All losses and temperatures are here as well: `from solo_dyntemp import DynTempNTXentLoss`. Nothing
is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solo_dyntemp.losses import *  # noqa: F403
    from solo_dyntemp.temperature import *  # noqa: F403

    __version__: str

else:  # a type checker shall see the names above alone

    def __getattr__(name: str) -> Any:
        """Import what `losses` and `temperature` export, and submodules."""
        if name == "__version__":
            from importlib.metadata import version

            return version("solo-dyntemp")
        if not name.startswith("_"):
            if importlib.util.find_spec(f"{__name__}.{name}"):
                return importlib.import_module(f"{__name__}.{name}")
            for part in ("losses", "temperature"):
                module = importlib.import_module(f"{__name__}.{part}")
                if name in module.__all__:
                    return getattr(module, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List the exported names."""
        parts = [
            importlib.import_module(f"{__name__}.{part}") for part in ("losses", "temperature")
        ]
        return [*globals(), "__version__", *(name for part in parts for name in part.__all__)]
