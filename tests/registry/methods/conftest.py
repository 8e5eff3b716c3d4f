"""The table of what a method needs beyond `tiny`, and what the tests over all methods share.

A test with an argument `method` runs once for each name of the registry. If it is marked
`each_kind`, `make test` runs it for one method of each kind of state, `make test-all` for all.
If it is not, `make test` runs it for all, and `make check` for one of each kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig

from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.runs.model import build_method

Tiny = Callable[..., DictConfig]
VIT = {"name": "vit_tiny", "kwargs": {"depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 2}}
# one method of each kind of state: none but the weights; a queue and a moving average; prototypes
# and a queue; clusters of all images; a teacher with a centre; a masked decoder
KINDS = ("simclr_dyntemp", "mocov2plus", "swav", "deepclusterv2", "dino", "mae")


@dataclass(frozen=True)
class Needs:
    """What one method needs to run small, where its class and `tiny` do not say it.

    Attributes:
        small: overrides on top of `tiny`, such as "method_kwargs.decoder_depth=1".
        backbones: of "resnet" and "vit"; another one is refused with a UserError.
        resting: trained parameters (beginnings of their names) that the first epoch leaves alone.
        learn: overrides on top of those of the learning test.
        cannot_learn: why the learning test does not hold for it; "" where it does.
    """

    small: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ("resnet", "vit")
    resting: tuple[str, ...] = ()
    learn: tuple[str, ...] = ()
    cannot_learn: str = ""


# one line for a method with special needs; the others need none
KWARGS = "method_kwargs."
NEEDS: dict[str, Needs] = {
    "all4one": Needs(learn=("max_epochs=6",)),  # its attention is slow
    "deepclusterv2": Needs(
        small=(KWARGS + "num_prototypes=[4,3]",),
        learn=(KWARGS + "num_prototypes=[60,60]",),
    ),
    "dino": Needs(
        resting=("projector.prototypes",),
        learn=(
            KWARGS + "num_prototypes=100", KWARGS + "teacher_temperature=0.04",
            "momentum.base_tau=0.99",
        ),
    ),
    "mae": Needs(
        small=(
            KWARGS + "decoder_embed_dim=16", KWARGS + "decoder_depth=1",
            KWARGS + "decoder_num_heads=2",
        ),
        backbones=("vit",),
        learn=(
            "backbone.kwargs.patch_size=2", "backbone.kwargs.global_pool=avg",
            KWARGS + "mask_ratio=0.5", KWARGS + "decoder_embed_dim=32",
        ),
    ),
    "nnbyol": Needs(learn=("momentum.base_tau=0.99",)),
    "swav": Needs(
        small=(KWARGS + "freeze_prototypes_epochs=1", KWARGS + "epoch_queue_starts=0"),
        resting=("prototypes",),
        learn=(KWARGS + "num_prototypes=100",),
    ),
    "vibcreg": Needs(small=(KWARGS + "iternorm=true",)),
    "vicregl": Needs(small=(KWARGS + "location_matches=2",)),
    "wmse": Needs(small=(KWARGS + "proj_output_dim=2", KWARGS + "whitening_size=4"),
                  learn=(KWARGS + "proj_output_dim=16", KWARGS + "whitening_size=64")),
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "method" in metafunc.fixturenames:
        load_plugins()
        # solo-learn's, where it is installed, have their tests in tests/plugin/hosts
        own = [name for name in METHODS if not name.startswith("solo/")]
        others, kinds = pytest.mark.slow, set(KINDS)
        if marker := metafunc.definition.get_closest_marker("each_kind"):
            others, kinds = pytest.mark.nightly, kinds | set(marker.args)
        assert kinds <= set(own)
        metafunc.parametrize(
            "method",
            [pytest.param(name, marks=() if name in kinds else others) for name in own],
        )


@pytest.fixture
def needs_of() -> Callable[[str], Needs]:
    """Return the look-up in the table."""
    return lambda method: NEEDS.get(method, Needs())


@pytest.fixture
def needs(needs_of: Any, method: str) -> Needs:
    """What `method` needs."""
    found: Needs = needs_of(method)
    return found


@pytest.fixture
def small_of(tiny: Tiny, needs_of: Any) -> Callable[[str], Callable[..., DictConfig]]:
    """Return a maker of makers of small configs: small_of("simclr")("vit", "seed=3")."""

    def of(method: str) -> Callable[..., DictConfig]:
        def make(backbone: str, /, *overrides: str, **extra: Any) -> DictConfig:
            if backbone == "vit":
                extra["backbone"] = VIT
            cfg = tiny(method, *needs_of(method).small, *overrides)
            cfg.update(extra)
            return cfg

        return make

    return of


@pytest.fixture
def small(small_of: Any, method: str) -> Callable[..., DictConfig]:
    """Return the maker of small configs of `method`: small("vit", "seed=3")."""
    maker: Callable[..., DictConfig] = small_of(method)
    return maker


@pytest.fixture
def usual(needs: Needs) -> str:
    """The backbone that `method` is tested with where one is enough."""
    return needs.backbones[0]


@pytest.fixture
def build() -> Callable[[DictConfig], Any]:
    """Return a builder of models outside a trainer, from a config."""

    def make(cfg: DictConfig) -> Any:
        cfg = resolve(cfg)
        model = build_method(cfg, build_data(cfg))
        model.log = model.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
        return model

    return make


@pytest.fixture
def batch() -> Callable[..., Any]:
    """Return a maker of random batches [indexes, views, targets]."""

    def make(count: int = 8, views: int = 2, size: int = 8) -> Any:
        generator = torch.Generator().manual_seed(0)
        images = [torch.randn(count, 1, size, size, generator=generator) for _ in range(views)]
        return torch.arange(count), images, torch.arange(count) % 10

    return make


class Losses(Callback):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        self.values.append(float(outputs["loss"]))


@pytest.fixture
def train() -> Callable[..., list[float]]:
    """Return a function that trains a model some steps, -1 is all; it gives their losses."""

    def fit(model: Any, cfg: DictConfig, steps: int) -> list[float]:
        losses = Losses()
        trainer = Trainer(
            max_epochs=cfg.max_epochs, max_steps=steps, accelerator="cpu", logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=[losses], limit_val_batches=0, use_distributed_sampler=False,
        )  # fmt: skip
        trainer.fit(model, datamodule=build_data(cfg))
        return losses.values

    return fit
