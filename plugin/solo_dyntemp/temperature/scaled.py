"""A temperature times a number: how CLIP's logit scale meets τ(s)."""

from __future__ import annotations

from torch import Tensor

from solo_dyntemp.temperature.base import BatchContext, Temperature
from solo_registry.metrics.pair_mask import PairMask


class ScaledTemperature(Temperature):
    """Another temperature times a factor; the gradient reaches a factor that is a tensor.

    Args:
        temperature: any temperature that weighs neither anchors nor pairs.
        factor: positive; a number or a scalar tensor.

    Raises:
        ValueError: `temperature` weighs anchors, at temperatures of its own, or pairs.

    >>> import torch
    >>> from solo_dyntemp.temperature import ConstantTemperature
    >>> ScaledTemperature(ConstantTemperature(0.2), 0.5)(torch.zeros(1))
    tensor([0.1000])
    """

    def __init__(self, temperature: Temperature, factor: Tensor | float) -> None:
        for hook in ("weigh", "log_weights", "survey"):
            if getattr(type(temperature), hook) is not getattr(Temperature, hook):
                raise ValueError(f"{temperature} weighs anchors or pairs, so it cannot be scaled")
        self.temperature, self.factor = temperature, factor
        trained = isinstance(factor, Tensor) and factor.requires_grad
        self.elementwise = temperature.elementwise and not trained  # type: ignore[misc]
        self.detachable = temperature.detachable  # type: ignore[misc]
        self.outputs = temperature.outputs  # type: ignore[misc]

    @property
    def tau_min(self) -> float:  # type: ignore[override]
        """Lower bound of τ; reading it waits for a factor on the GPU."""
        return self.temperature.tau_min * float(self.factor)

    @property
    def tau_max(self) -> float:  # type: ignore[override]
        """Upper bound of τ."""
        return self.temperature.tau_max * float(self.factor)

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ for every element of `s`."""
        if out is None:
            return self.temperature(s).mul(self.factor)
        return self.temperature(s, out=out).mul_(self.factor)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds."""
        if out is None:
            return self.temperature.derivative(s).mul(self.factor)
        return self.temperature.derivative(s, out=out).mul_(self.factor)

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the batch's temperature, scaled."""
        return ScaledTemperature(self.temperature.for_batch(batch), self.factor)

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        """Return τ of a block of pairs."""
        return self.temperature.pairs(s, mask).mul(self.factor)

    def set_progress(self, progress: float) -> None:
        """Pass the progress of the training on."""
        self.temperature.set_progress(progress)
