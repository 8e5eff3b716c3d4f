"""An evaluation loads its images by the same processes for each backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image

from solo_registry.data.module import eval_loader
from solo_registry.evaluation import features
from solo_registry.jobs.pretrain import pretrain


@pytest.mark.slow
def test_the_loaders_of_both_splits_are_made_once(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for split, label, number in np.ndindex(2, 2, 30):
        file = tmp_path / f"{split}" / f"{label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    made: list[Any] = []

    def counted(images: Any, **settings: Any) -> Any:
        made.append(eval_loader(images, **settings))
        return made[-1]

    monkeypatch.setattr(features, "eval_loader", counted)
    cfg = tiny("simclr", "optimizer.batch_size=16", "max_epochs=1", "evaluation.knn_k=3")
    cfg.data = {
        "dataset": "custom", "train_path": str(tmp_path / "0"), "val_path": str(tmp_path / "1"),
        "num_workers": 2,
    }  # fmt: skip
    rows = pretrain(cfg).read_result()["results"]  # type: ignore[index]
    assert len(rows) == 3 and len(made) == 2
    assert [loader.num_workers for loader in made] == [1, 1]  # 60 images are one batch
