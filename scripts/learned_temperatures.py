"""What learned temperatures become on scikit-learn's digits, by a small network.

    python scripts/learned_temperatures.py

It takes about 20 seconds on one core, prints the numbers of docs/temperatures.md and draws
docs/pictures/temperatures_spline.png. The network is an MLP and the views are shifts by one pixel
with other brightness and noise: an example, not a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import Tensor, nn

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.temperature import CosineTemperature, ISogCLRTemperature, SplineTemperature
from solo_registry.plots.labels import legend_below
from solo_registry.plots.style import BLACK, COLOURS, new_figure, save

OUT = Path(__file__).parent.parent / "docs" / "pictures" / "temperatures_spline.png"
PENALTIES = {"no penalty": (0.0, 0.0), "strength 0.1": (0.1, 0.1), "strength 1": (1.0, 0.1)}
BATCH = 128


def digits(tail: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return images (N, 64) and classes (N,); the last class has `tail` of the first one's."""
    pixels, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:1437]
    x, y = torch.tensor(pixels).float()[order] / 16, torch.tensor(classes)[order]
    if tail == 1:
        return x, y
    least = int(torch.bincount(y).min())
    kept = [(y == c).nonzero()[: round(least * tail ** (c / 9)), 0] for c in range(10)]
    chosen = torch.cat(kept)
    return x[chosen], y[chosen]


def view(x: Tensor) -> Tensor:
    """Return the images (N, 64), each shifted, brightened and with noise."""
    count, place = len(x), torch.arange(8)
    padded = nn.functional.pad(x.view(-1, 8, 8), (1, 1, 1, 1))
    down, right = torch.randint(0, 3, (2, count, 1, 1))
    image = torch.arange(count)[:, None, None]
    moved = padded[image, place[:, None] + down, place + right]
    bright = moved * (0.7 + 0.6 * torch.rand(count, 1, 1))
    return (bright + 0.1 * torch.randn_like(bright)).flatten(1)


def train(
    make: Callable[[int], Any], x: Tensor, epochs: int, seed: int, labels: Tensor | None = None
) -> tuple[nn.Sequential, Any]:
    """Return network and temperature after training; the parameters of τ get a rate of 0.05.

    Oracles need the `labels`.
    """
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128),
        nn.ReLU(), nn.Linear(128, 64),
    )  # fmt: skip
    temperature = make(len(x))
    groups: list[dict[str, Any]] = [{"params": network.parameters(), "weight_decay": 1e-4}]
    trained = [p for p in getattr(temperature, "parameters", list)() if p.requires_grad]
    if trained:
        groups.append({"params": trained, "weight_decay": 0, "lr": 0.05})
    if labels is not None:
        temperature.use_labels(labels)
    optimizer = torch.optim.AdamW(groups, lr=2e-3)
    for epoch in range(epochs):
        temperature.set_progress(epoch / epochs)
        for chosen in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            z = network(torch.cat([view(x[chosen]), view(x[chosen])]))
            loss = dyntemp_infonce(z, chosen.repeat(2), temperature=temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network, temperature


def splines() -> None:
    """Train three splines, print their values, and draw them."""
    x, _ = digits()
    axes = new_figure(1, 2, width=10.5, height=5.0)
    s = torch.linspace(-1, 1, 401)
    curves = {"cosine 0.1-0.2": CosineTemperature(0.1, 0.2)(s)}
    for label, (strength, smooth) in PENALTIES.items():
        make = partial(SplineTemperature, strength=strength, smooth=smooth)
        _, spline = train(lambda _, make=make: make(), x, 25, 0)
        curves[label] = spline(s).detach()
        values = [round(float(curves[label][i]), 3) for i in (0, 200, 250, 300, 400)]
        grows = spline.range().monotone
        print(f"spline, {label}: tau at s = -1, 0, 0.25, 0.5, 1: {values}, monotone: {grows}")
    for (label, tau), colour in zip(curves.items(), (BLACK, *COLOURS), strict=False):
        style = "--" if colour == BLACK else "-"
        for axis, values in zip(axes, (tau, s / tau), strict=True):
            axis.plot(s, values, style, color=colour, linewidth=1.8, label=label)
    axes[0].set(xlabel="cosine similarity s", ylabel="τ(s)", title="Learned temperature")
    axes[1].set(xlabel="cosine similarity s", ylabel="s / τ(s)", title="Logit")
    for axis in axes:
        legend_below(axis, 2)
    save(axes[0], OUT)


def individual() -> None:
    """Train iSogCLR on a long tail with two seeds, and print how its temperatures spread."""
    x, y = digits(tail=0.05)
    sizes = torch.bincount(y)
    runs = [train(lambda n: ISogCLRTemperature(size=n), x, 150, seed)[1].tau for seed in (0, 1)]
    print(f"isogclr: {len(x)} images, classes of {sizes.tolist()}")
    for tau in runs:
        means = torch.stack([tau[y == c].mean() for c in range(10)])
        print(f"  from 0.1 to a mean of {tau.mean():.3f}, standard deviation {tau.std():.3f}, "
              f"{tau.min():.3f} to {tau.max():.3f}; rank correlation with the class size "
              f"{spearmanr(tau, sizes[y])[0]:.2f}; share of the variance between classes "
              f"{means[y].var() / tau.var():.2f}")  # fmt: skip
    print(f"  rank correlation of the two seeds {spearmanr(*runs)[0]:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    splines()
    individual()
