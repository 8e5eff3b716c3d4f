"""Names that a person chose, and disks that are full: a picture never costs the numbers."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from solo_registry.plots.comparison import comparison_bars
from solo_registry.plots.curves import training_curves
from solo_registry.plots.feature_map import feature_map
from solo_registry.plots.style import attempt, new_figure, save

FEATS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(12) % 3


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    """Neither as text, nor in a legend, nor at a tick; what has no sign for it is drawn alike."""
    names = ["$_{$", "$x$", r"\frac{"]
    assert feature_map(FEATS, TARGETS, names, tmp_path / "map.png", method="pca").exists()
    rows = {name: {"knn_acc1": 50.0} for name in names}
    assert comparison_bars(rows, tmp_path / "bars.png")
    (axis,) = new_figure(1, 1)
    axis.set(title="$_{$", xlabel="$^$")
    axis.set_xticks([0, 1], names[:2])
    assert save(axis, tmp_path / "axis.png").exists()


def test_a_character_that_no_font_has_is_one_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"map\.png: no font here has \d+ characters") as caught:
        out = attempt(
            feature_map, FEATS, TARGETS, ["\u4f60\u597d", "a", "\u0634"], tmp_path / "map.png",
            method="pca",
        )  # fmt: skip
    assert out is not None and out.exists() and len(caught) == 1
    (axis,) = new_figure(1, 1)
    axis.set(title="\u4f60\u597d")
    with pytest.warns(UserWarning, match="no font here has 2 characters") as caught:
        save(axis, tmp_path / "axis.png")
    assert len(caught) == 1


@pytest.mark.parametrize("reason", ["full", "read-only", "name", "table"])
def test_what_cannot_be_drawn_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    out, names = tmp_path / "map.png", ["a", "b", "c"]

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if reason == "full":
        monkeypatch.setattr(Figure, "savefig", full)
    elif reason == "read-only":
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "map.png"
    elif reason == "name":
        names = ["\udcff", "b", "c"]  # a name on the disk that is no UTF-8
    with pytest.warns(UserWarning, match="not drawn: .* The numbers are not affected"):
        if reason == "table":
            (tmp_path / "metrics.csv").write_bytes(b"\0\xff")
            assert attempt(training_curves, tmp_path / "metrics.csv", out) is None
        else:
            assert attempt(feature_map, FEATS, TARGETS, names, out, method="pca") is None
    assert not out.exists() and not list(tmp_path.glob(".*"))


def test_ctrl_c_ends_a_picture(tmp_path: Path) -> None:
    def stopped() -> Path:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(stopped)
