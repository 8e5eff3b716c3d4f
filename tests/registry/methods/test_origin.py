"""What the listing says of a method: its family, its paper, and what in it is lightly's."""

from __future__ import annotations

from typing import Any

from torch.nn.modules.module import register_module_forward_pre_hook

from solo_registry.catalog.registry import METHODS
from solo_registry.verify_ddp import one_step, small_config

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
