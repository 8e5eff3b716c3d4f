import sys
from importlib.util import find_spec

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.metrics.histogram import similarity_histogram
from solo_registry.plots.comparison import comparison_bars
from solo_registry.plots.curves import training_curves
from solo_registry.plots.feature_map import feature_map
from solo_registry.plots.style import new_figure, save
from solo_registry.plots.temperature import temperature_picture

CLASSES = [str(digit) for digit in range(10)]


def check_picture(path, least_colours=20):
    """A PNG of README width, with ink, nothing unfinished beside it."""
    pixels = matplotlib.image.imread(path)
    height, width = pixels.shape[:2]
    assert 700 <= width <= 1600
    assert 200 <= height <= 1600
    with Image.open(path) as picture:
        assert len(picture.getcolors(width * height)) > least_colours
    assert 0.005 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.9
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    return pixels


@pytest.fixture
def metrics():
    """A table as CSVLogger writes it: one kind of value per row, the rest empty."""
    rows = []
    for epoch in range(6):
        for step in range(epoch * 10, epoch * 10 + 10, 5):
            rows.append({"epoch": epoch, "step": step, "lr": 0.3 - 0.004 * step})
        rows.append(
            {
                "epoch": epoch,
                "step": epoch * 10 + 9,
                "val_acc1": 50 + 5 * epoch,
                "val_knn_acc1": 60 + 4 * epoch,
                "val_class_loss": 2 - 0.2 * epoch,
            }
        )
        rows.append(
            {
                "epoch": epoch,
                "step": epoch * 10 + 9,
                "train_nce_loss_epoch": 5 - epoch / 3,
                "train_nce_loss_step": 4.0,
                "train_class_loss_epoch": 2 - 0.25 * epoch,
                "train_acc1_epoch": 48 + 6 * epoch,
                "train_temperature": 0.1,
            }
        )
    return pd.DataFrame(rows)  # fmt: skip


@pytest.fixture
def histogram():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(200, 16, generator=generator)
    noise = torch.randn(200, 16, generator=generator)
    return similarity_histogram(z, z + 0.5 * noise, torch.arange(200) % 10)


@pytest.fixture
def curve():
    s = torch.linspace(-1, 1, 101)
    return s, 0.2 - 0.1 * torch.cos(torch.pi * s / 2) ** 2


@pytest.mark.slow
def test_training_curves_of_table_and_file_are_equal(metrics, tmp_path):
    first = training_curves(metrics, tmp_path / "table" / "curves.png")
    metrics.to_csv(tmp_path / "metrics.csv", index=False)
    second = training_curves(tmp_path / "metrics.csv", tmp_path / "file" / "curves.png")
    assert np.array_equal(check_picture(first), check_picture(second))


@pytest.mark.slow
@pytest.mark.parametrize(
    "columns",
    [["train_nce_loss_epoch"], ["val_acc1", "lr"], ["val_knn_acc1", "val_acc1", "val_class_loss"]],
)
def test_training_curves_tolerate_absent_columns(metrics, columns, tmp_path):
    out = training_curves(metrics[["epoch", "step", *columns]], tmp_path / "curves.png")
    check_picture(out)


@pytest.mark.slow
def test_training_curves_of_one_epoch_and_of_many(metrics, tmp_path):
    check_picture(training_curves(metrics[metrics["epoch"] == 0], tmp_path / "one" / "a.png"))
    long = pd.DataFrame({"epoch": range(300), "lr": np.linspace(1, 0, 300)})
    check_picture(training_curves(long, tmp_path / "many" / "a.png"))


