"""CLIP's loss of two towers with τ(s), and with CLIP's logit scale."""

from __future__ import annotations

from typing import Literal, overload

from torch import Tensor

from solo_dyntemp.losses.module import LossModule
from solo_dyntemp.losses.paired import dyntemp_paired
from solo_dyntemp.temperature import (
    BatchContext,
    LearnableTemperature,
    ScaledTemperature,
    TemperatureLike,
)


class DynTempCLIPLoss(LossModule):
    r"""CLIP's loss (arXiv 2103.00020, figure 3), in the place of open_clip's `ClipLoss`.

    A logit is s / τ(s). With a logit scale it is logit_scale · s · τ_min / τ(s): the scale takes
    over the role of 1 / τ_min, and the temperature says only how τ depends on s. So a constant
    temperature with a scale is CLIP. A scale that needs a gradient needs the dense kernel.

    Args:
        temperature: τ: a temperature, its name, a number or an elementwise function.
        logit_scale: start of a scale that this loss trains, as CLIP does: its logarithm, kept in
            [0, ln 100]. None if the model has the scale and passes it on, or if there is none.
        detach_temperature: stop the gradient through τ; it always reaches the scale.
        implementation: "auto", "dense", "tiled" or "triton".

    Raises:
        ValueError: an argument is not as described.

    >>> import torch
    >>> DynTempCLIPLoss("cosine", logit_scale=1 / 0.07)(torch.eye(3), torch.eye(3))
    tensor(0.0016, grad_fn=<DivBackward0>)
    """

    def __init__(
        self,
        temperature: TemperatureLike = "cosine",
        logit_scale: float | None = None,
        detach_temperature: bool = True,
        implementation: str = "auto",
    ) -> None:
        super().__init__(temperature, detach_temperature, implementation)
        if logit_scale is not None and not 1 <= logit_scale <= 100:
            raise ValueError(f"logit_scale must be in [1, 100], got {logit_scale}")
        self.scale = None if logit_scale is None else LearnableTemperature(1 / logit_scale)

    @overload
    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float | None = None,
        output_dict: Literal[False] = False,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float | None = None,
        *,
        output_dict: Literal[True],
    ) -> dict[str, Tensor]: ...

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor | float | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """Return the mean of the losses of all images and of all texts.

        Args:
            image_features: shape (N, D); normalised or not.
            text_features: shape (N, D), row i the text of image i.
            logit_scale: the scale itself, not its logarithm, as CLIP's models return it.
            output_dict: return {"contrastive_loss": loss}, as open_clip's training loop asks for.

        Raises:
            ValueError: a shape, type or device is not as described, or there are two scales.
        """
        settings = self.settings()
        factor = None if logit_scale is None else 1 / logit_scale
        if self.scale is not None:
            if factor is not None:
                raise ValueError("this loss trains a logit_scale of its own, so pass none")
            factor = self.scale.for_batch(BatchContext(lambda: image_features)).tau
        if factor is not None:
            relative = factor / self.temperature.tau_min
            settings["temperature"] = ScaledTemperature(self.temperature, relative)
        loss = dyntemp_paired(image_features, text_features, symmetric=True, **settings)
        return {"contrastive_loss": loss} if output_dict else loss
