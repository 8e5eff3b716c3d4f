"""Draw the curves that runs with `temperature=spline` learned.

    python scripts/draw_spline.py LABEL=RUN_FOLDER ...

The runs have the default bounds. A run folder comes from, for example:
    dyntemp pretrain method=simclr_dyntemp data=digits method_kwargs.temperature=spline
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from solo_dyntemp.temperature import CosineTemperature, SplineTemperature
from solo_registry.plots.labels import legend_below
from solo_registry.plots.style import BLACK, COLOURS, new_figure, save

OUT = Path(__file__).parent.parent / "docs" / "pictures" / "temperatures_spline.png"


def main(words: list[str]) -> None:
    """Draw τ(s) and the logits of each run, beside the paper's cosine."""
    axes = new_figure(1, 2, width=10.5, height=5.0)
    s = torch.linspace(-1, 1, 401)
    curves = {"cosine 0.1-0.2": CosineTemperature(0.1, 0.2)(s)}
    for word in words:
        label, _, folder = word.partition("=")
        (checkpoint,) = Path(folder).rglob("last.ckpt")
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        temperature = SplineTemperature()
        temperature.load_state_dict({"shape": state["temperature.shape"]})
        curves[label] = temperature(s).detach()
        found = temperature.range()
        print(f"{label}: tau {found.tau_min:.3f} to {found.tau_max:.3f}, at s = -1, 0, 0.5, 1: "
              f"{[round(float(curves[label][i]), 3) for i in (0, 200, 300, 400)]}, "
              f"logit monotone: {found.monotone}")  # fmt: skip
    for (label, tau), colour in zip(curves.items(), (BLACK, *COLOURS), strict=False):
        style = "--" if colour == BLACK else "-"
        for axis, values in zip(axes, (tau, s / tau), strict=True):
            axis.plot(s, values, style, color=colour, linewidth=1.8, label=label)
    axes[0].set(xlabel="cosine similarity s", ylabel="τ(s)", title="Temperature")
    axes[1].set(xlabel="cosine similarity s", ylabel="s / τ(s)", title="Logit")
    for axis in axes:
        legend_below(axis, 2)
    save(axes[0], OUT)


if __name__ == "__main__":
    main(sys.argv[1:])
