"""solo-learn's own scripts, unmodified, with our methods; skipped visibly without a clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from solo_dyntemp.hosts.found import solo_learn

# on Python 3.14 Hydra starts with our help alone
HYDRA = ["-m", "solo_registry", "solo"] if sys.version_info >= (3, 14) else []
PLUGIN = Path(__file__).parents[3] / "plugin"
FOLDER = solo_learn()
ON_CPU = [
    "data.dataset=custom", "data.format=image_folder", "data.num_workers=0", "max_epochs=2",
    "optimizer.batch_size=16", "accelerator=cpu", "devices='1'", "strategy=auto", "precision=32",
    "sync_batchnorm=false", "backbone.name=timm/resnet10t", "+backbone.kwargs={image_size: 32}",
]  # fmt: skip

pytestmark = [
    pytest.mark.solo,
    pytest.mark.slow,
    pytest.mark.skipif(FOLDER is None, reason="solo-learn is not on the path"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of six classes as 32x32 color files."""
    root = tmp_path_factory.mktemp("images")
    digits = load_digits(n_class=6)
    for number, (image, target) in enumerate(zip(digits.images[:120], digits.target, strict=False)):
        folder = root / ("val" if number % 3 else "train") / str(target)
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((image * 15.9).astype("uint8")).resize((32, 32))
        picture.convert("RGB").save(folder / f"{number}.png")
    return root


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the clone; `plugin` on the path lets Hydra see us, as an install does."""
    assert FOLDER is not None
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), str(PLUGIN)])}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )


def test_pretraining_linear_and_knn(images: Path, tmp_path: Path) -> None:
    assert FOLDER is not None
    clone = FOLDER.parent
    data = [f"data.train_path={images}/train", f"data.val_path={images}/val"]
    done = python(
        tmp_path, *HYDRA, str(clone / "main_pretrain.py"),
        "--config-name", "solo/cifar/simclr_dyntemp", "name=run", *data, *ON_CPU,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (checkpoint,) = tmp_path.glob("trained_models/simclr_dyntemp/*/run-*-ep=1.ckpt")
    kwargs = json.loads((checkpoint.parent / "args.json").read_text())["method_kwargs"]
    assert (kwargs["tau_min"], kwargs["tau_max"]) == (0.1, 0.2)

    done = python(
        tmp_path, *HYDRA, str(clone / "main_linear.py"), "--config-path",
        str(clone / "scripts/linear/imagenet-100"), "--config-name", "simclr", "name=linear",
        f"pretrained_feature_extractor='{checkpoint}'", "wandb.enabled=false",
        "auto_resume.enabled=false", *data, *ON_CPU,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.glob("trained_models/linear/*/linear-*.ckpt"))

    done = python(
        tmp_path, "-m", "solo_registry", "solo", str(clone / "main_knn.py"), "--dataset", "custom",
        "--train_data_path", f"{images}/train", "--val_data_path", f"{images}/val", "--k", "2",
        "--batch_size", "16", "--num_workers", "0", "--feature_type", "backbone",
        "--distance_function", "cosine", "--pretrained_checkpoint_dir", str(checkpoint.parent),
    )  # fmt: skip
    assert done.returncode == 2 and "main_knn.py fails by a known fault" in done.stderr


def test_its_own_yaml_with_our_method_says_what_is_not_used(images: Path, tmp_path: Path) -> None:
    assert FOLDER is not None
    clone = FOLDER.parent
    done = python(
        tmp_path, *HYDRA, str(clone / "main_pretrain.py"), "--config-path",
        str(clone / "scripts/pretrain/cifar"), "--config-name", "simclr", "method=simclr_dyntemp",
        f"data.train_path={images}/train", f"data.val_path={images}/val", "wandb.enabled=false",
        "checkpoint.enabled=false", "auto_resume.enabled=false", *ON_CPU, "max_epochs=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stderr.splitlines() if "temperature" in line]
    assert len(said) == 1
    assert "temperature=0.2 is not used: method=simclr_dyntemp takes tau_min" in said[0]
