"""A learned τ(s): a cubic spline, which contains the shapes of `pairwise` up to a small error."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from solo_dyntemp.temperature.base import (
    GRID,
    Outcome,
    Temperature,
    check_finite,
    check_range,
)

KNOTS = 8
DIRECTIONS = ("free", "increasing", "decreasing")


class SplineTemperature(nn.Module, Temperature):
    r"""A learned τ(s): a cubic spline with 8 knots on [-1, 1], trained with the network.

    τ(s) = Σ_k c_k B_k(s) over the 10 cubic B-splines B_k of the knots. They are positive and add up
    to 1, so bounds on c are bounds on τ, and an increasing c makes τ increase. Our own, made to ask
    which τ(s) the loss itself prefers. The contrastive loss alone prefers a useless one (low τ for
    positives, high τ for negatives, and their similarities apart), so it gets a penalty: `strength`
    times the mean of (log c_k - log τ)², which draws τ(s) to a constant, plus `smooth` times the
    mean square of the second differences of log c. The gradient always reaches the c, whatever
    `detach_temperature` says.

    Args:
        tau: temperature at the start, the same at every s, inside the bounds.
        tau_min: lowest temperature.
        tau_max: highest temperature.
        strength: weight of the distance from `tau`, not negative.
        smooth: weight of the roughness, not negative.
        direction: "free", "increasing" or "decreasing"; the last two make τ monotone.

    Raises:
        ValueError: an argument is outside its range.

    >>> spline = SplineTemperature(tau=0.2)
    >>> spline(torch.tensor([-1.0, 0.3])).detach()
    tensor([0.2000, 0.2000])
    >>> from solo_dyntemp.temperature import CosineTemperature
    >>> s, cosine = torch.linspace(-1, 1, 101), CosineTemperature(0.1, 0.2)
    >>> bool((spline.fit(cosine)(s) - cosine(s)).abs().max() < 2e-4)
    True
    """

    def __init__(
        self,
        tau: float = 0.2,
        tau_min: float = 0.03,
        tau_max: float = 1.0,
        strength: float = 0.1,
        smooth: float = 0.1,
        direction: str = "free",
    ) -> None:
        super().__init__()
        check_finite(tau=tau, strength=strength, smooth=smooth)
        check_range(tau_min, tau_max)
        if not tau_min < tau < tau_max:
            raise ValueError(f"tau must be inside ({tau_min}, {tau_max}), got {tau}")
        for name, value in (("strength", strength), ("smooth", smooth)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}")
        self.tau, self.tau_min, self.tau_max = tau, tau_min, tau_max
        self.strength, self.smooth, self.direction = strength, smooth, direction
        self.elementwise = False  # type: ignore[misc]  # only autograd reaches the parameters
        self.shape = nn.Parameter(torch.zeros(KNOTS + 2 + (direction != "free")))
        self.set_coefficients(torch.full((KNOTS + 2,), tau))

    def coefficients(self) -> Tensor:
        """Return c, shape (10,), inside the bounds."""
        if self.direction == "free":
            share = self.shape.sigmoid()
        else:  # steps from one bound to the other; the last is left over
            share = self.shape.softmax(0).cumsum(0)[:-1]
            share = share if self.direction == "increasing" else share.flip(0)
        return self.tau_min + (self.tau_max - self.tau_min) * share

    @torch.no_grad()
    def set_coefficients(self, c: Tensor) -> None:
        """Choose the parameters so that `coefficients` returns `c`, as far as bounds allow it.

        Args:
            c: shape (10,); monotone, if `direction` is not "free".
        """
        share = ((c - self.tau_min) / (self.tau_max - self.tau_min)).clamp(1e-6, 1 - 1e-6)
        if self.direction == "free":
            self.shape.copy_(share.logit())
        else:
            share = share if self.direction == "increasing" else share.flip(0)
            steps = share.diff(prepend=share.new_zeros(1), append=share.new_ones(1))
            self.shape.copy_(steps.clamp_min(1e-6).log())

    @torch.no_grad()
    def fit(self, temperature: Temperature) -> SplineTemperature:
        """Take the shape of another temperature, by least squares on [-1, 1]; return itself."""
        s = torch.linspace(-1, 1, GRID, dtype=torch.float64)
        basis = torch.stack(list(_basis(s)), dim=1)
        c = torch.linalg.lstsq(basis, temperature(s)[:, None]).solution.squeeze(1)
        self.set_coefficients(c.to(self.shape.dtype))
        return self

    def forward(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        c = self.coefficients().to(s.dtype)
        tau = torch.zeros_like(s)
        for weight, basis in zip(c, _basis(s), strict=True):
            tau = torch.addcmul(tau, basis, weight)
        return tau if out is None else out.copy_(tau)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds."""
        with torch.enable_grad():
            leaf = s.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self(leaf).sum(), leaf)
        return slope if out is None else out.copy_(slope)

    def penalty(self) -> Tensor:
        """Return the regulariser, a scalar."""
        log = self.coefficients().log()
        distance = (log - math.log(self.tau)).square().mean()
        return self.strength * distance + self.smooth * log.diff(n=2).square().mean()

    def weigh(self, outcome: Outcome) -> Tensor:
        """Add the regulariser to every anchor's loss, so that it is in their mean once."""
        return outcome.losses + self.penalty()

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return (
            f"tau={self.tau}, tau_min={self.tau_min}, tau_max={self.tau_max}, "
            f"strength={self.strength}, smooth={self.smooth}, direction={self.direction!r}"
        )


def _basis(s: Tensor) -> list[Tensor]:
    """Return the cubic B-splines of equal knots at `s`, in its shape."""
    place = (s + 1) * ((KNOTS - 1) / 2)
    basis = []
    for k in range(-1, KNOTS + 1):
        distance = (place - k).abs()
        inner, outer = (1 - distance).clamp_min(0), (2 - distance).clamp_min(0)
        basis.append((outer.pow(3) - 4 * inner.pow(3)) / 6)
    return basis
