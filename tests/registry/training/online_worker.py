"""A run, in one or several processes, that also saves every row that its online numbers are of.

python online_worker.py FOLDER METHOD VALIDATION_IMAGES LABELLED KEY=VALUE...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import DATASETS, METHODS
from solo_registry.data.sets import SetInfo, Split, TensorSet
from solo_registry.errors import UserError

IMPORTED = ["", "", "0", "none"]  # where nothing is run, as where doctests are looked for
WORDS = sys.argv[1:5] if __name__ == "__main__" else IMPORTED
FOLDER, METHOD = Path(WORDS[0]), WORDS[1]
VALIDATION, LABELLED = int(WORDS[2]), WORDS[3]  # which of them: "all", "half" or "none"
CLASSES = 7


def dots(data: Any, split: Split) -> TensorSet:
    """Noise with a label of its brightness; a third of the training images have none."""
    count = 96 if split == "train" else VALIDATION
    generator = torch.Generator().manual_seed(len(split))
    targets = torch.randint(CLASSES, (count,), generator=generator)
    bright = 20 * targets.view(-1, 1, 1, 1)
    noise = torch.randint(120, (count, 1, 8, 8), generator=generator)
    step = {"train": 3, "all": 0, "half": 2, "none": 1}[split if split == "train" else LABELLED]
    if step:
        targets[::step] = -1
    names = tuple("abcdefg")
    info = SetInfo("dots", CLASSES, 1, 8, (0.5,), (0.25,), names)
    return TensorSet(info, (noise + bright).to(torch.uint8), targets)


def recorded() -> type:
    """Return the method with a record of what its classifiers see and say in the last epoch."""
    base: Any = METHODS.get(METHOD)

    class Recorded(base):  # type: ignore[misc]
        def __init__(self, cfg: Any) -> None:
            super().__init__(cfg)
            self.classifier.register_forward_hook(self.note("online"))
            if getattr(self, "momentum_classifier", None) is not None:
                self.momentum_classifier.register_forward_hook(self.note("momentum"))

        def note(self, name: str) -> Any:
            def hook(module: Any, inputs: Any, logits: torch.Tensor) -> None:
                self.calls.append((name, inputs[0].detach().clone(), logits.detach().clone()))

            return hook

        def on_train_epoch_start(self) -> None:
            super().on_train_epoch_start()
            self.seen: Any = {"train": [], "val": []}

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.calls: list[Any] = []
            loss = super().training_step(batch, batch_idx)
            place = f"{self.trainer.global_rank}/{self.trainer.global_step + 1}"
            if place == os.environ.get("NAN_AT"):  # RANK/STEP
                loss = loss * torch.nan
            self.seen["train"].append((self.calls, batch[2]))
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.calls = []
            super().validation_step(batch, batch_idx)
            self.seen["val"].append((self.calls, batch[1]))

        def on_train_end(self) -> None:
            torch.save(self.seen, FOLDER / f"{self.trainer.global_rank}.pt")

    return Recorded


def main() -> None:
    """Run."""
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    from solo_registry.jobs.pretrain import pretrain

    load_plugins()
    DATASETS.add_lazy("dots", "__main__:dots", summary="noise")
    globals()["Recorded"] = recorded()
    METHODS.add_lazy("recorded", "__main__:Recorded", summary=METHOD)
    module = "solo_dyntemp.configs" if METHOD.startswith("solo/") else "solo_registry.configs"
    with initialize_config_module(module, version_base="1.3"):
        option = compose(f"method/{METHOD}")
    narrow = {"name": "resnet10_narrow", "kwargs": {"channels": [8, 8, 16, 16]}}
    cfg = OmegaConf.create(
        {
            "method": "recorded",
            "method_kwargs": option.method_kwargs,
            "data": {"dataset": "dots", "num_workers": 0},
            "backbone": narrow,
            "augmentations": [{"crop_size": 8, "num_crops": 2, "rrc": {"crop_min_scale": 0.5}}],
            "optimizer": {"name": "sgd", "batch_size": 8, "lr": 0.1, "classifier_lr": 1.0},
            "momentum": {"classifier": True},
            "knn_eval": {"enabled": True, "k": 5, "distance_func": "cosine"},
            "evaluation": {"enabled": False},
            "telemetry": {"every_n_epochs": 0},
            "max_epochs": 2,
            "progress": "lines",
            "accelerator": "cpu",
            "runs_dir": str(FOLDER / "runs"),
        }
    )
    try:
        pretrain(OmegaConf.merge(cfg, OmegaConf.from_dotlist(sys.argv[5:])))  # type: ignore[arg-type]
    except UserError as error:  # as cli.main does
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
