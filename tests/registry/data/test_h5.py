import csv
import io
import pickle
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from solo_registry.data.sets import ImageSet, TensorSet, load_set
from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain

h5py = pytest.importorskip("h5py", reason="h5py is not installed")
Save = Callable[..., Path]
Tiny = Callable[..., DictConfig]


def write(path: Path, **content: Any) -> Path:
    with h5py.File(path, "w") as file:
        for key, value in content.items():
            file[key] = value
    return path


def load(path: Path, split: Any = "train", **data: Any) -> ImageSet:
    images = load_set(SimpleNamespace(dataset="custom", train_path=str(path), **data), split)
    assert images is not None
    return images


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [None, 1, 3, 5])
def test_arrays_of_any_number_of_channels(tmp_path: Path, channels: int | None) -> None:
    pixels = noise(12, 8, 8) if channels is None else noise(12, 8, 8, channels)
    images = load(write(tmp_path / "x.h5", images=pixels, labels=np.arange(12) % 3))
    assert isinstance(images, TensorSet) and images.info.num_classes == 3
    assert images.images.shape == (12, channels or 1, 8, 8) and images.info.image_size == 8
    assert torch.equal(images[5][0], torch.from_numpy(pixels[5].reshape(8, 8, -1)).permute(2, 0, 1))
    shares = pixels.reshape(12 * 64, -1) / 255
    assert images.info.mean == pytest.approx(shares.mean(0))
    assert images.info.std == pytest.approx(shares.std(0))


def test_five_channels_cannot_become_three(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", images=noise(4, 8, 8, 5), labels=np.arange(4))
    with pytest.raises(UserError, match=r"data.channels=3: 'custom' has 5 channels"):
        load(path, channels=3)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"pixels": [1]}, "has neither 'images' .* it holds: pixels"),
        ({}, "it holds: nothing"),
        ({"images": noise(4, 8, 8)}, "has no 'labels' beside 'images'; data.no_labels=true"),
        ({"images": noise(4, 8, 8), "labels": [0, 1]}, "'labels' of .* must be 4 class numbers"),
        ({"images": noise(4, 8, 8), "labels": [0, 1, -2, 0]}, "from 0, or -1"),
        (
            {"images": noise(4, 8, 8), "labels": [b"cat", b"dog", b"cat", b"cow"]},
            r"'labels' of .*x\.h5 must be integers, .* they are .*, the first is 'cat'",
        ),
        (
            {"images": noise(4, 8, 8), "labels": [0.5, 1.0, 2.9, 0.0]},
            r"'labels' of .*x\.h5 must be integers, .* they are float64, the first is '0.5'",
        ),
        ({"images": noise(4, 8, 8), "labels": [True, False, True, True]}, "they are bool"),
        ({"images": noise(4, 8, 8) / 255, "labels": [0] * 4}, "must be uint8 .*, got float64"),
        ({"images": noise(4, 8), "labels": [0] * 4}, r"or \(N, H, W, C\), got uint8 \(4, 8\)"),
        ({"images": noise(4, 3, 8, 8), "labels": [0] * 4}, "channels come last"),
    ],
)
def test_missing_keys_and_wrong_shapes_are_named(
    tmp_path: Path, content: dict[str, Any], error: str
) -> None:
    with pytest.raises(UserError, match=error):
        load(write(tmp_path / "x.h5", **content))


