"""A map of features in the plane, by t-SNE, UMAP or principal components."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from solo_registry.config.optional import import_umap
from solo_registry.metrics.checks import check_feats, check_targets
from solo_registry.plots.labels import names_beside
from solo_registry.plots.style import COLOURS, new_figure, save

Method = Literal["tsne", "umap", "pca"]
Plane = NDArray[np.float64]

MAX_POINTS = 2000
_MARKERS = "o^sDvPX"
_FEWEST_NEIGHBOURS = 20  # with fewer points, neighbourhoods mean nothing
_MOST_NAMED = 3 * len(COLOURS)


def feature_map(
    feats: Tensor,
    targets: Tensor,
    class_names: Sequence[str],
    out: Path | str,
    *,
    method: Method = "tsne",
    seed: int = 0,
    title: str = "Features of the backbone",
) -> Path:
    """Draw l2-normalised features in the plane, coloured by class.

    Each class's name stands beside its points. At most 2000 points are drawn, a seeded choice.
    t-SNE and UMAP start from the principal components, so that the picture is a function of the
    features and the seed. With fewer than 20 points, and for features that all coincide, the
    principal components are drawn instead.

    Args:
        feats: (N, D) features.
        targets: (N,) classes; -1 (unlabelled) is drawn grey.
        class_names: a name per class.
        out: path of the picture.
        method: "tsne", "umap" or "pca".
        seed: seed of the choice of points, of t-SNE and of UMAP.
        title: first line of the title.

    Returns:
        The path.

    Raises:
        ValueError: if shapes, targets or the method are wrong.
        UserError: if UMAP is asked for and not installed.
        OSError: if the file cannot be written.
    """
    check_feats("feats", feats)
    check_targets("targets", targets, len(feats), len(class_names) or None)
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {get_args(Method)}, got {method!r}")
    order = torch.randperm(len(feats), generator=torch.Generator().manual_seed(seed))[:MAX_POINTS]
    chosen = feats.detach().cpu()[order].double()
    labels = targets.detach().cpu()[order].numpy()
    plane, label = _plane(F.normalize(chosen, dim=1).numpy(), method, seed)

    (axis,) = new_figure(1, 1, width=7.0, height=5.0)
    axis.grid(False)
    places: dict[str, Plane] = {}  # of a class's name: amid its points
    for number in np.unique(labels):
        points = plane[labels == number]
        name = "unlabelled" if number < 0 else class_names[number]
        colour = "#999999" if number < 0 else COLOURS[number % len(COLOURS)]
        marker = _MARKERS[number // len(COLOURS) % len(_MARKERS)] if number >= 0 else "."
        axis.scatter(
            points[:, 0], points[:, 1], s=9, color=colour, marker=marker, label=name, linewidths=0
        )
        if number >= 0 and len(class_names) <= _MOST_NAMED:
            middle = np.median(points, axis=0)
            places[name] = points[np.square(points - middle).sum(axis=1).argmin()]
    axis.set(xticks=[], yticks=[], xlabel=f"{label} 1 (no unit)", ylabel=f"{label} 2 (no unit)")
    axis.set_title(f"{title}\n{label}, {len(plane)} of {len(feats)} images")
    if len(np.unique(labels)) <= _MOST_NAMED:
        axis.legend(
            frameon=False,
            fontsize="small",
            markerscale=2,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
        )
    if places:
        names_beside(axis, list(places), np.stack(list(places.values())), plane)
    return save(axis, out)


def _plane(feats: Plane, method: Method, seed: int) -> tuple[Plane, str]:
    """Return coordinates (N, 2) and the name of the axes."""
    left, sigma, _ = np.linalg.svd(feats - feats.mean(axis=0), full_matrices=False)
    components = np.zeros((len(feats), 2))
    components[:, : min(2, len(sigma))] = (left * sigma)[:, :2]
    spread = components[:, 0].std()
    if method == "pca" or len(feats) < _FEWEST_NEIGHBOURS or spread < 1e-6:
        return components, "principal component"
    with threadpool_limits(1):  # t-SNE's many short steps are slow if threads wait for a busy core
        if method == "umap":
            return _umap(feats, components, seed), "UMAP"
        perplexity = min(30.0, (len(feats) - 1) / 3)
        start = (components * (1e-4 / spread)).astype(np.float32)
        solver = TSNE(perplexity=perplexity, init=start, random_state=seed)
        return np.asarray(solver.fit_transform(feats), dtype=np.float64), "t-SNE"


def _umap(feats: Plane, start: Plane, seed: int) -> Plane:
    """Return coordinates (N, 2) by UMAP's defaults; only one thread is deterministic."""
    solver = import_umap()(init=start.astype(np.float32), random_state=seed, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about points without neighbours and numba's caches
        return np.asarray(solver.fit_transform(feats), dtype=np.float64)
