"""Found by Hydra: lets an unmodified solo-learn see our methods and configs.

Hydra imports this in every program of the environment, so it imports nothing but Hydra itself,
and it acts only in a program that has imported solo-learn's methods.
"""

from __future__ import annotations

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class SoloDynTemp(SearchPathPlugin):
    """Attaches to solo-learn where there is one."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Register the methods, and append the configs whose names begin with solo/."""
        if "solo.methods" in sys.modules:
            try:
                from solo_dyntemp.hosts.solo_learn import attach

                attach()
            except ModuleNotFoundError:
                from solo_registry.errors import require_bench

                require_bench("solo-dyntemp in solo-learn")
                raise
            search_path.append(provider="solo-dyntemp", path="pkg://solo_dyntemp.solo_configs")
