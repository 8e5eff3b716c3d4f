"""The base classes of methods, with the hooks of solo-learn 1.0.6, so that a method runs on both.

A method is `cls(cfg)`; it extends `add_and_assert_specific_cfg`, `learnable_params`, `forward`,
`multicrop_forward` and `training_step([indexes, views, targets], batch_idx)`. A momentum method
also extends `momentum_pairs` and `momentum_forward`.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightning.pytorch import LightningModule
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_registry.backbones import build_backbone
from solo_registry.backbones.layout import needs_channels_first
from solo_registry.backbones.weights import load_backbone
from solo_registry.config.devices import on_cpu
from solo_registry.methods.parts.micro_batches import Forward, in_micro_batches
from solo_registry.metrics.online import RowMean, classification
from solo_registry.metrics.online_knn import OnlineKNN
from solo_registry.metrics.pair_mask import ComparedPairs, PairMask
from solo_registry.optimizers import ParamGroup, build_optimizer, build_schedule

# indexes (N,), views of (N, C, H, W), targets (N,); where NEEDS_CROPS, then crops (N, V, 5)
Batch = tuple[Tensor, list[Tensor], Tensor]


class BaseMethod(LightningModule):
    """A backbone with an online linear classifier and online kNN; a method adds its loss.

    Args:
        cfg: resolved config (see `config.resolve`), with `data.num_classes` and
            `data.image_channels` of the data set.
    """

    # whether buffers and weights are all that a step takes over from the steps of the epoch before
    INSIDE_EPOCHS: ClassVar[bool] = True
    # whether batches have a fourth item, the crop of each view (see `data.draws.crops_of`)
    NEEDS_CROPS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        cfg = self.add_and_assert_specific_cfg(cfg)
        self.cfg = cfg
        kwargs: Any = OmegaConf.to_container(cfg.backbone.kwargs)  # lists as lists
        self.backbone = build_backbone(
            cfg.backbone.name,
            in_channels=cfg.data.image_channels,
            image_size=cfg.augmentations[0].crop_size,
            **kwargs,
        )
        if cfg.backbone.get("weights"):  # before a subclass copies the backbone
            load_backbone(self.backbone, Path(cfg.backbone.weights))
        self.features_dim = int(self.backbone.num_features)  # type: ignore[arg-type]
        self.num_classes: int = max(1, cfg.data.num_classes)
        self.classifier = nn.Linear(self.features_dim, self.num_classes)
        self.num_large_crops: int = cfg.data.num_large_crops
        self.num_small_crops: int = cfg.data.num_small_crops
        self.num_crops = self.num_large_crops + self.num_small_crops
        self.multicrop = self.num_small_crops > 0
        self.no_channel_last: bool = cfg.performance.disable_channel_last or (
            on_cpu(cfg) and needs_channels_first(self.backbone)
        )
        self.watch(cfg)

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check `cfg.method_kwargs`; idempotent."""
        return cfg

    def watch(self, cfg: DictConfig) -> None:
        """Create the means and the online kNN that measure the training."""
        self.means: dict[str, RowMean] = {}  # no submodules: a checkpoint must not hold them
        self.named: dict[str, int] = {}  # the epoch in which a mean was logged first
        self.knn: OnlineKNN | None = None
        if cfg.knn_eval.enabled:
            knn = cfg.knn_eval
            self.knn = OnlineKNN(self.num_classes, k=knn.k, distance=knn.distance_func)

    def measure(self, batch: dict[str, Tensor], rows: Tensor) -> None:
        """Add the means of a batch to those of the epoch, and log them.

        The epoch's mean is over its labelled rows on all processes. It is NaN, which is not
        reported, if there are none.

        Args:
            batch: means by name, scalars.
            rows: number of labelled rows that they are the means of, a scalar.
        """
        if not self.cfg.data.num_classes:  # without labels there is nothing to report
            return
        # Lightning reads the object at the end of the epoch; naming it for each batch is slow
        trainer, epoch = self._trainer, self.current_epoch  # none if a step is taken by hand
        each = (
            trainer is None
            or not trainer.training
            or (self.global_step + 1) % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        )
        for name, value in batch.items():
            if name not in self.means:
                self.means[name] = RowMean()
            mean = self.means[name]
            if mean.device != value.device:
                mean.to(value.device)
            mean(value, rows)
            if each or self.named.get(name) != epoch:
                self.log(name, mean, on_epoch=True, metric_attribute=f"means.{name}")
                self.named[name] = epoch

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Parameter groups; `static_lr: True` keeps a group out of the learning-rate schedule."""
        return [
            {"name": "backbone", "params": self.backbone.parameters()},
            {
                "name": "classifier",
                "params": self.classifier.parameters(),
                "lr": self.cfg.optimizer.effective_classifier_lr,
                "weight_decay": 0,
            },
        ]

    def configure_optimizers(self) -> Any:
        """Build optimizer and schedule for Lightning."""
        groups = [{"static_lr": False, **group} for group in self.learnable_params]
        optimizer = build_optimizer(groups, self.cfg)
        static = [group.pop("static_lr") for group in optimizer.param_groups]
        total = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, static, self.cfg, total)
        return {"optimizer": optimizer} | ({"lr_scheduler": schedule} if schedule else {})

    def _layout(self, X: Tensor) -> Tensor:
        return X if self.no_channel_last else X.to(memory_format=torch.channels_last)

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Map images (N, C, H, W) to `feats` (N, D) and the online classifier's `logits`."""
        feats = self.backbone(self._layout(X))
        return {"logits": self.classifier(feats.detach()), "feats": feats}

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        """Map small crops (N, C, h, w) to `feats` (N, D)."""
        return {"feats": self.backbone(self._layout(X))}

    def forwarded(self, forward: Forward, views: list[Tensor]) -> list[dict[str, Any]]:
        """Forward each view by itself, `optimizer.micro_batch_size` images at a time."""
        size: int | None = self.cfg.optimizer.get("micro_batch_size")
        return [in_micro_batches(self, forward, view, size) for view in views]

    def embed(self, views: list[Tensor]) -> dict[str, list[Tensor]]:
        """Forward every view by itself; return lists over views of `feats`, `logits` and so on."""
        if len(views) != self.num_crops:
            raise ValueError(f"expected {self.num_crops} views a batch, got {len(views)}")
        large = self.forwarded(self, views[: self.num_large_crops])
        small = self.forwarded(self.multicrop_forward, views[self.num_large_crops :])
        outs: dict[str, list[Tensor]] = {key: [out[key] for out in large] for key in large[0]}
        for key in small[0] if small else ():
            outs[key] = outs.get(key, []) + [out[key] for out in small]
        return outs

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Embed the views and train the online classifier.

        Returns:
            The lists of `embed`, and the scalars `loss`, `acc1`, `acc5` of the online classifier. A
            method's own step returns its loss plus `loss`.
        """
        views, targets = batch[1], batch[2]
        outs: dict[str, Any] = self.embed(views)
        online = classification(torch.cat(outs["logits"]), targets.repeat(self.num_large_crops))
        outs.update(online)
        self.measure(
            {
                "train_class_loss": online["loss"],
                "train_acc1": online["acc1"],
                "train_acc5": online["acc5"],
            },
            online["labelled"],
        )
        if self.knn is not None:
            self.knn.update(outs["feats"][0].detach(), targets)
        return outs

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Measure the online classifier; keep the features for online kNN, if it is enabled."""
        X, targets = batch
        out = self(X)
        online = classification(out["logits"], targets)
        rows = online.pop("labelled")
        self.measure({f"val_{name}": value for name, value in online.items()}, rows)
        if self.knn is not None:
            self.knn.add_queries(out["feats"], targets)

    def on_validation_epoch_end(self) -> None:
        """Classify the validation features by the epoch's training features of all processes."""
        if self.knn is None:
            return
        found = self.knn.classify(self.device)
        if found is not None:
            hits, rows = (torch.tensor(float(count), device=self.device) for count in found)
            self.measure({"val_knn_acc1": 100 * hits / rows.clamp(min=1)}, rows)

    def on_train_epoch_start(self) -> None:
        """Empty the kNN bank."""
        if self.knn is not None:
            self.knn.reset()

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """Return the temperature at each similarity in `s`, for pictures; None if there is none."""
        return None

    @classmethod
    def temperature_range(cls, cfg: DictConfig) -> tuple[float, float] | None:
        """Return the lowest and the highest temperature at which the loss compares two images.

        A leaderboard compares strategies that reach the same temperatures.

        Args:
            cfg: resolved config.

        Returns:
            None if the method has no temperature of pairs. Of a trained temperature, those at the
            start.
        """
        return None

    def chance_loss(self) -> float | None:
        """Return the `train_nce_loss` of a model to which all images look alike.

        A softmax over k equal similarities gives ln k. None if the loss has no such value.
        """
        return None

    def compared_pairs(self, outs: dict[str, list[Tensor]], batch: Batch) -> ComparedPairs:
        """Return the pairs that the loss compares, for telemetry; by default all views with all.

        Args:
            outs: result of `embed`.
            batch: the batch.
        """
        z = outs.get("z", outs["feats"])
        z = z if all(part.ndim == 2 for part in z) else outs["feats"]
        return ComparedPairs.among_views(torch.cat(z), batch[0].repeat(len(z)))

    def pair_temperature(self, s: Tensor, mask: PairMask, indexes: Tensor) -> Tensor | None:
        """Return each pair's temperature, for telemetry: (A, B) or (A, 1); None if there is none.

        Args:
            s: (A, B) similarities; they may require a gradient.
            mask: the positive and the excluded pairs.
            indexes: (N,) data set index of the images.
        """
        return self.temperature_curve(s)


