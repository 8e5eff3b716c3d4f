"""What is no longer finite ends the run in one paragraph; the last good epoch stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from tests.forked import Forked, torchrun
from torch import Tensor

from solo_registry.console import terminal
from solo_registry.errors import UserError
from solo_registry.evaluation.classifier import Classifier, Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.evaluation.knn_grid import knn_grid
from solo_registry.evaluation.run import evaluate_again
from solo_registry.jobs.pretrain import pretrain
from solo_registry.methods.simclr import SimCLR
from solo_registry.runs.model import read_checkpoint
from solo_registry.runs.run_folder import RunFolder

Tiny = Callable[..., DictConfig]
WORKER = Path(__file__).with_name("online_worker.py")
# 143 images in batches of 32: 4 steps an epoch
FEW = ("data.fraction=0.1", "optimizer.batch_size=32", "telemetry.every_n_epochs=0",
       "evaluation.enabled=false", "scheduler.warmup_epochs=0")  # fmt: skip


def break_at(monkeypatch: pytest.MonkeyPatch, step: int, how: Callable[[Any, Tensor], Any]) -> None:
    """Let SimCLR's loss of one optimizer step be what `how` makes of it."""
    whole = SimCLR.training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = whole(self, batch, batch_idx)
        return how(self, loss) if self.trainer.global_step + 1 == step else loss

    monkeypatch.setattr(SimCLR, "training_step", training_step)


def not_a_number(model: Any, loss: Tensor) -> Tensor:
    return loss * torch.nan


def no_gradient(model: Any, loss: Tensor) -> Tensor:
    """Leave the loss as it is; its gradient is NaN."""
    return loss + (0 * model.classifier.weight.sum()).sqrt()


def no_matrix(model: Any, loss: Tensor) -> Tensor:
    values: Tensor = torch.linalg.svdvals(torch.full((3, 3), torch.nan))
    return loss + values.sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "how", "told"),
    [
        (
            7,
            not_a_number,
            r"the loss of step 7 is not finite \(epoch 2 of 3, learning rate 0\.0\d+",
        ),
        (8, not_a_number, r"the loss of step 8 is not finite \(epoch 2 of 3"),
        (8, no_gradient, r"after step 8 weights are not finite \(epoch 2 of 3"),
        (6, no_gradient, r"the loss of step 7 is not finite \(epoch 2 of 3"),
        (6, no_matrix, r"step 6 cannot be taken: linalg.* \(epoch 2 of 3"),
    ],
)
def test_the_first_bad_step_is_named_and_the_last_good_epoch_goes_on(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, step: int, how: Any, told: str
) -> None:
    given = tiny("simclr", *FEW, "max_epochs=3", "knn_eval.enabled=true")
    with monkeypatch.context() as patch:
        break_at(patch, step, how)
        with pytest.raises(UserError, match=f"training diverged: {told}") as raised:
            pretrain(given)
    (saved,) = Path(given.runs_dir).rglob("last.ckpt")
    assert f"{saved} keeps the last finished epoch. What helps: a lower opt" in str(raised.value)
    state = read_checkpoint(saved)
    assert state["epoch"] == 0 and state["global_step"] == 4
    assert all(value.isfinite().all() for value in state["state_dict"].values())
    assert read_checkpoint(pretrain(given).checkpoint)["epoch"] == 2


@pytest.mark.slow
def test_a_learning_rate_that_is_too_high_is_told_in_the_first_epoch(tiny: Tiny) -> None:
    given = tiny("simclr", *FEW, "optimizer.lr=1e9")
    with pytest.raises(UserError, match=r"loss of step [23] .*No epoch was finished.*it is 1e\+09"):
        pretrain(given)
    assert not list(Path(given.runs_dir).rglob("last.ckpt"))


@pytest.mark.slow
def test_features_that_overflow_are_told_as_divergence(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"NaN or infinite.*training has diverged"):
        pretrain(
            tiny("simclr", *FEW, "max_epochs=1", "optimizer.weight_decay=2e9",
                 "optimizer.batch_size=64", "telemetry.images=32", "telemetry.every_n_epochs=1")
        )  # fmt: skip


@pytest.mark.slow
def test_with_gradient_accumulation_the_optimizers_step_is_named(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_at(monkeypatch, 2, not_a_number)
    with pytest.raises(UserError, match=r"the loss of step 2 is not finite \(epoch 1 of 2"):
        pretrain(tiny("simclr", *FEW, "accumulate_grad_batches=2"))


@pytest.mark.slow
@pytest.mark.distributed
def test_all_processes_end_where_one_diverges(tmp_path: Path) -> None:
    words = [tmp_path, "simclr", 8, "all", "devices=2", "strategy=ddp"]
    ranks = [Forked(WORKER, *words, env={**rank, "NAN_AT": "1/9"}) for rank in torchrun(2)]
    err = "".join(rank.communicate()[1] for rank in ranks)
    assert ranks[0].returncode == 1  # of the worker; `cli.main` makes it 2
    assert err.count("training diverged: the loss of step 9 is not finite (epoch 2") == 1
    assert "Traceback" not in err
    (saved,) = tmp_path.rglob("last.ckpt")
    assert read_checkpoint(saved)["epoch"] == 0


@pytest.fixture
def run(tiny: Tiny) -> RunFolder:
    return pretrain(tiny("simclr", *FEW, "max_epochs=1"))


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False])
def test_probe_and_fine_tuning_stop_alike(run: RunFolder, frozen: bool) -> None:
    recipe = Recipe(frozen=frozen, epochs=3, lr=1e38, batch_size=64)
    with pytest.raises(UserError, match=r"training diverged: .* a lower --lr \(it is 1e\+38\)"):
        classify(run.path, recipe, terminal())
    assert not list((run.path / "evaluations").glob("*.json"))


@pytest.mark.slow
def test_scores_that_are_not_finite_are_no_accuracy(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Classifier.forward
    monkeypatch.setattr(
        Classifier, "forward", lambda self, X: forward(self, X) / float(self.training)
    )
    with pytest.raises(UserError, match=r"linear: .* are NaN or infinite"):
        classify(run.path, Recipe(frozen=True, epochs=1, lr=0.1), terminal())


@pytest.mark.slow
def test_a_network_that_is_not_finite_is_not_evaluated(run: RunFolder) -> None:
    state = read_checkpoint(run.checkpoint)
    state["state_dict"]["backbone.conv1.weight"].fill_(torch.nan)
    torch.save(state, run.checkpoint)
    with pytest.raises(UserError, match=r"backbone: .* are NaN or infinite"):
        evaluate_again(run.path, {}, terminal())
    with pytest.raises(UserError, match=r"features: .* are NaN or infinite"):
        knn_grid(run.path, terminal(), k=[5], temperatures=[0.1])
