"""Which files count as images: suffixes, links, and what is no file."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from solo_registry.config.text_file import open_file, read_text
from solo_registry.data.files import images_below
from solo_registry.errors import UserError

Save = Callable[..., Path]


def below(folder: Path) -> list[str]:
    (found,) = images_below(folder, [folder])
    return found


def test_images_of_every_suffix_and_spelling_count(tmp_path: Path, save_noise: Save) -> None:
    names = ["a.JPG", "b.gif", "c.jfif", "d.jpe", "e.Tif", "f.jp2", "g.webp"]
    for name in names:
        save_noise(tmp_path / "deep" / name)
    for name in (".DS_Store", "._a.JPG", "Thumbs.db", "labels.csv", "notes.txt", "README"):
        (tmp_path / name).write_bytes(b"text")
    save_noise(tmp_path / "__MACOSX" / "a.png")
    save_noise(tmp_path / "@eaDir" / "a.JPG" / "SYNOFILE_THUMB_M.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert below(tmp_path) == [f"deep/{name}" for name in names]


def test_images_that_are_not_read_are_counted(tmp_path: Path, save_noise: Save) -> None:
    save_noise(tmp_path / "a.png")
    for name in ("b", "w.jpg_large", "x.jpg_large"):
        save_noise(tmp_path / "b.png").rename(tmp_path / name)
    for name in ("c.HEIC", "d/e.heic", "f.psd", "g.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"something")
    with pytest.warns(UserWarning) as caught:
        assert below(tmp_path) == ["a.png"]
    (warning,) = caught
    text = str(warning.message)
    assert f"left out below {tmp_path}: " in text
    assert "files that end in .heic: 2, such as c.HEIC" in text
    assert "files that end in .psd: 1, such as f.psd" in text
    assert "files that end in .jpg_large: 2, such as w.jpg_large" in text
    assert "files without a suffix: 1, such as b" in text
    assert "g.txt" not in text and ".webp" in text


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("target", [".", "..", "../..", "../../.."])
def test_a_link_to_a_folder_above_adds_nothing(
    tmp_path: Path, save_noise: Save, target: str
) -> None:
    root = tmp_path / "images"
    for name in ("cat/a.png", "cat/deep/b.png", "dog/c.png", "dog/d.png"):
        save_noise(root / name)
    save_noise(tmp_path / "beside" / "e.png")
    link(root / "cat" / "deep" / "loop", Path(target))
    with pytest.warns(UserWarning, match="links to a folder .*: 1, such as cat/deep/loop"):
        found = images_below(root, [root / "cat", root / "dog"])
    assert found == [["cat/a.png", "cat/deep/b.png"], ["dog/c.png", "dog/d.png"]]


def test_folders_linked_to_each_other_are_followed_once_on_each_way(
    tmp_path: Path, save_noise: Save
) -> None:
    save_noise(tmp_path / "cat" / "a.png")
    save_noise(tmp_path / "dog" / "b.png")
    link(tmp_path / "cat" / "more", tmp_path / "dog")
    link(tmp_path / "dog" / "more", tmp_path / "cat")
    with pytest.warns(UserWarning, match="links to a folder that they lie in: 2"):
        found = images_below(tmp_path, [tmp_path / "cat", tmp_path / "dog"])
    assert found == [["cat/a.png", "cat/more/b.png"], ["dog/b.png", "dog/more/a.png"]]


def test_a_subset_made_of_links_is_a_set(tmp_path: Path, save_noise: Save) -> None:
    image = save_noise(tmp_path / "all" / "a.png")
    folder = save_noise(tmp_path / "all" / "deep" / "b.png").parent
    root = tmp_path / "subset"
    link(root / "cat" / "x.png", image)
    link(root / "dog" / "x.png", image)
    link(root / "dog" / "deep", folder)
    link(root / "emu", folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = images_below(root, [root / name for name in ("cat", "dog", "emu")])
    assert found == [["cat/x.png"], ["dog/deep/b.png", "dog/x.png"], ["emu/b.png"]]


def test_a_linked_folder_that_links_back_adds_nothing(tmp_path: Path, save_noise: Save) -> None:
    save_noise(tmp_path / "root" / "dog" / "a.png")
    save_noise(tmp_path / "elsewhere" / "b.png")
    link(tmp_path / "root" / "cat", tmp_path / "elsewhere")
    link(tmp_path / "elsewhere" / "back", tmp_path / "root")
    root = tmp_path / "root"
    with pytest.warns(UserWarning, match="links to a folder that they lie in: 1"):
        assert images_below(root, [root / "cat"]) == [["cat/b.png"]]


def test_links_that_lead_nowhere(tmp_path: Path, save_noise: Save) -> None:
    save_noise(tmp_path / "a.png")
    link(tmp_path / "gone", tmp_path / "nowhere")
    link(tmp_path / "itself", tmp_path / "itself")
    with pytest.warns(UserWarning, match="links that lead nowhere: 2, such as gone"):
        assert below(tmp_path) == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, Path(os.devnull)):
        with pytest.raises(OSError, match="it is no file but a folder, a pipe or a device"):
            open_file(path)


def test_text_files_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert read_text(path, "key").split() == ["one", "two"]
    path.write_bytes("one\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"key=.*x\.txt is no text in UTF-8"):
        read_text(path, "key")
    with pytest.raises(UserError, match=r"cannot read key=.*nowhere"):
        read_text(tmp_path / "nowhere", "key")