def test_training_curves_refuse_what_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="'epoch'"):
        training_curves(pd.DataFrame({"lr": [1.0]}), tmp_path / "a.png")
    with pytest.raises(ValueError, match="no curve"):
        training_curves(pd.DataFrame({"epoch": [0], "speed": [1.0]}), tmp_path / "a.png")
    empty = pd.DataFrame({"epoch": [0], "lr": [float("nan")]})
    with pytest.raises(ValueError, match="no curve"):
        training_curves(empty, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_temperature_picture_with_and_without_its_parts(histogram, curve, tmp_path):
    seen = [
        check_picture(temperature_picture(histogram, curve, tmp_path / "a" / "x.png")),
        check_picture(temperature_picture(histogram, None, tmp_path / "b" / "x.png")),
        check_picture(
            temperature_picture(histogram, curve, tmp_path / "c" / "x.png", before=histogram)
        ),
    ]
    assert seen[2].shape[1] > seen[0].shape[1]
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.slow
def test_temperature_picture_without_labels(curve, tmp_path):
    z = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    histogram = similarity_histogram(z, z + 0.1)
    check_picture(temperature_picture(histogram, curve, tmp_path / "x.png"))


def test_temperature_picture_refuses_half_a_curve(histogram, curve, tmp_path):
    with pytest.raises(ValueError, match=r"\(101,\) and \(100,\)"):
        temperature_picture(histogram, (curve[0], curve[1][1:]), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tsne", "umap", "pca"])
def test_feature_map_repeats_itself(method, tmp_path):
    if method == "umap" and not find_spec("umap"):
        pytest.skip("umap-learn is not installed")
    images, targets = load_digits(return_X_y=True)
    feats, classes = torch.tensor(images[:300]).float(), torch.tensor(targets[:300])
    first = feature_map(feats, classes, CLASSES, tmp_path / "a" / "x.png", method=method)
    again = feature_map(feats, classes, CLASSES, tmp_path / "b" / "x.png", method=method)
    assert np.array_equal(check_picture(first), check_picture(again))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 4), (5, 4), (40, 1), (40, 3)])
def test_feature_map_of_hostile_features(shape, tmp_path):
    rows = shape[0]
    labels = torch.full((rows,), -1)
    check_picture(feature_map(torch.ones(shape), labels, [], tmp_path / "x.png"), least_colours=5)


@pytest.mark.slow
def test_feature_map_of_many_classes_and_points(tmp_path):
    feats = torch.randn(2500, 4, generator=torch.Generator().manual_seed(0))
    names = [f"class {number}" for number in range(100)]
    out = feature_map(feats, torch.arange(2500) % 100, names, tmp_path / "x.png", method="pca")
    check_picture(out)


def test_feature_map_refuses_bad_input(tmp_path):
    feats, targets = torch.ones(3, 2), torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match="got 2"):
        feature_map(feats, targets, ["a", "b"], tmp_path / "x.png")
    with pytest.raises(ValueError, match="'umpa'"):
        feature_map(feats, targets, CLASSES, tmp_path / "x.png", method="umpa")
    assert not list(tmp_path.iterdir())


def test_a_map_without_its_package_is_refused_before_training(tmp_path, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"pip install 'solo-dyntemp\[umap\]'"):
        resolve(tiny("simclr", "evaluation.map=umap", "evaluation.pictures=true"))
    resolve(tiny("simclr", "evaluation.map=umap", "evaluation.pictures=false"))


@pytest.mark.slow
def test_comparison_bars_of_what_was_measured(tmp_path):
    rows = {
        "raw_pixels": {"knn_acc1": 96.0, "linear_acc1": 95.0},
        "untrained": {"knn_acc1": 80.0, "linear_acc1": None},
        "trained": {"knn_acc1": 98.0, "linear_acc1": 97.0},
    }
    out = comparison_bars(rows, tmp_path / "x.png")
    assert out == tmp_path / "x.png"
    check_picture(out)


def test_comparison_bars_without_labels_draw_nothing(tmp_path):
    assert comparison_bars({"trained": {"knn_acc1": None}}, tmp_path / "x.png") is None
    assert not list(tmp_path.iterdir())


def test_a_failed_save_keeps_the_old_picture(tmp_path, monkeypatch):
    out = tmp_path / "x.png"
    out.write_bytes(b"old")
    (axis,) = new_figure(1, 1)

    def fail(path, **_):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(axis.get_figure(root=True), "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save(axis, out)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    assert out.read_bytes() == b"old"


@pytest.mark.parametrize("name", ["x", "x.docx"])
def test_an_unknown_suffix_is_named(name, tmp_path):
    (axis,) = new_figure(1, 1)
    with pytest.raises(ValueError, match=name):
        save(axis, tmp_path / name)


def test_pictures_leave_pyplot_alone():
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
