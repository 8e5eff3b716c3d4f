"""solo-learn's own methods on our engine: `method=solo/byol`.

solo-learn's classes keep their losses, heads, queues and momentum. Backbone, data, augmentation,
optimizer, learning-rate schedule, validation, checkpoints and evaluation are ours. So a run of
theirs and a run of ours differ in the method alone. `FromSolo` precedes their class in the bases
and replaces everything that is not the method. `solo_config` translates our config into theirs.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_dyntemp.hosts.found import SOLO_METHODS
from solo_dyntemp.hosts.solo_checks import check_method, solo_config
from solo_registry.catalog.kwargs import Kwarg, declared_kwargs
from solo_registry.catalog.registry import METHODS
from solo_registry.config.method_kwargs import fill_method_kwargs
from solo_registry.errors import UserError
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.metrics.online import classification

if TYPE_CHECKING:
    Theirs = BaseMethod
else:
    Theirs = object

PREFIX = "solo/"
MEASURED = ("train_class_loss", "train_acc", "train_momentum_")  # of the online classifiers
# buffers that a method creates only when training starts, yet saves in its checkpoint
LATE_BUFFERS = {
    "swav": ("queue",),
    "deepclusterv2": ("local_memory_index", "local_memory_embeddings"),
}


class FromSolo(Theirs):
    """The parts of a solo-learn class that our engine replaces; the rest stays theirs."""

    KWARGS: ClassVar[dict[str, Any]] = {}  # those of the method's YAML file here
    NAME: ClassVar[str] = ""  # the method's name in solo-learn
    INSIDE_EPOCHS: ClassVar[bool] = False  # some classes keep an epoch's state in attributes
    momentum_updater: Any = None

    # ours: one optimizer, one schedule and one validation for every method
    configure_optimizers = BaseMethod.configure_optimizers
    validation_step = BaseMethod.validation_step
    on_validation_epoch_end = BaseMethod.on_validation_epoch_end
    watch, measure = BaseMethod.watch, BaseMethod.measure
    # `Telemetry` calls these, and the evaluation the last
    embed, forwarded = BaseMethod.embed, BaseMethod.forwarded
    compared_pairs = BaseMethod.compared_pairs
    pair_temperature, chance_loss = BaseMethod.pair_temperature, BaseMethod.chance_loss

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(solo_config(cfg, self.NAME))
        self.cfg = cfg
        self.watch(cfg)

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check our config; solo-learn's constructor calls this with its config."""
        if not cfg.method.startswith(PREFIX):
            return super().add_and_assert_specific_cfg(cfg)
        fill_method_kwargs(cfg, declared_kwargs(cls))
        check_method(cfg, cls.NAME)
        if cfg.backbone.get("weights"):
            raise UserError(
                f"{cfg.method} builds its own backbone and cannot start from backbone.weights; "
                f"method={cls.NAME} can"
            )
        if cfg.optimizer.get("micro_batch_size"):
            raise UserError(
                f"{cfg.method} forwards whole batches in solo-learn's code, so it takes no "
                f"optimizer.micro_batch_size; method={cls.NAME} does"
            )
        if cfg.checkpoint.get("every_n_minutes"):
            raise UserError(
                f"{cfg.method} cannot be saved inside an epoch (checkpoint.every_n_minutes): "
                f"solo-learn keeps part of its state elsewhere; method={cls.NAME} can"
            )
        return cfg

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Load weights and buffers, also buffers that their class creates only in training."""
        for name in LATE_BUFFERS.get(self.NAME, ()):
            if name in state_dict and name not in self._buffers:
                self.register_buffer(name, torch.empty_like(state_dict[name], device=self.device))
        return super().load_state_dict(state_dict, *args, **kwargs)

    def on_train_start(self) -> None:
        """Start as their class does, but resume from the state of the checkpoint."""
        late = (name for name in LATE_BUFFERS.get(self.NAME, ()) if name in self._buffers)
        loaded = {name: getattr(self, name).clone() for name in late}
        super().on_train_start()
        for name, value in loaded.items():
            getattr(self, name).copy_(value)
        step = self.trainer.global_step
        if self.momentum_updater is not None and step:  # neither is in their checkpoints
            self.last_step = step
            self.momentum_updater.update_tau(step, self.trainer.estimated_stepping_batches)

    def on_train_epoch_start(self) -> None:
        """Call their hook, and empty the kNN bank."""
        super().on_train_epoch_start()
        if self.knn is not None:
            self.knn.reset()

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Call their step, and add the first view's features to the kNN bank."""
        self._first = batch[1][0]
        self._online_losses: list[Tensor] = []
        if self.NAME == "supcon" and bool((batch[2] < 0).any()):
            raise UserError(f"method '{self.cfg.method}' needs a label for every image")
        loss = super().training_step(batch, batch_idx)
        if self.NAME == "deepclusterv2" and self.current_epoch == 0:
            # no image has a cluster yet, so their loss is a mean of nothing: NaN with gradient 0
            loss = loss.nan_to_num() + torch.stack(self._online_losses).mean()
        return loss

    def _base_shared_step(self, X: Tensor, targets: Tensor) -> dict[str, Any]:
        """Forward one view; replace their NaN if no image has a label."""
        out: dict[str, Any] = self(X)
        if self.knn is not None and X is self._first:
            self.knn.update(out["feats"].detach(), targets)
        online = self._online("train", out["logits"], targets)
        self._online_losses.append(online["loss"])
        return {**out, **online}

    def _shared_step_momentum(self, X: Tensor, targets: Tensor) -> dict[str, Any]:
        """Forward one view through the momentum network; replace their NaN without labels."""
        theirs: Any = self
        out: dict[str, Any] = theirs.momentum_forward(X)
        if theirs.momentum_classifier is None:
            return out
        logits = theirs.momentum_classifier(out["feats"])
        return {**out, "logits": logits, **self._online("train_momentum", logits, targets)}

    def _online(self, prefix: str, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        online = classification(logits, targets)
        names = {"loss": "class_loss", "acc1": "acc1", "acc5": "acc5"}
        means = {f"{prefix}_{name}": online[key] for key, name in names.items()}
        self.measure(means, online.pop("labelled"))
        return online

    def log_dict(self, dictionary: Any, *args: Any, **kwargs: Any) -> None:
        """Log what their class logs, without the batch means that `measure` replaces."""
        other = {key: value for key, value in dictionary.items() if not key.startswith(MEASURED)}
        if other:
            super().log_dict(other, *args, **kwargs)

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """Return None, because in some of their methods temperatures do not belong to pairs."""
        return None


@cache
def bound(name: str) -> type:
    """Return solo-learn's class of this name as a method of ours.

    Raises:
        UserError: solo-learn cannot be imported, or is another version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about functions that newer libraries deprecate
            theirs = import_module("solo.methods").METHODS[name]
    except (ImportError, AttributeError, KeyError) as error:
        raise UserError(
            f"method '{PREFIX}{name}': solo-learn cannot be used here ({error!r}); "
            "`dyntemp doctor` says why, and how to repair it"
        ) from error
    kwargs = {"NAME": name, "KWARGS": solo_kwargs(name), "__module__": __name__}
    return type(theirs.__name__, (FromSolo, theirs), kwargs)


def solo_kwargs(name: str) -> dict[str, Kwarg]:
    """Return the keys and defaults of configs/plugin/method/solo/<name>.yaml.

    Their types, bounds and help are those of our method of this name, which has the same keys.
    """
    file = resources.files("solo_dyntemp.configs") / "method" / "solo" / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    plain: Any = OmegaConf.to_container(OmegaConf.create(text).method_kwargs)
    ours = declared_kwargs(METHODS.get(name))
    return {key: replace(ours[key], default=value) for key, value in plain.items()}


def __getattr__(name: str) -> type:
    """Return `bound(name)`, so that the registry finds `solo_dyntemp.hosts.from_solo:byol`."""
    if name not in SOLO_METHODS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return bound(name)
