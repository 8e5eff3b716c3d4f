from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.forked import run_forked

Dyntemp = Callable[..., tuple[int, str, str]]
SOLO_YAML = """
hydra:
  output_subdir: null
  run: {dir: .}
name: "simclr-digits"
method: "simclr"
backbone: {name: "resnet18"}
method_kwargs: {proj_hidden_dim: 32, proj_output_dim: 64, temperature: 0.2}
data: {dataset: digits, train_path: "./datasets", val_path: null, format: "image_folder",
       num_workers: 4}
augmentations:
  - rrc: {enabled: True, crop_min_scale: 0.4, crop_max_scale: 1.0}
    color_jitter: {prob: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1}
    grayscale: {prob: 0.2}
    gaussian_blur: {prob: 0.0}
    crop_size: 8
    num_crops: 2
optimizer:
  name: "lars"
  batch_size: 256
  lr: 0.4
  classifier_lr: 0.1
  weight_decay: 1e-4
  kwargs: {clip_lr: True, eta: 0.02, exclude_bias_n_norm: True}
scheduler: {name: "warmup_cosine"}
checkpoint: {enabled: True, dir: "trained_models", frequency: 1}
auto_resume: {enabled: True}
wandb: {enabled: False, entity: None, project: "solo-learn", offline: False}
max_epochs: 1000
devices: [0]
sync_batchnorm: True
accelerator: "gpu"
strategy: "ddp"
precision: 16-mixed
"""
SMALL = (
    "backbone=resnet10_narrow", "backbone.kwargs.channels=[4,4,8,8]", "max_epochs=1",
    "data.num_workers=0", "progress=lines", "telemetry.every_n_epochs=0",
    "evaluation.baselines=false", "evaluation.linear=false", "evaluation.pictures=false",
)  # fmt: skip


@pytest.mark.distributed
def test_help_lists_the_commands_without_importing_torch() -> None:
    program = (
        "import sys, solo_registry.cli.main as cli; sys.argv = ['dyntemp', '--help']\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules, 'hydra' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    for command in ("pretrain", "evaluate", "methods", "losses", "temperatures", "datasets"):
        assert command in done.stdout
    assert done.stdout.strip().endswith("False False")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("methods", ["simclr_dyntemp", "arXiv 2308.01140", "solo_dyntemp", "mocov2plus"]),
        ("losses", ["dyntemp_infonce_queue"]),
        ("temperatures", ["shifted_cosine"]),
        ("backbones", ["resnet18", "vit_tiny"]),
        ("datasets", ["fashion_mnist"]),
    ],
)
def test_listings(dyntemp: Dyntemp, command: str, expected: list[str]) -> None:
    code, out, err = dyntemp(command)
    assert code == 0, err
    for text in expected:
        assert text in out


def test_listing_takes_a_pattern_and_refuses_one_that_matches_nothing(dyntemp: Dyntemp) -> None:
    assert "mocov2plus" not in dyntemp("methods", "sim*")[1]
    code, _, err = dyntemp("methods", "zzz*")
    assert code == 2 and "no method matches 'zzz*'" in err


def test_pretrain_help_lists_groups_and_keys(dyntemp: Dyntemp) -> None:
    code, out, err = dyntemp("pretrain", "--help")
    assert code == 0, err
    for text in ("mocov2plus_dyntemp, mocov3, mocov3_dyntemp", "tau_max",
                 "effective_lr", "dyntemp pretrain method=simclr_dyntemp"):  # fmt: skip
        assert text in out