class BaseMomentumMethod(BaseMethod):
    """A method with a momentum copy of its backbone, updated after each optimizer step.

    m goes from `momentum.base_tau` to `momentum.final_tau` by a cosine over the run. It depends on
    the optimizer's step alone, so a resumed run continues exactly.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.momentum_backbone = momentum_copy(self.backbone)
        self.momentum_classifier: nn.Linear | None = None
        if cfg.momentum.classifier:
            self.momentum_classifier = nn.Linear(self.features_dim, self.num_classes)
        self._last_step = 0

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Adds the classifier on the momentum backbone, if there is one."""
        groups = super().learnable_params
        if self.momentum_classifier is not None:
            classifier = groups[1] | {
                "name": "momentum_classifier",
                "params": self.momentum_classifier.parameters(),
            }
            groups.append(classifier)
        return groups

    @property
    def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs of an online module and its momentum module."""
        return [(self.backbone, self.momentum_backbone)]

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> dict[str, Any]:
        """Map images (N, C, H, W) to the momentum backbone's `feats` (N, D)."""
        return {"feats": self.momentum_backbone(self._layout(X))}

    def embed(self, views: list[Tensor]) -> dict[str, list[Tensor]]:
        """Adds `momentum_<key>`: lists over large views of the results of `momentum_forward`."""
        outs = super().embed(views)
        momentum = self.forwarded(self.momentum_forward, views[: self.num_large_crops])
        outs.update({f"momentum_{key}": [out[key] for out in momentum] for key in momentum[0]})
        return outs

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Adds the classifier on the momentum backbone, if there is one."""
        outs = super().training_step(batch, batch_idx)
        targets = batch[2]
        if self.momentum_classifier is not None:
            logits = self.momentum_classifier(torch.cat(outs["momentum_feats"]))
            online = classification(logits, targets.repeat(self.num_large_crops))
            metrics = {
                "train_momentum_class_loss": online["loss"],
                "train_momentum_acc1": online["acc1"],
            }
            self.measure(metrics, online["labelled"])
            outs["loss"] = outs["loss"] + online["loss"]
        return outs

    def on_train_start(self) -> None:
        """Read the step count, which a resumed run continues."""
        self._last_step = self.trainer.global_step

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Update the momentum modules once per optimizer step, not per accumulated batch."""
        step = self.trainer.global_step
        if step > self._last_step:
            base, final = self.cfg.momentum.base_tau, self.cfg.momentum.final_tau
            progress = (step - 1) / self.trainer.estimated_stepping_batches
            m = final - (final - base) * (math.cos(math.pi * progress) + 1) / 2
            for online, momentum in self.momentum_pairs:
                update_momentum(online, momentum, m)
            self.log("tau", m)
            self._last_step = step


def momentum_copy(module: nn.Module) -> nn.Module:
    """Return a copy of `module` with equal weights, which no optimizer changes."""
    twin = copy.deepcopy(module)
    deactivate_requires_grad(twin)
    return twin


# A method is a mixin over these. It is bound to BaseMethod here, or to solo-learn's base class.
if TYPE_CHECKING:
    Host = BaseMethod
    MomentumHost = BaseMomentumMethod
else:
    Host = MomentumHost = object
