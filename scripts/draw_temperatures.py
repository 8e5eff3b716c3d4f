"""Draw every temperature function to docs/pictures/loss_temperatures.png.

python scripts/draw_temperatures.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch

from solo_dyntemp.temperature import CosineTemperature, build_temperature

mpl.use("Agg")
import matplotlib.pyplot as plt

CURVES = [
    "constant",
    "cosine",
    "shifted_cosine",
    "linear",
    "exponential",
    "monotone_cosine",
    "inverted_cosine",
]
OUT = Path(__file__).parent.parent / "docs" / "pictures" / "loss_temperatures.png"


def main() -> None:
    """Draw the curves, the scaled similarities, the gradients and the schedules."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    temperatures, logits, gradients, schedules = axes.flat
    s = torch.linspace(-1, 1, 401, dtype=torch.float64)
    for name in CURVES:
        tau = build_temperature(name)
        style = "--" if name == "constant" else "-"
        temperatures.plot(s, tau(s), style, label=name)
        logits.plot(s, s / tau(s), style)
    temperatures.plot(s, 0 * s + 0.1, ":", color="grey", label="dual_constant: negatives")
    temperatures.plot(s, 0 * s + 0.2, "-.", color="grey", label="dual_constant: positives")
    temperatures.set(xlabel="s", title="temperature, 0.1 to 0.2")
    logits.set(xlabel="s", title="logit s / τ(s)")
    logits.legend(*temperatures.get_legend_handles_labels(), fontsize=7)  # same colours

    for low in (0.1, 0.07):
        tau = CosineTemperature(low, 0.2)
        stopped = 1 / tau(s)
        gradients.plot(s, stopped, label=f"cosine {low}-0.2, detached: 1/τ")
        flowing = stopped * (1 - s * tau.derivative(s) * stopped)
        gradients.plot(s, flowing, "--", label=f"cosine {low}-0.2, not: (τ - s τ')/τ²")
    gradients.set(xlabel="s", title="d logit / ds")
    gradients.legend(fontsize=7)

    progress = torch.linspace(0, 1, 401)
    zero = torch.zeros(1)
    for name, label in (
        ("cosine_schedule", "cosine_schedule, all s"),
        ("stabilised", "stabilised, s = 0"),
    ):
        tau = build_temperature(name)
        values = []
        for t in progress.tolist():
            tau.set_progress(t)
            values.append(tau(zero).item())
        schedules.plot(progress, values, label=label)
    schedules.set(xlabel="progress of training", title="temperatures over time", yscale="log")
    schedules.legend(fontsize=7)
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT, dpi=90)


if __name__ == "__main__":
    main()