def test_no_hdf5_file(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("text")
    with pytest.raises(UserError, match=r"cannot read .*x\.h5 as HDF5"):
        load(tmp_path / "x.h5")
    with pytest.raises(UserError, match=r"cannot read .*nowhere as HDF5"):
        load(tmp_path / "nowhere", format="h5")


def test_without_h5py_one_sentence_has_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'solo-dyntemp\[h5\]'"):
        load(tmp_path / "x.h5")


@pytest.fixture
def encoded(tmp_path: Path, save_noise: Save) -> Path:
    """Two classes of three encoded images, the layout of solo-learn's HDF5 files."""
    path = tmp_path / "encoded.h5"
    with h5py.File(path, "w") as file:
        for name in ("cat", "dog"):
            for number, suffix in enumerate((".png", ".jpg", ".bmp")):
                content = save_noise(tmp_path / f"x{suffix}", width=10 + number).read_bytes()
                file[f"{name}/{number}{suffix}"] = np.frombuffer(content, np.uint8)
    return path


def test_encoded_images_in_groups(encoded: Path) -> None:
    images = load(encoded, val_path=str(encoded))
    assert images.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.info.class_names == ("cat", "dog")
    assert images[5][0].shape == (3, 10, 12)
    copy = pickle.loads(pickle.dumps(images))
    assert torch.equal(copy[4][0], images[4][0])
    assert load(encoded, "val", val_path=str(encoded)).info == images.info
    assert load(encoded, no_labels=True).targets.tolist() == [-1] * 6
    assert load(encoded, fraction=0.34).targets.tolist() == [0, 1]


def test_a_broken_image_in_a_file_is_named_or_left_out(encoded: Path) -> None:
    with h5py.File(encoded, "a") as file:
        del file["dog/0.png"]
        file["dog/0.png"] = np.frombuffer(io.BytesIO(b"no image").read(), np.uint8)
    with pytest.raises(UserError, match=r"cannot read image .*encoded.h5/dog/0.png"):
        load(encoded)
    with pytest.warns(UserWarning, match="left out 1 of 6"):
        assert len(load(encoded, on_error="skip")) == 5


@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_a_file_cut_short_is_named(encoded: Path, share: float) -> None:
    whole = encoded.read_bytes()
    for name, path in (("x", encoded.with_name("x.h5")), ("encoded", encoded)):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError, match=rf"cannot read .*{name}\.h5 as HDF5"):
            load(path)
    with pytest.raises(UserError, match=r"cannot read .*encoded\.h5 as HDF5"):
        load(encoded, on_error="skip")


def test_a_damaged_file_is_named_wherever_the_damage_is(encoded: Path) -> None:
    whole = encoded.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 500, dtype=np.uint8).tobytes()
    named = 0
    for number, start in enumerate(range(0, len(whole) - 500, 500)):
        path = encoded.with_name(f"{number}.h5")  # HDF5 keeps what it knows of an open file
        path.write_bytes(whole[:start] + noise + whole[start + 500 :])
        try:
            load(path)
        except UserError as error:
            named += path.name in str(error)
    assert named > number / 2


def test_an_image_that_is_lost_later_is_named(encoded: Path) -> None:
    images = load(encoded, check_files=False)
    with h5py.File(encoded, "a") as file:
        del file["cat/0.png"]
    with pytest.raises(UserError, match=r"cannot read image .*encoded\.h5/cat/0\.png"):
        images[0]


def test_groups_whose_names_look_the_same_are_the_same_class(
    encoded: Path, save_noise: Save
) -> None:
    content = np.frombuffer(save_noise(encoded.with_name("x.png")).read_bytes(), np.uint8)
    paths = []
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "caf\u00e9")
        paths.append(write(encoded.with_name(f"{form}.h5"), **{
            f"{name}/0.png": content, "tea/0.png": content,
        }))  # fmt: skip
    for train, val in (paths, paths[::-1]):
        images = load(train, val_path=str(val))
        assert images.info.class_names == ("caf\u00e9", "tea") and images[0][0].shape == (3, 10, 12)
        assert load(train, "val", val_path=str(val)).targets.tolist() == [0, 1]


def test_val_with_a_class_of_its_own(encoded: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "val.h5", "w") as file:
        file["dgo/x.png"] = np.zeros(4, np.uint8)
    with pytest.raises(UserError, match=r"val.h5 has a class 'dgo' that .*Did you mean 'dog'"):
        load(encoded, "val", val_path=str(tmp_path / "val.h5"))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["h5", "on_device", "dali"])
