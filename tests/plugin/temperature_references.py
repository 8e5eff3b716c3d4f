"""Every temperature's loss and gradient a second time: plain loops from the sources' formulas.

Nothing here calls a temperature's formula, a kernel or log-sum-exp of the product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy.interpolate import BSpline
from torch import Tensor

from solo_dyntemp.temperature import Temperature

N, D = 6, 5  # images and dimensions; rows i and i + N are the views of image i
LABELS = [0, 0, 0, 1, 1, 2]
PROGRESS, STEPS = 0.43, 3
Pair = Callable[[int, int, Tensor], Any]
Result = tuple[Tensor | None, list[Tensor]]  # the loss, and gradients and states that must agree


def outputs(columns: int = D, seed: int = 0) -> Tensor:
    """Return outputs of a head, whose second views resemble the first ones."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(N, columns, generator=generator, dtype=torch.float64)
    second = first + 0.7 * torch.randn(N, columns, generator=generator, dtype=torch.float64)
    return torch.cat([first, second])


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())


def other(i: int) -> int:
    return (i + N) % (2 * N)


def nt_xent(
    z: Tensor, logit: Pair, *, factor: Pair | None = None, decoupled: bool = False
) -> list[Tensor]:
    """Return each anchor's -log(e^l_ip / Σ_j f_ij e^l_ij), anchors and candidates one by one."""
    losses = []
    for i in range(2 * N):
        total = torch.zeros((), dtype=z.dtype)
        for j in range(2 * N):
            if j == i or (decoupled and j == other(i)):
                continue
            weight = 1 if factor is None or j == other(i) else factor(i, j, cosine(z[i], z[j]))
            total = total + weight * torch.exp(logit(i, j, cosine(z[i], z[j])))
        positive = torch.exp(logit(i, other(i), cosine(z[i], z[other(i)])))
        losses.append(-torch.log(positive / total))
    return losses


def pairwise(tau: Callable[[Tensor], Tensor]) -> Callable[[Temperature], Result]:
    """Return the reference of a τ(s) that has no gradient."""
    return of_pairs(lambda temperature: lambda i, j, s: s / tau(s.detach()))


def of_pairs(
    logit: Callable[[Any], Pair], columns: int = D, **options: Any
) -> Callable[[Temperature], Result]:
    """Return the reference of a loss that is the mean over anchors."""

    def run(temperature: Temperature) -> Result:
        z = outputs(columns).requires_grad_()
        loss = torch.stack(nt_xent(z[:, :D], logit((temperature, z)), **options)).mean()
        (gradient,) = torch.autograd.grad(loss, z)
        return loss.detach(), [gradient]

    return run


def shifted(s: Tensor) -> Tensor:
    wave = 0.1 + 0.05 * (1 + torch.cos(math.pi * (s - 0.4) / 0.7))
    return wave if s <= 0.4 else torch.full_like(s, 0.2)


def macl(temperature: Temperature) -> Result:
    z = outputs().requires_grad_()
    mean = sum(float(cosine(z[i], z[other(i)]).detach()) for i in range(N)) / N
    tau = 0.1 * (1 + 0.8 * (mean - 0.1))
    losses = nt_xent(z, lambda i, j, s: s / tau)
    loss = torch.stack([loss / (1 - torch.exp(-loss.detach())) for loss in losses]).mean()
    return loss.detach(), list(torch.autograd.grad(loss, z))


def temo(temperature: Temperature) -> Result:
    z = outputs().requires_grad_()
    plain = nt_xent(z, lambda i, j, s: s / 0.01)
    grown = nt_xent(z, lambda i, j, s: s / (0.01 + 0.04 * torch.sqrt((s.detach() + 1) / 2)))
    weights = (PROGRESS - 1) ** 2, PROGRESS**2
    loss = weights[0] * torch.stack(plain).mean() + weights[1] * torch.stack(grown).mean()
    return loss.detach(), list(torch.autograd.grad(loss, z))


def dual_temperature(temperature: Temperature) -> Result:
    z = outputs().requires_grad_()
    sharp, soft = (nt_xent(z, lambda i, j, s, tau=tau: s / tau) for tau in (0.1, 1.0))
    parts = [
        loss * (1 - torch.exp(-wide.detach())) / (1 - torch.exp(-loss.detach()))
        for loss, wide in zip(sharp, soft, strict=True)
    ]
    loss = torch.stack(parts).mean()
    return loss.detach(), list(torch.autograd.grad(loss, z))


def shuffled(parts: Any) -> Pair:
    _, z = parts
    taus: dict[tuple[int, int], float] = {}
    for i in range(2 * N):
        negatives = [j for j in range(2 * N) if j not in (i, other(i))]
        shift = max(1, int(0.38 * len(negatives)))
        for place, j in enumerate(negatives):
            source = negatives[(place + shift) % len(negatives)]
            taus[i, j] = 0.15 - 0.05 * math.cos(math.pi * float(cosine(z[i], z[source]).detach()))

    def logit(i: int, j: int, s: Tensor) -> Tensor:
        return s / taus.get((i, j), 0.15 - 0.05 * torch.cos(math.pi * s.detach()))

    return logit


