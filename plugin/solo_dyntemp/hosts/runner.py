"""`dyntemp solo SCRIPT ARGS...`: runs solo-learn's own scripts, unchanged, with our methods.

solo-learn's Hydra scripts find our plugin by themselves. `main_knn.py` and `main_umap.py` parse
arguments without Hydra, so `run_script` registers the methods before it runs them.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from solo_registry.config.hydra_parser import objects_as_help
from solo_registry.errors import UserError, nearest

# faults of solo-learn 1.0.6 on current libraries: a part of the error's text, and our explanation
KNOWN_FAULTS = {
    "compute_on_step": (
        "solo/utils/knn.py passes compute_on_step, which torchmetrics 1.x refuses; remove that "
        "argument there (and call .update() instead of the metric), or use `dyntemp evaluate`"
    ),
    "NVIDIA driver": (
        "solo-learn's main_knn.py and main_umap.py call .cuda() and need a GPU; `dyntemp evaluate` "
        "measures a run of ours without one"
    ),
    "weights_only": (
        "torch >= 2.6 reads checkpoints as tensors only, and this one holds the config as well; "
        "solo-learn's torch.load has to say weights_only=False for a file you trust"
    ),
}


HELP = """\
Usage: dyntemp solo SCRIPT [ARGS]...

Run a script of a solo-learn clone, unchanged, with our methods:

  dyntemp solo main_pretrain.py --config-path scripts/pretrain/cifar --config-name simclr
  dyntemp solo main_knn.py --help

SCRIPT is its path; ARGS are its own arguments.
"""


def run_script(args: Sequence[str]) -> None:
    """Attach to the solo-learn beside the script, then run it as `python SCRIPT ARGS...` would.

    Args:
        args: path of the script in a clone of solo-learn, and its own arguments.

    Raises:
        UserError: there is no such script, no solo-learn beside it, or it fails in a known way.
    """
    if args[:1] in (["-h"], ["--help"]):
        print(HELP, end="")
        return
    if not args:
        raise UserError("which script? For example: dyntemp solo main_knn.py --help")
    script = Path(args[0])
    if not script.is_file():
        found = [str(path) for path in script.parent.glob("main_*.py")]
        raise UserError(f"no script at {script}.{nearest(str(script), found)}")
    before = sys.argv, list(sys.path)
    sys.argv = [str(script), *args[1:]]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        from solo_dyntemp.hosts.solo_learn import attach

        attach()
        with objects_as_help():
            runpy.run_path(str(script), run_name="__main__")
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        for sign, meaning in KNOWN_FAULTS.items():
            if sign in str(error):
                raise UserError(f"{script.name} fails by a known fault: {meaning}") from error
        raise
    finally:
        sys.argv, sys.path[:] = before
