"""DALI's graph for the views of a batch. Nothing in it is random: `feeds` supplies every draw.

It differs from `augment` in these points:

- The color jitters of an image, in its own random order, and grayscale are one matrix (`colours`).
  So values are clipped to 0 and 1 once, not after each jitter.
- Hue is a rotation about the grey axis, the best linear map for it. It is closer to the HSV circle
  than DALI's own rotation in YIQ. The exact map would take two thirds of the loader's time.
- Equalization is DALI's. It lacks Pillow's rounding, which brightens images of few pixels.
- The Gaussian of a blur ends at three widths. Values are rounded to whole steps of 1/255 after the
  colors and after the blur.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from solo_registry.data.augment import View
from solo_registry.data.draws import CONTRAST, HUE, SATURATION, Array, Draws
from solo_registry.data.sets import LUMA
from solo_registry.errors import UserError

BLUR_REACH = 3  # widths of a Gaussian after which it is cut off


def import_dali() -> Any:
    """Return the module `nvidia.dali`.

    Raises:
        UserError: it is not installed.
    """
    try:
        import nvidia.dali.fn
        import nvidia.dali.types
    except ModuleNotFoundError as error:
        raise UserError(
            "data.format=dali needs NVIDIA DALI: pip install 'solo-dyntemp[dali]' "
            "(for CUDA 12: pip install nvidia-dali-cuda120)"
        ) from error
    return nvidia.dali


def feeds(view: View, drawn: Draws) -> dict[str, Array]:
    """Return the inputs of a view's graph for each image, by name."""
    given = {"start": drawn.box[:, :2].astype(np.int32), "shape": drawn.box[:, 2:].astype(np.int32)}
    pipeline = view.pipeline
    if view.jitters or (view.channels == 3 and pipeline.grayscale.prob > 0):
        given["matrix"], given["mean_matrix"] = colours(drawn, view.channels)
    if pipeline.gaussian_blur.prob > 0:
        reach = np.minimum(np.ceil(BLUR_REACH * drawn.sigma), view.size - 1)
        given["sigma"] = drawn.sigma
        given["window"] = np.where(drawn.blur, 2 * reach + 1, 1).astype(np.int32)
    if pipeline.solarization.prob > 0:
        given["solarize"] = drawn.solarize.astype(np.int32)
    if pipeline.equalization.prob > 0:
        given["equalize"] = drawn.equalize.astype(np.int32)
    given["flip"] = drawn.flip.astype(np.int32)
    return given


def colours(drawn: Draws, channels: int) -> tuple[Array, Array]:
    """Return matrices M and K, (N, C, C) each, such that the jitters map x to M x + K mean(x).

    Each jitter is linear in the image and its mean, so their product in any order is linear too.

    >>> from solo_registry.data.draws import plain
    >>> M, K = colours(plain(np.zeros((1, 4))), 3)
    >>> bool((M == np.eye(3)).all()), bool((K == 0).all())
    (True, True)
    """
    luma = np.array(LUMA if channels == 3 else [1 / channels] * channels)
    same, grey = np.eye(channels), np.tile(luma, (channels, 1))
    M = np.tile(same, (len(drawn), 1, 1))
    K = np.zeros_like(M)
    for kinds in drawn.order.T:
        factor = np.take_along_axis(drawn.factors, kinds[:, None], axis=1)[:, :, None]
        kind = kinds[:, None, None]
        step = factor * same + np.where(kind == SATURATION, (1 - factor) * grey, 0)
        if channels == 3:
            step = np.where(kind == HUE, _turn(drawn.factors[:, HUE]), step)
        of_mean = np.where(kind == CONTRAST, (1 - factor) * grey, 0)
        M, K = step @ M, step @ K + of_mean @ (M + K)
    gray = drawn.gray[:, None, None]
    M, K = np.where(gray, grey @ M, M), np.where(gray, grey @ K, K)
    return M.astype(np.float32), K.astype(np.float32)


def _turn(shift: Array) -> Array:
    """Return matrices (N, 3, 3) that rotate colours about the grey axis; 1/3 maps red to green.

    >>> _turn(np.array([1 / 3]))[0].round(6).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    True
    """
    ahead = np.array([[0, 2, 1], [1, 0, 2], [2, 1, 0]]) / 3  # from column's channel to row's
    turned: Array = (1 + 2 * np.cos(2 * np.pi * (shift[:, None, None] - ahead))) / 3
    return turned


def _beside(x: Any, node: Any) -> Any:
    """Return a node where `x` is: arithmetic takes no CPU node beside one on a GPU."""
    return node.gpu() if x.device == "gpu" else node


def graph(view: View, images: Any, given: dict[str, Any]) -> Any:
    """Return the graph's node of a view.

    Args:
        view: the view.
        images: node of the images, uint8 (H, W, C).
        given: nodes by the names of `feeds`.
    """
    dali = import_dali()
    fn, types = dali.fn, dali.types
    x = fn.slice(
        images, given["start"], given["shape"], axes=[0, 1],
        normalized_anchor=False, normalized_shape=False,
    )  # fmt: skip
    x = fn.resize(x, size=[view.size] * 2, interp_type=types.INTERP_CUBIC, antialias=True)
    if "matrix" in given:
        mean = fn.reductions.mean(x, axes=[0, 1], keep_dims=True)
        turned = fn.coord_transform(x, M=given["matrix"])
        x = turned + fn.coord_transform(mean, M=given["mean_matrix"])
        x = fn.cast(x, dtype=types.UINT8)
    if "sigma" in given:
        x = fn.gaussian_blur(x, sigma=given["sigma"], window_size=given["window"])
    if "solarize" in given:
        bright = (x >= 128) * _beside(x, given["solarize"])
        x = fn.cast(x * (1 - bright) + (255 - x) * bright, dtype=types.UINT8)
    if "equalize" in given:
        chosen = _beside(x, given["equalize"])
        x = fn.cast(x * (1 - chosen) + fn.equalize(x) * chosen, dtype=types.UINT8)
    return fn.crop_mirror_normalize(
        fn.reshape(x, layout="HWC"),
        mirror=given["flip"],
        mean=[255 * value for value in view.info.mean],
        std=[255 * value for value in view.info.std],
        output_layout="CHW",
        dtype=types.FLOAT,
    )
