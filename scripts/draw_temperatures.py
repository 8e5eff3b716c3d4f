"""Draw every temperature function to docs/pictures/loss_temperatures.png.

python scripts/draw_temperatures.py
"""

from __future__ import annotations

from pathlib import Path

import torch

from solo_dyntemp.temperature import CosineTemperature, build_temperature
from solo_registry.plots.labels import legend_below
from solo_registry.plots.style import BLACK, BLUE, COLOURS, ORANGE, new_figure, save

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
    axes = new_figure(2, 2, width=10.5, height=9.0)
    temperatures, logits, gradients, schedules = axes
    s = torch.linspace(-1, 1, 401, dtype=torch.float64)
    for number, (name, colour) in enumerate(zip(CURVES, COLOURS, strict=False)):
        tau = build_temperature(name)
        style = ("-", "--", "-.")[number % 3]
        for axis, values in ((temperatures, tau(s)), (logits, s / tau(s))):
            axis.plot(s, values, style, color=colour, linewidth=1.8, label=name)
    for value, style, which in ((0.1, (0, (1, 3)), "negatives"), (0.2, (0, (3, 3)), "positives")):
        temperatures.plot(s, 0 * s + value, linestyle=style, color=BLACK,
                          label=f"dual_constant: {which}")  # fmt: skip
    temperatures.set(xlabel="cosine similarity s", ylabel="τ(s)", title="Temperature, 0.1 to 0.2")
    logits.set(xlabel="cosine similarity s", ylabel="s / τ(s)", title="Logit")

    for low, colour in ((0.1, BLUE), (0.07, ORANGE)):
        tau = CosineTemperature(low, 0.2)
        stopped = 1 / tau(s)
        flowing = stopped * (1 - s * tau.derivative(s) * stopped)
        gradients.plot(s, stopped, color=colour, label=f"cosine {low}-0.2, detached: 1/τ")
        gradients.plot(s, flowing, "--", color=colour, label="not detached: (τ - s τ')/τ²")
    gradients.set(
        xlabel="cosine similarity s", ylabel="d logit / ds", title="Gradient of the logit"
    )

    progress = torch.linspace(0, 1, 401)
    zero = torch.zeros(1)
    for name, label, colour, style in (
        ("cosine_schedule", "cosine_schedule, all s", BLUE, "-"),
        ("stabilised", "stabilised, s = 0", ORANGE, "--"),
    ):
        tau = build_temperature(name)
        values = []
        for t in progress.tolist():
            tau.set_progress(t)
            values.append(tau(zero).item())
        schedules.plot(progress, values, style, color=colour, label=label)
    schedules.set(xlabel="progress of training", ylabel="τ", title="Temperature over time")
    schedules.set_yscale("log")
    for axis in axes:
        legend_below(axis, 2)
    save(schedules, OUT)


if __name__ == "__main__":
    main()
