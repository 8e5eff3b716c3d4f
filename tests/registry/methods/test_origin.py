"""What the listing says of a method: its family, its paper, and what in it is lightly's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch.nn.modules.module import register_module_forward_pre_hook

from solo_registry.catalog.registry import METHODS
from solo_registry.verify_ddp import one_step, small_config

CONFIGS = Path(__file__).parents[3] / "configs"
FAMILIES = {
    "contrastive", "non-contrastive", "clustering", "distillation", "masked", "temperature",
}  # fmt: skip
OF_SOLO_LEARN = {
    "all4one", "barlow_twins", "byol", "deepclusterv2", "dino", "mae", "mocov2plus", "mocov3",
    "nnbyol", "nnclr", "nnsiam", "ressl", "simclr", "simsiam", "supcon", "swav", "vibcreg",
    "vicreg", "wmse",
}  # fmt: skip


def test_the_origin_is_what_a_step_calls(small: Any, usual: str, method: str) -> None:
    (entry,) = METHODS.entries(method)
    cfg = small_config(small(usual), processes=2, images=8)
    called: set[str] = set()
    hook = register_module_forward_pre_hook(
        lambda module, _: called.update(cls.__module__ for cls in type(module).__mro__)
    )
    try:
        one_step(cfg, range(16))
    finally:
        hook.remove()
    packages = {"loss": "lightly.loss", "modules": "lightly.models"}
    lightly = [
        part for part, package in packages.items() if any(m.startswith(package) for m in called)
    ]
    found = [
        *(["solo-learn keys"] if method in OF_SOLO_LEARN else []),
        *([f"lightly {' and '.join(lightly)}"] if lightly else []),
    ]
    assert entry.origin == ", ".join(found)
    assert entry.family in FAMILIES
    assert entry.paper.startswith("arXiv ") and entry.summary


def test_the_paper_of_the_table_is_the_one_that_yaml_and_docstrings_name(method: str) -> None:
    number = METHODS.about(method).paper.removeprefix("arXiv ")
    headers = [
        "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#")
        for path in CONFIGS.glob(f"*/method/{method}.yaml")
    ]
    assert len(headers) == 1 and number in headers[0]
    cls = METHODS.get(method)
    mixin = next(base for base in cls.__mro__ if base.__name__.endswith("Mixin"))
    assert number in f"{sys.modules[mixin.__module__].__doc__} {mixin.__doc__}"
