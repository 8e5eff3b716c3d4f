"""Pretrain, open and use runs from Python; the same as the `dyntemp` command.

>>> import dyntemp
>>> run = dyntemp.pretrain("method=simclr_dyntemp", data="photos", max_epochs=20)  # doctest: +SKIP
>>> run.embed("photos")  # doctest: +SKIP
"""

from importlib.metadata import version

from solo_registry.api import Run, pretrain, runs
from solo_registry.errors import require_bench

require_bench("import dyntemp")
__all__ = ["Run", "__version__", "pretrain", "runs"]
__version__ = version("solo-dyntemp")
