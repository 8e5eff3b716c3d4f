"""Views of a whole batch: a GPU's way against a CPU's, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from solo_registry.data import show as module
from solo_registry.data.augment import View
from solo_registry.data.pipeline import read_pipeline
from solo_registry.data.sets import TensorSet

EVERYTHING: dict[str, Any] = {
    "rrc": {"enabled": True, "crop_min_scale": 0.3},
    "crop_size": 16,
    "color_jitter": {
        "prob": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
    },
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 0.5},
    "solarization": {"prob": 0.3},
    "equalization": {"prob": 0.3},
    "horizontal_flip": {"prob": 0.5},
}


class Operations(TorchDispatchMode):
    """Counts the operations that PyTorch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("count", [1, 2, 200])
@pytest.mark.parametrize("never", [None, *list(EVERYTHING)[2:]])
def test_both_ways_give_the_same_bytes(
    noise: Callable[..., TensorSet],
    monkeypatch: pytest.MonkeyPatch,
    never: str | None,
    count: int,
) -> None:
    images = noise(count=count, size=16)
    words = {name: value for name, value in EVERYTHING.items() if name != never}
    view = View(read_pipeline(words), images.info)
    drawn = view.draw(1, list(range(count)), [(16, 16)] * count)
    by_order = module.show(view, images.images, drawn)
    monkeypatch.setattr(module, "change_by_order", module.change_by_place)
    assert torch.equal(module.show(view, images.images, drawn), by_order)
    alone = [
        module.show(view, images.images[i : i + 1], drawn.of(slice(i, i + 1))) for i in range(count)
    ]
    torch.testing.assert_close(torch.cat(alone), by_order, rtol=0, atol=1e-5)


def test_a_gpu_is_asked_for_few_operations(noise: Callable[..., TensorSet]) -> None:
    images = noise(count=200, size=16)
    view = View(read_pipeline(EVERYTHING), images.info)
    drawn = view.draw(1, list(range(200)), [(16, 16)] * 200)
    assert len(set(map(tuple, drawn.order[drawn.jitter]))) == 24
    x = torch.rand(200, 3, 16, 16)
    with Operations() as asked:
        module.change_by_place(x, drawn)
    assert asked.count < 500
