"""solo-learn's methods on our engine; skipped visibly where there is no clone on the path."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from solo_dyntemp.hosts.found import SOLO_METHODS, solo_learn
from solo_dyntemp.hosts.solo_checks import solo_config
from solo_registry.catalog.registry import METHODS, Registry
from solo_registry.config.resolve import resolve
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.model import read_checkpoint

NAMES = list(SOLO_METHODS)
SMALL = {
    "proj_hidden_dim": 16, "proj_output_dim": 8, "pred_hidden_dim": 16, "queue_size": 512,
    "whitening_size": 16, "decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2,
}  # fmt: skip
Tiny = Callable[..., DictConfig]


@pytest.fixture
def small(tiny: Tiny) -> Tiny:
    """Return a maker of small configs: small("byol", "max_epochs=1")."""

    def make(name: str, *overrides: str) -> DictConfig:
        with initialize_config_module("solo_dyntemp.configs", version_base="1.3"):
            option = compose(f"method/solo/{name}")
        cfg = tiny(f"solo/{name}")
        given: Any = {**option.method_kwargs}
        given.update({key: value for key, value in SMALL.items() if key in given})
        if name in ("swav", "dino"):
            given["num_prototypes"] = 20
        if name == "swav":
            given.update(epoch_queue_starts=1, freeze_prototypes_epochs=1)
        cfg.method_kwargs = given
        extra = {key: option[key] for key in ("backbone", "data", "momentum") if key in option}
        if name == "mae":
            cfg.backbone.kwargs = {}
        return OmegaConf.merge(cfg, extra, OmegaConf.from_dotlist(list(overrides)))  # type: ignore[return-value]

    return make


def test_where_solo_learn_is_not_the_names_say_what_is_lacking(monkeypatch: Any) -> None:
    from solo_dyntemp import plugin

    methods = Registry("method")
    monkeypatch.setattr(plugin, "METHODS", methods)
    monkeypatch.setattr(plugin, "solo_learn", lambda: None)
    plugin.register_solo()
    assert methods.names() == []
    with pytest.raises(ValueError, match="method 'solo/byol' is solo-learn's, which is not imp"):
        methods.get("solo/byol")
    with pytest.raises(ValueError, match="unknown method 'solo/boyl'"):
        methods.get("solo/boyl")


def test_a_package_of_the_same_name_is_not_taken_for_it(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "solo").mkdir()
    (tmp_path / "solo" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "solo", raising=False)
    importlib.invalidate_caches()
    assert solo_learn() is None


@pytest.mark.solo
@pytest.mark.skipif(solo_learn() is None, reason="solo-learn is not on the path")
@pytest.mark.filterwarnings("ignore")  # solo-learn's own imports warn on the newest torch and timm
class TestFromSolo:
    def test_the_names_are_those_of_its_table_and_none_is_imported_for_a_list(self) -> None:
        folder = solo_learn()
        assert folder is not None
        tree = ast.parse((folder / "methods" / "__init__.py").read_text(encoding="utf-8"))
        (table,) = [node.value for node in tree.body if isinstance(node, ast.Assign)
                    and isinstance(node.value, ast.Dict)]  # fmt: skip
        found = {key.value for key in table.keys if isinstance(key, ast.Constant)}
        assert found - {"base", "linear"} == set(NAMES)
        program = (
            "import sys; from solo_registry.catalog.plugins import load_plugins; load_plugins();"
            "from solo_registry.catalog.registry import METHODS;"
            "print(len(METHODS.names('solo/*')), METHODS.entries('solo/byol')[0].provider,"
            "[name for name in ('torch', 'solo') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.stdout.split() == ["19", "solo", "[]"], done.stderr

    @pytest.mark.slow
    @pytest.mark.parametrize("name", NAMES)
    def test_each_trains_two_steps_and_its_yaml_holds_all_its_keys(
        self, name: str, small: Tiny
    ) -> None:
        given = small(name, "max_epochs=1", "optimizer.batch_size=512", "evaluation.enabled=false")
        run = pretrain(given)
        checkpoint = read_checkpoint(run.checkpoint)
        assert checkpoint["global_step"] == 2
        weights = checkpoint["state_dict"]
        assert all(value.isfinite().all() for value in weights.values())
        cfg = run.read_config()
        assert set(cfg.method_kwargs) == set(METHODS.get(f"solo/{name}").KWARGS)
        cfg.data.update(num_classes=10, image_channels=3 if name == "mae" else 1, train_images=1437)
        theirs = solo_config(cfg, name)  # their own defaults add no key that our YAML lacks
        asked = METHODS.get(f"solo/{name}").add_and_assert_specific_cfg(theirs).method_kwargs
        assert set(asked) == set(cfg.method_kwargs)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["byol", "deepclusterv2", "dino", "mocov2plus", "swav"])
    def test_stopped_and_resumed_it_ends_as_an_unbroken_one(
        self, name: str, small: Tiny, tmp_path: Path, monkeypatch: Any
    ) -> None:
        words = ["max_epochs=3", "accumulate_grad_batches=2", "knn_eval.enabled=true"]
        unbroken = pretrain(small(name, *words))
        broken = small(name, *words, f"runs_dir={tmp_path}/other")
        model_class = METHODS.get(f"solo/{name}")
        original = model_class.training_step

        class Stop(Exception):
            pass

        def stops(self: Any, batch: Any, batch_idx: int) -> Any:
            if self.trainer.current_epoch == 2:
                raise Stop
            return original(self, batch, batch_idx)

        with monkeypatch.context() as patch:
            patch.setattr(model_class, "training_step", stops)
            with pytest.raises(Stop):
                pretrain(broken)
        resumed = pretrain(broken)
        states = [read_checkpoint(run.checkpoint)["state_dict"] for run in (unbroken, resumed)]
        for key, value in states[0].items():
            assert torch.equal(value, states[1][key]), key
        assert unbroken.metrics.read_text() == resumed.metrics.read_text()
        assert unbroken.result.read_text() == resumed.result.read_text()
        assert "val_knn_acc1" in unbroken.metrics.read_text()

    @pytest.mark.parametrize("name", ["simclr", "supcon"])
    def test_it_takes_the_first_step_of_our_own_baseline(self, name: str, small: Tiny) -> None:
        losses, gradients = [], []
        state: Any = None
        for method in (f"solo/{name}", name):
            cfg = small(name)
            cfg.method = method
            cfg = resolve(cfg)
            cfg.data.update(num_classes=10, image_channels=1, train_images=1437)
            torch.manual_seed(0)
            model = METHODS.get(method)(cfg)
            model.log = model.log_dict = lambda *_, **__: None
            if state is None:
                state = model.state_dict()
            model.load_state_dict(state)
            generator = torch.Generator().manual_seed(1)
            views = [torch.randn(16, 1, 8, 8, generator=generator) for _ in range(2)]
            indexes = torch.arange(16)
            loss = model.training_step([indexes, views, indexes % 4], 0)
            loss.backward()
            losses.append(loss.item())
            gradients.append({k: p.grad for k, p in model.named_parameters() if p.grad is not None})
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
        assert gradients[0].keys() == gradients[1].keys()
        for key, gradient in gradients[0].items():
            torch.testing.assert_close(gradient, gradients[1][key], atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(
        ("name", "override", "reason"),
        [
            ("byol", "method_kwargs.proj_hiden_dim=3", "Did you mean 'proj_hidden_dim'"),
            (
                "byol",
                "augmentations=[{crop_size: 8, num_crops: 3}]",
                "compares 2 large crops, got 3",
            ),
            (
                "vicreg",
                "augmentations=[{crop_size: 8, num_crops: 3}]",
                "compares exactly 2 large crops",
            ),
            ("mae", "backbone.name=resnet18", "masks patches of a ViT.*Allowed: vit_base"),
            ("mae", "data.channels=null", "set data.channels=3"),
            ("mae", "backbone.kwargs.patch_size=3", "patch_size 3 divides, got crop_size=8"),
            ("swav", "method_kwargs.queue_size=100", "queue_size 100 must be 0 or hold the batch"),
            ("wmse", "method_kwargs.whitening_size=100", "batch_size 128 is not divisible"),
            ("nnclr", "method_kwargs.queue_size=200", "queue_size is 200"),
            ("dino", "method_kwargs.warmup_teacher_temperature_epochs=9", "more than max_epochs=2"),
            ("all4one", "method_kwargs.proj_output_dim=12", "divisible by 8"),
            ("supcon", "data.no_labels=true", "learns from labels"),
            ("deepclusterv2", "method_kwargs.num_prototypes=[9000]", "between 1 and 1408 clusters"),
        ],
    )
    def test_what_it_would_fail_at_is_refused_before_training(
        self, name: str, override: str, reason: str, small: Tiny
    ) -> None:
        with pytest.raises(ValueError, match=reason):
            pretrain(small(name, override))

    def test_unlabelled_images_leave_the_loss_finite(self, small: Tiny) -> None:
        cfg = resolve(small("vicreg"))
        cfg.data.update(num_classes=0, image_channels=1, train_images=1437)
        model = METHODS.get("solo/vicreg")(cfg)
        model.log = model.log_dict = lambda *_, **__: None
        views = [torch.randn(8, 1, 8, 8) for _ in range(2)]
        assert model.training_step([torch.arange(8), views, -torch.ones(8).long()], 0).isfinite()
