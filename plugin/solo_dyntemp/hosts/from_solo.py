"""solo-learn's own methods on our engine: `method=solo/byol`.

Their classes keep their losses, heads, queues and momentum; backbone, data, augmentation,
optimizer, learning-rate schedule, validation, checkpoints and evaluation are ours, so that a run of
theirs and one of ours differ in the method alone. `FromSolo` goes before their class and replaces
what reaches beyond the method; `solo_config` writes our config in their form.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_dyntemp.hosts.found import SOLO_METHODS
from solo_dyntemp.hosts.solo_checks import check_method, solo_config
from solo_registry.contract import BaseMethod, Batch, classification
from solo_registry.errors import UserError
from solo_registry.evaluation.online_knn import OnlineKNN
from solo_registry.method_kwargs import fill_method_kwargs

if TYPE_CHECKING:
    Theirs = BaseMethod
else:
    Theirs = object

PREFIX = "solo/"
# buffers that a method creates only when training starts, yet saves in its checkpoint
LATE_BUFFERS = {
    "swav": ("queue",),
    "deepclusterv2": ("local_memory_index", "local_memory_embeddings"),
}


class FromSolo(Theirs):
    """What our engine replaces in a class of solo-learn's; the rest of the method is theirs."""

    KWARGS: ClassVar[dict[str, Any]] = {}  # of the method's YAML here
    NAME: ClassVar[str] = ""  # in solo-learn
    momentum_updater: Any = None

    # ours: one optimizer, one schedule and one validation for every method
    configure_optimizers = BaseMethod.configure_optimizers
    validation_step = BaseMethod.validation_step
    # what telemetry asks for
    embed, contrast = BaseMethod.embed, BaseMethod.contrast
    pair_temperature = BaseMethod.pair_temperature

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(solo_config(cfg, self.NAME))
        self.cfg = cfg
        self.knn: OnlineKNN | None = None
        if cfg.knn_eval.enabled:
            knn = cfg.knn_eval
            self.knn = OnlineKNN(self.num_classes, k=knn.k, distance=knn.distance_func)

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check our config; their constructor calls this with the config it got."""
        if not cfg.method.startswith(PREFIX):
            return super().add_and_assert_specific_cfg(cfg)
        fill_method_kwargs(cfg, cls.KWARGS)
        check_method(cfg, cls.NAME)
        return cfg

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Load weights and buffers, also those that their class has only while it trains."""
        for name in LATE_BUFFERS.get(self.NAME, ()):
            if name in state_dict and name not in self._buffers:
                self.register_buffer(name, torch.empty_like(state_dict[name], device=self.device))
        return super().load_state_dict(state_dict, *args, **kwargs)

    def on_train_start(self) -> None:
        """Start as their class does, but go on where a checkpoint left off."""
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
        """Start their epoch, and the kNN bank anew."""
        super().on_train_epoch_start()
        if self.knn is not None:
            self.knn.reset()

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Their step; the first view's features go to the kNN bank."""
        self._first = batch[1][0]
        if self.NAME == "supcon" and bool((batch[2] < 0).any()):
            raise UserError(f"method '{self.cfg.method}' needs a label for every image")
        return super().training_step(batch, batch_idx)

    def _base_shared_step(self, X: Tensor, targets: Tensor) -> dict[str, Any]:
        """Forward one view; theirs gives NaN where no image has a label."""
        out: dict[str, Any] = self(X)
        if self.knn is not None and X is self._first:
            self.knn.update(out["feats"].detach(), targets)
        return {**out, **classification(out["logits"], targets)}

    def on_validation_epoch_end(self) -> None:
        """Theirs averages what their validation step collected; ours is logged by each step."""

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """None: their temperatures do not belong to pairs of images in every method."""
        return None


@cache
def bound(name: str) -> type:
    """Return solo-learn's class of this name as a method of ours.

    Raises:
        UserError: solo-learn cannot be imported, or is another version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of functions that newer libraries deprecate
            theirs = import_module("solo.methods").METHODS[name]
    except (ImportError, AttributeError, KeyError) as error:
        raise UserError(
            f"method '{PREFIX}{name}': solo-learn cannot be used here ({error!r}); "
            "`dyntemp doctor` says why and what cures it"
        ) from error
    kwargs = {"NAME": name, "KWARGS": default_kwargs(name), "__module__": __name__}
    return type(theirs.__name__, (FromSolo, theirs), kwargs)


def default_kwargs(name: str) -> dict[str, Any]:
    """Return the `method_kwargs` of configs/plugin/method/solo/<name>.yaml."""
    file = resources.files("solo_dyntemp.configs") / "method" / "solo" / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    plain: Any = OmegaConf.to_container(OmegaConf.create(text).method_kwargs)
    return dict(plain)


def __getattr__(name: str) -> type:
    """Let the registry find `solo_dyntemp.hosts.from_solo:byol`."""
    if name not in {known for known, *_ in SOLO_METHODS}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return bound(name)
