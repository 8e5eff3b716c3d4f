import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from solo_registry.data.custom import custom
from solo_registry.data.folder import FolderSet
from solo_registry.data.module import eval_loader
from solo_registry.data.sets import load_set
from solo_registry.errors import UserError

Save = Callable[..., Path]


def load(root: Path, split: Any = "train", **data: Any) -> FolderSet:
    images = load_set(SimpleNamespace(dataset="custom", train_path=str(root), **data), split)
    assert isinstance(images, FolderSet)
    return images


def cut(path: Path, share: float = 0.6) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def test_folders_are_classes(folder: Path) -> None:
    images = load(folder)
    assert images.info.class_names == ("cat", "dog")
    assert images.targets.tolist() == [0, 0, 0, 1, 1, 1]
    image, target = images[5]
    assert image.dtype == torch.uint8 and image.shape == (3, 14, 12) and target == 1
    assert images.path(2) == folder / "cat/deep/c.bmp"


def test_without_labels_every_image_below_counts(folder: Path) -> None:
    images = load(folder, no_labels=True)
    assert images.targets.tolist() == [-1] * 6
    assert images.info.num_classes == 0
    assert len(load(folder / "cat", no_labels=True)) == 3


def test_no_val_path_is_no_validation(folder: Path) -> None:
    assert custom(SimpleNamespace(train_path=str(folder), val_path=None), "val") is None


def test_val_has_the_classes_of_train(folder: Path, tmp_path: Path, save_noise: Save) -> None:
    val = tmp_path / "val"
    save_noise(val / "dog" / "x.png")
    images = load(folder, "val", val_path=str(val))
    assert images.targets.tolist() == [1] and images.info.num_classes == 2
    save_noise(val / "dgo" / "x.png")
    with pytest.raises(UserError, match=r"class 'dgo' that data.train_path does not. .*'dog'"):
        load(folder, "val", val_path=str(val))


def test_missing_folder_names_the_nearest(folder: Path) -> None:
    with pytest.raises(UserError, match=r"image does not exist. Did you mean 'images'\?"):
        load(folder.parent / "image")
    with pytest.raises(
        UserError, match=r"data.train_path: .*a.png is a file, not a folder of images"
    ):
        load(folder / "cat" / "a.png")
    with pytest.raises(UserError, match=r"data.train_path is not set"):
        custom(SimpleNamespace(train_path=None), "train")


def test_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"no images in .*formats: .*.bmp, .*.jpeg"):
        load(tmp_path, no_labels=True)
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match="no images in"):
        load(tmp_path)


def test_one_folder_is_no_choice_of_classes(folder: Path) -> None:
    (folder / "dog").rename(folder.parent / "dog")
    with pytest.raises(UserError, match=r"one folder only, 'cat'.*data.no_labels=true"):
        load(folder)


def test_a_class_list_leaves_out_the_other_folders(folder: Path, save_noise: Save) -> None:
    save_noise(folder / "emu" / "x.png")
    listing = folder.parent / "classes.txt"
    for text in ("emu a bird\n\ncat\n", "emu cat"):
        listing.write_text(text)
        images = load(folder, class_list=str(listing), val_path=str(folder))
        assert images.info.class_names == ("cat", "emu") and len(images) == 4
        val = load(folder, "val", class_list=str(listing), val_path=str(folder))
        assert val.targets.tolist() == images.targets.tolist()
    listing.write_text("emu\nkat\n")
    with pytest.raises(UserError, match=r"no class 'kat', which .*classes.txt names.*'cat'"):
        load(folder, class_list=str(listing))
    listing.write_text("")
    with pytest.raises(UserError, match="names no class"):
        load(folder, class_list=str(listing))
    with pytest.raises(UserError, match=r"cannot read data\.class_list=nowhere"):
        load(folder, class_list="nowhere")


def test_a_folder_of_images_without_classes(folder: Path) -> None:
    (folder / "cat" / "deep" / "c.bmp").unlink()
    (folder / "cat" / "deep").rmdir()
    with pytest.raises(UserError, match=r"no folders, .*data.no_labels=true"):
        load(folder / "cat")


def test_a_class_without_images(folder: Path) -> None:
    (folder / "emu").mkdir()
    with pytest.raises(UserError, match="no readable image of class emu"):
        load(folder)


