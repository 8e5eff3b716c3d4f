"""Inside solo-learn 1.0.6, where a clone of it is on the path; skipped visibly elsewhere."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from solo_dyntemp.hosts.runner import run_script
from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve

PLUGIN = Path(__file__).parents[3] / "plugin"
NAMES = ["dcl_dyntemp", "dclw_dyntemp", "dual_temperature", "isogclr", "macl",
         "mocov2plus_dyntemp", "mocov3_dyntemp", "nnclr_dyntemp", "simclr_dyntemp",
         "simclr_learnable", "supcon_dyntemp", "temperature_schedule"]  # fmt: skip


def config(method: str) -> Any:
    kwargs: dict[str, Any] = {"proj_hidden_dim": 16, "proj_output_dim": 8}
    if method.startswith(("mocov2plus", "nnclr")):
        kwargs["queue_size"] = 32
    if method.startswith(("mocov3", "nnclr")):
        kwargs["pred_hidden_dim"] = 16
    if method == "isogclr":
        kwargs["temperature_kwargs"] = {"size": 8}  # solo-learn does not say how many images
    return OmegaConf.create(
        {
            "method": method,
            "method_kwargs": kwargs,
            "backbone": {"name": "timm/resnet10t", "kwargs": {}},
            "data": {"dataset": "custom"},
            "augmentations": [{"crop_size": 32, "num_crops": 2}],
            "optimizer": {"name": "sgd", "batch_size": 8, "lr": 0.1, "classifier_lr": 0.1},
            "momentum": {"base_tau": 0.99, "final_tau": 1.0},
            "max_epochs": 2,
            "devices": 1,
        }
    )


def quiet(model: Any) -> Any:
    model.log = model.log_dict = lambda *_, **__: None
    return model


def test_the_hydra_plugin_imports_nothing_heavy() -> None:
    program = (
        "import sys, hydra_plugins.solo_dyntemp;"
        "print([name for name in ('torch', 'solo', 'solo_dyntemp', 'timm') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PLUGIN)},
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_runner_names_a_script_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "main_knn.py").touch()
    with pytest.raises(ValueError, match=r"no script at .*main_kn\.py\. Did you mean .*main_knn"):
        run_script([str(tmp_path / "main_kn.py")])
    with pytest.raises(ValueError, match="which script"):
        run_script([])


@pytest.mark.solo
@pytest.mark.skipif(
    importlib.util.find_spec("solo") is None, reason="solo-learn is not on the path"
)
@pytest.mark.filterwarnings("ignore")  # solo-learn's own imports warn on the newest torch and timm
class TestAttached:
    def test_attaching_fills_the_tables_in_place_and_again_changes_nothing(self) -> None:
        from solo.methods import METHODS as theirs
        from solo.methods.base import BaseMethod

        from solo_dyntemp.hosts.solo_learn import attach

        ours = attach()
        assert sorted(ours) == NAMES and all(theirs[name] is ours[name] for name in ours)
        assert attach() == ours and all(theirs[name] is ours[name] for name in ours)
        assert "timm/convnext_atto" in BaseMethod._BACKBONES
        assert "resnet18" in BaseMethod._BACKBONES

    def test_a_name_that_another_class_has_is_refused(self, monkeypatch: Any) -> None:
        from solo.methods import METHODS as theirs

        from solo_dyntemp.hosts.solo_learn import attach

        monkeypatch.setitem(theirs, "simclr_dyntemp", theirs["simclr"])
        with pytest.raises(ValueError, match=r"solo\.methods\.simclr\.SimCLR; ours is"):
            attach()

    def test_a_solo_learn_that_has_our_method_upstream_keeps_its_own(
        self, monkeypatch: Any, caplog: Any
    ) -> None:
        from solo.methods import METHODS as theirs

        from solo_dyntemp.hosts.solo_learn import attach

        upstream = type("SimCLRDynTemp", (), {"__module__": "solo.methods.simclr_dyntemp"})
        monkeypatch.setitem(theirs, "simclr_dyntemp", upstream)
        assert attach()["simclr_dyntemp"] is upstream is theirs["simclr_dyntemp"]
        assert "'simclr_dyntemp' is solo-learn's own solo.methods.simclr_dyntemp" in caplog.text

    def test_the_runner_registers_then_runs_a_script_unchanged(
        self, tmp_path: Path, capsys: Any
    ) -> None:
        script = tmp_path / "main_some.py"
        script.write_text(
            "import sys\nfrom solo.methods import METHODS\n"
            "print(__name__, sys.argv[1:], METHODS['simclr_dyntemp'].__mro__[1].__name__)\n"
        )
        before = list(sys.argv)
        run_script([str(script), "--x", "1"])
        assert capsys.readouterr().out == "__main__ ['--x', '1'] SimCLRDynTempMixin\n"
        assert sys.argv == before

    @pytest.mark.parametrize("method", NAMES)
    def test_both_hosts_take_the_same_first_step(self, method: str) -> None:
        from solo_dyntemp.hosts.solo_learn import attach

        cfg = resolve(config(method))
        cfg.data.image_channels, cfg.data.num_classes = 3, 10
        torch.manual_seed(0)
        native = quiet(METHODS.get(method)(cfg))
        theirs_cfg = config(method)
        theirs_cfg.backbone.kwargs = {"image_size": 32}
        theirs_cfg.data.update(num_classes=10, num_large_crops=2, num_small_crops=0)
        theirs_cfg.update(accelerator="cpu", num_nodes=1)
        theirs_cfg.optimizer.weight_decay = 0.0
        theirs_cfg.scheduler = {"name": "none"}
        hosted = quiet(attach()[method](theirs_cfg))
        hosted.load_state_dict(native.state_dict())

        images = [torch.randn(8, 3, 32, 32) for _ in range(2)]
        indexes = torch.arange(8)
        losses = []
        for model in (native, hosted):
            loss = model.training_step([indexes, images, indexes % 4], 0)
            loss.backward()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], abs=1e-6)
        gradients = dict(hosted.named_parameters())
        for name, parameter in native.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(parameter.grad, gradients[name].grad)