def learnable(temperature: Temperature) -> Result:
    z, t = outputs().requires_grad_(), torch.tensor(-math.log(0.07)).double().requires_grad_()
    loss = torch.stack(nt_xent(z, lambda i, j, s: s * torch.exp(t))).mean()
    return loss.detach(), list(torch.autograd.grad(loss, [z, t]))


def spline(temperature: Any) -> Result:
    c = temperature.coefficients().detach().double()
    step = 2 / 7
    curve = BSpline([-1 + step * k for k in range(-3, 11)], c.numpy(), 3)
    z = outputs().requires_grad_()
    losses = nt_xent(z, lambda i, j, s: s / float(curve(float(s.detach()))))
    logs = [math.log(float(value)) for value in c]
    rough = [logs[k + 2] - 2 * logs[k + 1] + logs[k] for k in range(8)]
    penalty = 0.1 * sum((log - math.log(0.2)) ** 2 for log in logs) / 10
    penalty += 0.1 * sum(value**2 for value in rough) / 8
    loss = torch.stack(losses).mean()
    return loss.detach() + penalty, list(torch.autograd.grad(loss, z))


def adnce(parts: Any) -> Pair:
    _, z = parts
    middle, width = torch.tensor([0.7, 0.5], dtype=torch.float64)
    normal = torch.distributions.Normal(middle, width)
    density = {
        (i, j): float(normal.log_prob(cosine(z[i], z[j]).detach()).exp())
        for i in range(2 * N)
        for j in range(2 * N)
        if j not in (i, other(i))
    }

    def factor(i: int, j: int, s: Tensor) -> float:
        mine = [value for (k, _), value in density.items() if k == i]
        return density[i, j] / (sum(mine) / len(mine))

    return factor


def glofnd(temperature: Temperature) -> Result:
    thresholds = [torch.ones((), dtype=torch.float64, requires_grad=True) for _ in range(N)]
    movers = [torch.optim.Adam([value], lr=0.3, betas=(0.9, 0.98)) for value in thresholds]
    for step in range(STEPS):
        z = outputs(seed=step).requires_grad_()
        s = {(i, j): float(cosine(z[i], z[j]).detach()) for i in range(2 * N) for j in range(2 * N)}
        negatives = {i: [j for j in range(2 * N) if j not in (i, other(i))] for i in range(2 * N)}
        for k, (value, mover) in enumerate(zip(thresholds, movers, strict=True)):
            above = sum(s[i, j] > float(value.detach()) for i in (k, k + N) for j in negatives[i])
            value.grad = torch.tensor(0.2 - above / (2 * (2 * N - 2)), dtype=torch.float64)
            mover.step()
            value.data.clamp_(-1, 1)
        kept = {
            i: [j for j in negatives[i] if s[i, j] <= float(thresholds[i % N].detach())]
            for i in negatives
        }

        def factor(i: int, j: int, s: Tensor, kept: Any = kept) -> float:
            if not kept[i]:
                return 1.0
            return (2 * N - 2) / len(kept[i]) if j in kept[i] else 0.0

        loss = torch.stack(nt_xent(z, lambda i, j, s: s / 0.1, factor=factor)).mean()
    (gradient,) = torch.autograd.grad(loss, z)
    return loss.detach(), [gradient, torch.stack([value.detach() for value in thresholds])]


def robust(kind: str) -> Callable[[Any], Result]:
    """Return the reference of iSogCLR (code), RGCL-g or TempNet (paper), by hand on the cosines."""

    def run(temperature: Any) -> Result:
        average = [0.0] * N
        scale = math.exp(-float(temperature.log_scale.detach())) if kind == "rgcl_g" else 0.0
        momentum, individual = [0.0] * N, [float(torch.tensor(0.2))] * N
        for step in range(STEPS):
            z = outputs(seed=step).requires_grad_()
            by_cosine = torch.zeros(2 * N, 2 * N, dtype=torch.float64)
            by_tau, seen = [], []
            taus = {
                "isogclr": lambda z: [individual[i % N] for i in range(2 * N)],
                "rgcl_g": lambda z: [scale] * 2 * N,
                "tempnet": lambda z: [float(tempnet(temperature, row).detach()) for row in z],
            }[kind](z)
            for i in range(2 * N):
                tau, p = taus[i], other(i)
                start = 0.0 if kind == "isogclr" else float(cosine(z[i], z[p]).detach())
                h = {
                    j: float(cosine(z[i], z[j]).detach()) - start
                    for j in range(2 * N)
                    if j not in (i, p)
                }
                e = {j: math.exp(value / tau) / len(h) for j, value in h.items()}
                g = sum(e.values())
                old = average[i % N]
                u = g if old == 0 else 0.1 * old + 0.9 * g
                for j, value in e.items():
                    by_cosine[i, j] += value / u
                by_cosine[i, p] -= 1 if kind == "isogclr" else g / u
                by_tau.append(math.log(u) + 0.3 - sum(e[j] * h[j] / tau for j in h) / u)
                seen.append(u)
            for k in range(N):
                average[k] = (seen[k] + seen[k + N]) / 2
                if kind == "isogclr":
                    mean = max(-3.0, min(3.0, (by_tau[k] + by_tau[k + N]) / 2))
                    momentum[k] = 0.1 * momentum[k] + 0.9 * mean
                    individual[k] = max(0.05, min(0.7, individual[k] - 0.01 * momentum[k]))
        cosines = torch.stack([torch.stack([cosine(a, b) for b in z]) for a in z])
        (gradient,) = torch.autograd.grad(cosines, z, by_cosine / (2 * N))
        found = [gradient, torch.tensor(average, dtype=torch.float64)]
        if kind == "isogclr":
            return None, [*found, torch.tensor(individual, dtype=torch.float64)]
        if kind == "rgcl_g":  # t = -log τ
            return None, [*found, torch.tensor(-scale * sum(by_tau) / (2 * N), dtype=torch.float64)]
        parameters = list(temperature.parameters())
        total = sum(tempnet(temperature, row) * by for row, by in zip(z, by_tau, strict=True))
        return None, [*found, *torch.autograd.grad(total / (2 * N), parameters)]

    return run