def test_cfg_job_shows_the_config_and_runs_nothing(dyntemp: Dyntemp, tmp_path: Path) -> None:
    _, out, _ = dyntemp("pretrain", "--cfg", "job", "method=simclr_dyntemp", "seed=7")
    assert "seed: 7" in out and "temperature: cosine" in out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=simclr_dyntmp"], "unknown method 'simclr_dyntmp'. Did you mean 'simclr_dyntemp'"),
        (["data=fashion_mnst"], "unknown data set 'fashion_mnst'. Did you mean 'fashion_mnist'"),
        (["recipe=cifr/byol"], "unknown recipe 'cifr/byol'. Did you mean 'cifar/byol'"),
        (["backbone=resnet81"], "unknown backbone 'resnet81'. Did you mean"),
        (["backbone=timm/resnet81"], "Did you mean 'timm/resnet"),
        (["optimzer.lr=1"], "unknown config key 'optimzer'"),
        (["method=simclr_dyntemp", "method_kwargs.tau_maxx=1"], "mean 'method_kwargs.tau_max'"),
        (["method=simclr_dyntemp", "method_kwargs.tau_min=0"], "tau_min must be in [0.0001, 100]"),
        (["method=simclr_dyntemp", "method_kwargs.tau_min=0.5"], "must not exceed tau_max"),
        (["method=simclr_dyntemp", "method_kwargs.tau_min=nan"], "got nan"),
        (["augmentations=symetric32"], "Did you mean 'symmetric32'"),
        (["=3"], "cannot compose a config from these overrides"),
        (["augmentations=[{crop_size: 8}]"], "augmentations.0.crop_size=16"),
        (["seed=-1"], "seed must be from 0 to 4294967295, got -1"),
        (["seed=99999999999999999999"], "seed"),
        (["evaluation.knn_temperature=0"], "knn_temperature must be in [0.0001, 100], got 0"),
        (["evaluation.knn_temperature=nan"], "got nan"),
        (["evaluation.knn_k=0"], "evaluation.knn_k must be at least 1, got 0"),
        (["evaluation.map=uamp"], "evaluation.map is 'uamp'. Did you mean 'umap'? Allowed: tsne"),
        (["accelerator=gpu"], "no trainer for accelerator=gpu"),
        (["seed"], "cannot parse 'seed': write KEY=VALUE"),
        (["data=custom", "data.train_path=/nowhere/at/all"], "/nowhere/at/all"),
        (["data=custom"], "data.train_path"),
        (["optimizer.batch_size=5000"], "more than the 1437"),
        (["method=mocov2plus", "method_kwargs.queue_size=1000"], "divisible by the batch of 256"),
        (["resume_from_checkpoint=nowhere.ckpt"], "no checkpoint at nowhere.ckpt"),
        (["precision=17"], "precision is 17. Allowed: 32, 16-mixed, bf16-mixed, 64"),
        (["precision=bf16-mix"], "precision is 'bf16-mix'. Did you mean 'bf16-mixed'"),
        (["data=custom", "data.train_path=f\udcf6to"], r"'data.train_path=f\xf6to' is not UTF-8"),
        (["logger=tensorbord"], "Did you mean 'tensorboard'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_paragraph_with_exit_code_2(
    dyntemp: Dyntemp, tmp_path: Path, words: list[str], message: str
) -> None:
    code, out, err = dyntemp("pretrain", *words)
    assert code == 2, out + err
    assert message in err
    assert err.startswith("error: ") and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_pretrain_then_evaluate(dyntemp: Dyntemp, tmp_path: Path) -> None:
    code, out, err = dyntemp("pretrain", "method=simclr_dyntemp", *SMALL)
    assert code == 0, err
    assert "effective lr" in out and "epoch 1/1" in out and "trained backbone" in out
    run = next(tmp_path.glob("runs/*/*/5"))
    code, out, err = dyntemp("evaluate", str(run), "--knn-k", "3", "--no-pictures")
    assert code == 0 and "k=3" in out, err
    code, out, err = dyntemp("evaluate", str(run / "checkpoints/last.ckpt"), "--no-pictures")
    assert code == 0, err
    assert (run / "evaluations/epoch-1.json").exists()
    for flag in ("--knn-k=0", "--max-train=0", "--knn-temperature=nan"):
        code, _, err = dyntemp("evaluate", str(run), flag)
        assert code == 2 and "evaluation." in err
    code, _, err = dyntemp("evaluate", str(run.parent / "6"))
    assert code == 2 and "no run beginning with" in err
    code, _, err = dyntemp("evaluate", str(run / "plots"))
    assert code == 2 and "no run beginning with" in err


@pytest.mark.slow
@pytest.mark.filterwarnings("default:.*temperature=0.2 is not used")
def test_a_solo_learn_yaml_runs_with_our_method_on_top(dyntemp: Dyntemp, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "simclr.yaml").write_text(SOLO_YAML)
    code, out, err = dyntemp(
        "pretrain", "data.num_workers=0", "max_epochs=1", "evaluation.enabled=false",
        "backbone=resnet10_narrow", "accelerator=cpu", "devices=1", "strategy=auto", "precision=32",
        "sync_batchnorm=false", "progress=lines", "method=simclr_dyntemp",
        "--config-path", str(tmp_path / "theirs"), "--config-name", "simclr",
    )  # fmt: skip
    assert code == 0, err
    assert "simclr-digits" in out and "epoch 1/1" in out
    (resolved,) = (tmp_path / "runs").rglob("resolved.yaml")
    text = resolved.read_text()
    assert "method: simclr_dyntemp" in text and "proj_output_dim: 64" in text
    assert "clip_lr: true" in text and "entity: null" in text


@pytest.mark.distributed
def test_two_processes_train_one_run(tmp_path: Path) -> None:
    words = ["method=mocov2plus_dyntemp", "devices=2", "strategy=ddp", "accelerator=cpu"]
    words += ["optimizer.batch_size=128"]
    done = run_forked("-m", "solo_registry", "pretrain", *words, *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/1") == 1
    (result,) = tmp_path.glob("runs/*/*/5/result.json")
    assert json.loads(result.read_text())["steps"] == 5  # 1,437 images, 2 x 128 a step
    assert "2 devices" in done.stdout


@pytest.mark.distributed
def test_the_command_from_a_shell(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "solo_registry", "pretrain", "method=simclr_dyntmp"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith("error: unknown method")