@pytest.mark.parametrize("name", ["cat/a.png", "cat/b.jpg", "cat/deep/c.bmp", "dog/c.webp"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_file_cut_short_is_found_before_training(folder: Path, name: str, share: float) -> None:
    cut(folder / name, share)
    with pytest.raises(UserError, match=rf"cannot read image .*{name}: .*data.on_error=skip"):
        load(folder)
    with pytest.warns(UserWarning, match=rf"left out 1 of 6 images .*{name}"):
        images = load(folder, on_error="skip")
    assert len(images) == 5
    assert folder / name not in [images.path(index) for index in range(5)]


def test_only_unreadable_files(folder: Path) -> None:
    for path in folder.rglob("*.*"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot read .* \(6 such files\)"):
        load(folder)
    with pytest.raises(UserError, match="none of the 6 images"):
        load(folder, on_error="skip")


def break_inside(path: Path) -> None:
    """Spoil the pixels of a PNG but leave its header and its end."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)


def test_a_png_broken_inside_is_found_before_training(folder: Path) -> None:
    break_inside(folder / "cat" / "a.png")
    with pytest.raises(UserError, match=r"cannot read image .*cat/a.png.*checksum"):
        load(folder)


def test_an_image_found_broken_in_training_is_named(folder: Path) -> None:
    break_inside(folder / "cat" / "a.png")
    images = load(folder, check_files=False)
    with pytest.raises(UserError, match=r"cannot read image .*cat/a.png"):
        images[0]
    assert images[1][1] == 0


def test_a_loaders_process_tells_it_in_one_paragraph(folder: Path) -> None:
    break_inside(folder / "cat" / "a.png")
    images = load(folder, check_files=False)
    batches = iter(eval_loader(images, crop_size=8, batch_size=4, num_workers=1))
    with pytest.raises(UserError) as told:
        list(batches)
    batches._shutdown_workers()  # type: ignore[attr-defined]  # the gc waits 5 s for each
    assert str(told.value).startswith(f"cannot read image {folder}/cat/a.png: ")
    assert str(told.value).endswith("data.on_error=skip leaves such images out")
    assert "Traceback" in str(told.value.__cause__)


def test_an_image_found_broken_in_training_is_replaced(folder: Path) -> None:
    break_inside(folder / "dog" / "a.png")
    images = load(folder, on_error="skip", check_files=False)
    with pytest.warns(UserWarning, match=r"cannot read .*dog/a.png .*the next image replaces it"):
        image, target = images[3]
    assert torch.equal(image, images[4][0]) and target == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(images[3][0], image)
    assert images.unreadable == {3}


def test_the_check_can_be_left_out(folder: Path) -> None:
    cut(folder / "cat" / "a.png", 0)
    assert len(load(folder, check_files=False)) == 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(folder: Path) -> None:
    for path in (folder / "cat", folder):
        path.chmod(0)
        try:
            with pytest.raises(UserError, match=r"cannot (be )?read"):
                load(folder)
        finally:
            path.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize(
    ("kind", "reason"),
    [("pipe", "it is no file"), ("device", "it is no file"), ("link", "No such file")],
)
def test_what_is_no_file_is_named_and_never_read(folder: Path, kind: str, reason: str) -> None:
    path = folder / "cat" / "odd.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(os.devnull if kind == "device" else "gone.png")
    with pytest.raises(UserError, match=rf"cannot read image .*cat/odd\.png: .*{reason}"):
        load(folder)
    with pytest.warns(UserWarning, match=rf"left out 1 of 7 images .*odd\.png: .*{reason}"):
        assert len(load(folder, on_error="skip")) == 6
    images = load(folder, check_files=False)
    (odd,) = (index for index in range(7) if images.path(index) == path)
    with pytest.raises(UserError, match=rf"cannot read image .*cat/odd\.png: .*{reason}"):
        images[odd]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_converted(
    tmp_path: Path, save_noise: Save, mode: str, channels: int
) -> None:
    path = save_noise(tmp_path / "all" / "x.png", mode=mode)
    image, _ = load(tmp_path, channels=channels, no_labels=True)[0]
    assert image.shape == (channels, 10, 12)
    with Image.open(path) as source:
        plain = source.convert("RGBA").convert("RGB" if channels == 3 else "L")
    expected = torch.from_numpy(np.array(plain)).reshape(10, 12, channels).permute(2, 0, 1)
    assert (image.int() - expected.int()).abs().max() <= 1


def test_fraction_of_a_folder(folder: Path) -> None:
    images = load(folder, fraction=0.34)
    assert images.targets.tolist() == [0, 1]
    assert images[1][0].shape[0] == 3


def test_grey_statistics(folder: Path) -> None:
    info = load(folder, channels=1).info
    assert info.channels == len(info.mean) == len(info.std) == 1


def test_a_loop_over_a_folder_ends(folder: Path) -> None:
    assert [label for _, label in load(folder)] == [0, 0, 0, 1, 1, 1]