def tempnet(temperature: Any, row: Tensor) -> Tensor:
    """Return the network's τ of one anchor, prototype by prototype."""
    x = (row / (row * row).sum().sqrt()).detach()
    linear, last = temperature.project, temperature.weigh_prototypes
    d = 1 / (1 + torch.exp(-(linear.weight @ x + linear.bias)))
    p = torch.stack([(d * m).sum() / (m * m).sum().sqrt() for m in temperature.prototypes])
    powers = torch.exp(p / torch.exp(temperature.log_sharpness))
    share = powers / powers.sum() - 1 / len(p)
    score = (last.weight[0] * share / (1 + torch.exp(-p))).sum() + last.bias[0]
    return 0.05 + 0.65 / (1 + torch.exp(-score))


def by_class(low: float, high: float, wave: float = 0.0) -> Callable[[Any], Pair]:
    counts = [LABELS.count(label) for label in LABELS]
    least, most = min(counts), max(counts)

    def logit(parts: Any) -> Pair:
        def pair(i: int, j: int, s: Tensor) -> Tensor:
            share = (counts[i % N] - least) / (most - least)
            return s / (low + (high - low) * share + wave)

        return pair

    return logit


def same_class(parts: Any) -> Pair:
    return lambda i, j, s: s / (0.2 if LABELS[i % N] == LABELS[j % N] else 0.1)


WAVE = 0.45 * (1 + math.cos(2 * math.pi * 5 * PROGRESS))
RISEN = 0.1 + PROGRESS * 0.1
REFERENCES: dict[str, Callable[[Any], Result]] = {
    "constant": pairwise(lambda s: torch.full_like(s, 0.15)),
    "cosine": pairwise(lambda s: 0.1 + 0.05 * (1 + torch.cos(math.pi * (1 + s)))),
    "shifted_cosine": pairwise(shifted),
    "linear": pairwise(lambda s: 0.1 + 0.1 * s.abs()),
    "exponential": pairwise(
        lambda s: 0.1 + 0.1 * (1 - torch.exp(-3.5 * s.abs())) / (1 - math.exp(-3.5))
    ),
    "monotone_cosine": pairwise(lambda s: 0.1 + 0.05 * (1 - torch.cos(math.pi / 2 * (1 + s)))),
    "inverted_cosine": pairwise(lambda s: 0.1 + 0.05 * (1 + torch.cos(math.pi * s))),
    "arctanh": of_pairs(lambda parts: lambda i, j, s: torch.log((1 + s) / (1 - s))),
    "spline": spline,
    "dual_constant": of_pairs(lambda parts: lambda i, j, s: s / (0.2 if j == other(i) else 0.1)),
    "shuffled": of_pairs(shuffled),
    "cosine_schedule": pairwise(lambda s: torch.full_like(s, 0.1 + WAVE)),
    "stabilised": pairwise(
        lambda s: RISEN + (0.2 - RISEN) / 2 * (1 + torch.cos(math.pi * (1 + s)))
    ),
    "temo": temo,
    "macl": macl,
    "dual_temperature": dual_temperature,
    "isogclr": robust("isogclr"),
    "learnable": learnable,
    "rgcl_g": robust("rgcl_g"),
    "tempnet": robust("tempnet"),
    "uncertainty": of_pairs(
        lambda parts: lambda i, j, s: s / (1 + torch.exp(-parts[1][i, D])) / 0.07,
        D + 1,
        decoupled=True,
    ),
    "adnce": lambda temperature: of_pairs(
        lambda parts: lambda i, j, s: s / 0.4, factor=adnce((None, outputs()))
    )(temperature),
    "glofnd": glofnd,
    "mm_ts": of_pairs(by_class(0.05, 0.2, 0.04 * math.cos(2 * math.pi * 5 * PROGRESS))),
    "class_frequency": of_pairs(by_class(0.1, 1.0)),
    "same_class": of_pairs(same_class),
}
