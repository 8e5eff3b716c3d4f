"""What every method with a dynamic temperature shares: its `method_kwargs` and its tau(s)."""

from __future__ import annotations

import copy
import warnings
from typing import Any, ClassVar

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from solo_dyntemp.losses.contrast import IMPLEMENTATIONS
from solo_dyntemp.methods.reach import reach
from solo_dyntemp.temperature import (
    BatchContext,
    PairMask,
    Temperature,
    build_temperature,
    temperature_keywords,
)
from solo_registry.catalog.kwargs import TAU, Kwarg
from solo_registry.errors import UserError
from solo_registry.methods.base import Host
from solo_registry.optimizers import ParamGroup


class DynTempMixin(Host):
    """Put before a method's mixin; builds the temperature and tells it how training goes.

    `DYNTEMP_KWARGS` belong to every such method, `KERNEL_KWARGS` to those whose loss has several
    kernels.
    """

    HEAD_OUTPUTS: ClassVar[bool] = False  # whether the head can have outputs for the temperature
    KNOWN_CANDIDATES: ClassVar[bool] = True  # whether every candidate is an image of the batch
    DYNTEMP_KWARGS: ClassVar[dict[str, Any]] = {
        "temperature": Kwarg(
            "cosine", "Name of the temperature function, one of `dyntemp temperatures`."
        ),
        "tau_min": Kwarg(
            None, "Smallest temperature; null is the function's own default.", kind=float, **TAU
        ),
        "tau_max": Kwarg(
            None, "Largest temperature; null is the function's own default.", kind=float, **TAU
        ),
        "temperature_kwargs": Kwarg({}, "Further arguments of the temperature function."),
        "detach_temperature": Kwarg(
            True,
            "Whether the temperature is a constant for the gradient: true in the authors' code, "
            "false in the paper's derivation.",
        ),
    }
    KERNEL_KWARGS: ClassVar[dict[str, Any]] = {
        **DYNTEMP_KWARGS,
        "implementation": Kwarg(
            "auto",
            "Kernel of the loss: dense keeps the matrix of similarities, tiled and triton do not; "
            "auto chooses.",
            choices=IMPLEMENTATIONS,
        ),
    }

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.temperature = temperature_of(cfg)
        detach: bool = cfg.method_kwargs.detach_temperature
        self.detach_temperature = detach and self.temperature.detachable
        self.implementation: str = cfg.method_kwargs.get("implementation", "auto")

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check `method_kwargs`, the temperature's range included."""
        fixed = OmegaConf.select(cfg, "method_kwargs.temperature")
        if isinstance(fixed, int | float):
            warnings.warn(
                f"method_kwargs.temperature={fixed} is not used: method={cfg.method} takes tau_min "
                "and tau_max",
                stacklevel=2,
            )
            with open_dict(cfg):
                del cfg.method_kwargs.temperature
        cfg = super().add_and_assert_specific_cfg(cfg)
        require_gpu_for_triton(cfg)
        temperature = temperature_of(cfg)
        cls._require_parts(cfg, temperature)
        for key in accepted(cfg, "tau_min", "tau_max"):
            cfg.method_kwargs[key] = getattr(temperature, key)
        return cfg

    @classmethod
    def _require_parts(cls, cfg: DictConfig, temperature: Temperature) -> None:
        name = cfg.method_kwargs.temperature
        if temperature.outputs and not cls.HEAD_OUTPUTS:
            raise UserError(
                f"method_kwargs.temperature={name} reads an output of the head beside the "
                f"embedding, which method={cfg.method} has not; use method=simclr_dyntemp"
            )
        if temperature.compares_labels and not cls.KNOWN_CANDIDATES:
            raise UserError(
                f"method_kwargs.temperature={name} compares the labels of pairs, and "
                f"method={cfg.method} keeps none in its queue; use method=simclr_dyntemp"
            )
        if temperature.oracle and OmegaConf.select(cfg, "data.no_labels"):
            raise UserError(
                f"method_kwargs.temperature={name} is an oracle that reads the labels, and "
                "data.no_labels is true"
            )

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Adds the temperature, where it has parameters, without weight decay."""
        groups = super().learnable_params
        if isinstance(self.temperature, nn.Module) and list(self.temperature.parameters()):
            parameters = self.temperature.parameters()
            groups.append({"name": "temperature", "params": parameters, "weight_decay": 0})
        return groups

    def on_fit_start(self) -> None:
        """Give an oracle the labels of the training images."""
        super().on_fit_start()
        if self.temperature.oracle:
            data = getattr(self.trainer, "datamodule", None)
            targets = getattr(getattr(data, "train_set", None), "targets", None)
            if targets is None:
                raise UserError(
                    f"method_kwargs.temperature={self.cfg.method_kwargs.temperature} is an oracle; "
                    "this training loop does not give it the labels of the training images"
                )
            self.temperature.use_labels(targets.to(self.device))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell a scheduled temperature which fraction of the training is done."""
        steps = self.trainer.estimated_stepping_batches
        self.temperature.set_progress(min(1.0, self.trainer.global_step / steps))

    @classmethod
    def temperature_range(cls, cfg: DictConfig) -> tuple[float, float] | None:
        """Return what `reach` finds of the temperature that `method_kwargs` describe.

        None if embeddings, labels or the head decide it, and not the similarity of a pair.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever resolved the config has been warned
            temperature = temperature_of(cfg)
        if temperature.reads_anchors or temperature.outputs or temperature.oracle:
            return None
        return reach(temperature)

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """tau(s) at each cosine similarity in `s`; None where a pair alone does not decide it."""
        return self.temperature.curve(s)

    def pair_temperature(self, s: Tensor, mask: PairMask, indexes: Tensor) -> Tensor | None:
        """Temperature of each pair of a batch as the loss would set it; changes no state.

        None if the embeddings decide it: telemetry then measures the similarities alone.
        """
        if self.temperature.reads_anchors or self.temperature.outputs:
            return None
        anchors, candidates = (indexes.repeat(length // len(indexes)) for length in s.shape)
        batch = BatchContext(
            lambda: s.detach()[mask.positive].mean().float(), anchors, lambda: candidates
        )
        temperature = copy.deepcopy(self.temperature).for_batch(batch)
        return temperature.pairs(s, mask)


def require_gpu_for_triton(cfg: DictConfig) -> None:
    """Raise UserError where `method_kwargs.implementation` is triton and no GPU is used."""
    name = cfg.method_kwargs.get("implementation", "auto")
    if name == "triton" and not (torch.cuda.is_available() and cfg.get("accelerator") != "cpu"):
        raise UserError(
            "method_kwargs.implementation=triton needs an NVIDIA GPU, got "
            f"accelerator={cfg.get('accelerator')} and {torch.cuda.device_count()} GPUs; use auto"
        )


def accepted(cfg: DictConfig, *keys: str) -> list[str]:
    """Return those keywords that the temperature of `cfg.method_kwargs` takes."""
    known = temperature_keywords(cfg.method_kwargs.temperature)
    return [key for key in keys if key in known]


def temperature_of(cfg: DictConfig) -> Temperature:
    """Build the temperature that `cfg.method_kwargs` describes.

    A temperature per sample gets the number of training images as its `size`, and a network that
    reads embeddings their number of dimensions.

    Raises:
        UserError: an unknown name or keyword, or values out of range.
    """
    kwargs = cfg.method_kwargs
    offered = {
        "tau_min": kwargs.tau_min,
        "tau_max": kwargs.tau_max,
        "size": OmegaConf.select(cfg, "data.train_images") or 1,
        "dimension": kwargs.proj_output_dim,
    }
    extra: Any = OmegaConf.to_container(kwargs.temperature_kwargs)
    try:
        known = accepted(cfg, *offered)
        given: Any = {key: offered[key] for key in known if offered[key] is not None}
        return build_temperature(kwargs.temperature, **{**given, **extra})
    except ValueError as error:
        raise UserError(f"method_kwargs of {cfg.method}: {error}") from error
