"""Finds the packages that add methods, losses, data sets, configs or commands.

A plugin is an entry point of the group `solo_registry.plugins`. It names a function without
arguments that registers lazily and may return the package of its Hydra configs:

    entry_points={"solo_registry.plugins": ["mine = my_package.plugin:register"]}

    def register() -> str:
        METHODS.add_lazy("mine", "my_package.methods:Mine", summary="...", paper="...")
        return "my_package.configs"
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from solo_registry.errors import UserError

GROUP = "solo_registry.plugins"


@functools.cache
def load_plugins() -> tuple[str, ...]:
    """Register everything, once; return the packages that hold Hydra configs, ours first.

    Raises:
        UserError: a plugin cannot be loaded; the message names it.
    """
    import solo_registry.catalog.builtin  # noqa: F401

    configs = ["solo_registry.configs"]
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            package = point.load()()
        except Exception as error:
            raise UserError(
                f"plugin '{point.name}' ({point.value}) failed: {error}. Mend or uninstall it"
            ) from error
        if package:
            configs.append(package)
    return tuple(configs)