def test_five_channels_pretrain(tiny: Tiny, tmp_path: Path, form: str) -> None:
    if form == "dali":
        pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    path = write(tmp_path / "x.h5", images=noise(40, 8, 8, 5), labels=np.arange(40) % 2)
    run = pretrain(tiny(
        "simclr", "data.dataset=custom", f"data.train_path={path}", f"data.val_path={path}",
        f"data.format={form}", "optimizer.batch_size=8", "max_epochs=1",
    ))  # fmt: skip
    result = run.read_result()
    assert result is not None and result["train_images"] == 40


@pytest.mark.slow
def test_half_labelled_validation_with_online_knn_trains(tiny: Tiny, tmp_path: Path) -> None:
    bright = (40 * np.arange(64) % 4)[:, None, None].astype(np.uint8) + noise(64, 8, 8) // 4
    labels = np.arange(64) % 4
    train = write(tmp_path / "train.h5", images=bright, labels=labels)
    half = np.where(np.arange(64) % 8 < 4, labels, -1)
    val = write(tmp_path / "val.h5", images=bright, labels=half)
    given = tiny(
        "simclr", f"data.train_path={train}", f"data.val_path={val}", "data.dataset=custom",
        "max_epochs=1", "optimizer.batch_size=16", "knn_eval.enabled=true", "knn_eval.k=5",
        "evaluation.enabled=false", "telemetry.every_n_epochs=0",
    )  # fmt: skip
    with pretrain(given).metrics.open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["val_acc5"]) == 100  # of 4 classes
    assert float(row["val_knn_acc1"]) > 0


def test_a_validation_label_that_train_does_not_have_is_named(tiny: Tiny, tmp_path: Path) -> None:
    train = write(tmp_path / "train.h5", images=noise(16, 8, 8), labels=np.arange(16) % 3)
    val = write(tmp_path / "val.h5", images=noise(8, 8, 8), labels=np.arange(8))
    given = tiny("simclr", f"data.train_path={train}", f"data.val_path={val}",
                 "data.dataset=custom", "optimizer.batch_size=8")  # fmt: skip
    with pytest.raises(UserError, match=r"data\.val_path=.*val\.h5: label 7, .* have 3 classes"):
        pretrain(given)
    assert not list(Path(given.runs_dir).rglob("*"))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(12) + 0.5, "must be integers"),
        ((np.arange(12) % 3).astype(float), "must be integers"),
        (np.full(12, 2**64 - 1, np.uint64), "has 18446744073709551615: labels are below"),
        (np.full(12, 2**40), "labels are below 1000000"),
        (np.arange(12) > 3, "must be integers"),
        ({"x": np.arange(12)}, "is a group"),
    ],
)
def test_labels_are_never_converted(tmp_path: Path, labels: Any, message: str) -> None:
    flat = (
        {f"labels/{key}": value for key, value in labels.items()}
        if isinstance(labels, dict)
        else {}
    )
    path = write(tmp_path / "x.h5", images=noise(12, 8, 8), **(flat or {"labels": labels}))
    with pytest.raises(UserError, match=message):
        load(path)


def test_sizes_that_no_memory_holds_and_names_that_are_no_text(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("images", (10**9, 64, 64, 3), "u1", chunks=(1, 64, 64, 3))
        file.create_dataset("labels", (10**9,), "i4", chunks=True)
    with h5py.File(tmp_path / "names.h5", "w") as file:
        file[b"c\xff/x"] = file["dog/x"] = noise(9)
    for path in (tmp_path / "huge.h5", tmp_path / "names.h5"):
        with pytest.raises(UserError, match="cannot read"):
            load(path)
    with pytest.raises(UserError, match=r"must be uint8 .* \(12, 0, 8\)"):
        load(write(tmp_path / "x.h5", images=noise(12, 0, 8), labels=np.arange(12)))
