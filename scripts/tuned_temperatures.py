"""Oracles, and a spline that an outer loop tunes, against the tuned fixed temperature, on digits.

    python scripts/tuned_temperatures.py oracles --seeds 10 --out oracles.json
    python scripts/tuned_temperatures.py oracles --tail 0.05 --seeds 10 --out tail.json
    python scripts/tuned_temperatures.py outer --seeds 8 --out outer.json

A command that is stopped goes on with the next seed when it is given again. One core takes half a
minute for a seed, of either.

The network, the views and the training are those of learned_temperatures.py. A seed chooses test,
held-out and training images (360, 360, 1,077), the start and the batches, so strategies are paired.
Every strategy tries as many settings on the held-out images, and its best is measured on the test
images. The measure is the kNN of the network's output, k = 20, on three views of each image, with
the training images as they are for a bank. An untrained network classifies digits as they are as
well as a trained one, and views much worse (34 % against 82 to 93 %).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from learned_temperatures import train, view
from scipy import stats
from sklearn.datasets import load_digits

from solo_dyntemp.temperature import (
    ClassFrequencyTemperature,
    ConstantTemperature,
    FunctionTemperature,
    GloFNDTemperature,
    MMTSTemperature,
    SameClassTemperature,
    SplineTemperature,
)
from solo_registry.leaderboard.power import detectable
from solo_registry.metrics.knn import knn_accuracy

Make = Callable[[int], Any]  # makes a temperature for a number of images
EPOCHS = {1.0: 25, 0.05: 60}  # of the oracles, by the share of the tail
OUTER_EPOCHS = 15
LOWEST, HIGHEST = 0.03, 1.0
TAUS = (0.03, 0.05, 0.08, 0.14, 0.25, 0.4, 0.65, 1.0)
PAIRS = [(low, low * ratio) for low in (0.03, 0.07, 0.15, 0.3) for ratio in (3.0, 10.0)]
AT = (-1.0, -0.5, 0.0, 0.5, 1.0)  # where the outer loop chooses τ
TRIALS = 16
# the settings of each oracle, of one number or of two
ORACLES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "fixed": (lambda n, tau: ConstantTemperature(tau), TAUS),
    "same_class": (SameClassTemperature, PAIRS),
    "glofnd, oracle": (lambda n, tau: GloFNDTemperature(n, tau, form="oracle"), TAUS),
    # on classes of equal size these two are a fixed temperature and a wave
    "class_frequency": (ClassFrequencyTemperature, PAIRS),
    "mm_ts": (lambda n, low, high: MMTSTemperature(n, low, low, high), PAIRS),
}


class Split:
    """Test, held-out and training images of one seed; the last class has `tail` of the first's."""

    def __init__(self, seed: int, tail: float, epochs: int) -> None:
        pixels, classes = load_digits(return_X_y=True)
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
        x, y = torch.tensor(pixels).float()[order] / 16, torch.tensor(classes)[order]
        torch.manual_seed(seed)
        queries = torch.cat([view(x[:720]).view(2, 360, 64) for _ in range(3)], dim=1)
        self.test, self.held_out = zip(queries, y[:720].view(2, 360).repeat(1, 3), strict=True)
        x, y = x[720:], y[720:]
        if tail < 1:
            most = int(torch.bincount(y).min())
            kept = [(y == c).nonzero()[: round(most * tail ** (c / 9)), 0] for c in range(10)]
            x, y = x[torch.cat(kept)], y[torch.cat(kept)]
        self.x, self.y, self.seed, self.epochs = x, y, seed, epochs

    def accuracy(self, make: Make, start: int) -> tuple[float, float, Any]:
        """Train once; return the kNN of held-out and test images in %, and the temperature."""
        network, temperature = train(make, self.x, self.epochs, 1000 * self.seed + start, self.y)
        network.eval()
        with torch.no_grad():
            bank = network(self.x)
            held_out, test = (
                knn_accuracy(bank, self.y, network(x), y, num_classes=10)[20]
                for x, y in (self.held_out, self.test)
            )
        return held_out, test, temperature


def oracles(seed: int, tail: float) -> dict[str, Any]:
    """Tune each oracle and the fixed temperature on one seed, and measure their best settings."""
    split, row = Split(seed, tail, EPOCHS[tail]), {}
    for name, (build, settings) in ORACLES.items():
        if tail == 1 and name in ("class_frequency", "mm_ts"):
            continue
        made = [np.atleast_1d(setting).tolist() for setting in settings]
        makes = [lambda n, build=build, values=values: build(n, *values) for values in made]
        held_out = [split.accuracy(make, 0)[0] for make in makes]
        best = int(np.argmax(held_out))
        row[name] = measured(split, makes[best]) | {"held out": held_out[best], "tau": made[best]}
    return row


def measured(split: Split, make: Make) -> dict[str, float]:
    """Return the accuracies of two more starts: of held-out images ("anew") and of test images."""
    runs = [split.accuracy(make, start)[:2] for start in (1, 2)]
    return dict(zip(("anew", "test"), np.mean(runs, axis=0).tolist(), strict=True))


def curve(values: list[float]) -> Make:
    """Return a maker of a frozen spline through log τ at `AT`, as far as 10 coefficients follow."""
    places = np.linspace(-1 - 2 / 7, 1 + 2 / 7, 10)  # of the coefficients
    spline = SplineTemperature(0.2, 0.9 * LOWEST, 1.1 * HIGHEST)
    spline.set_coefficients(torch.tensor(np.exp(np.interp(places, AT, np.log(values)))).float())
    with torch.no_grad():
        table = spline(torch.linspace(-1, 1, 2001))  # looked up, which is faster
    return lambda _: FunctionTemperature(lambda s: table[((s + 1) * 1000).round().long()])


def arms() -> dict[str, Callable[[optuna.Trial], Make]]:
    """Return each strategy of the outer loop, as a function of Optuna's trial."""

    def number(trial: optuna.Trial, name: str, low: float = LOWEST, high: float = HIGHEST) -> float:
        return trial.suggest_float(name, low, high, log=True)

    def fixed(trial: optuna.Trial) -> Make:
        tau = number(trial, "tau")
        return lambda _: ConstantTemperature(tau)

    def regularised(trial: optuna.Trial) -> Make:
        tau, strength = number(trial, "tau"), number(trial, "strength", 1e-3, 10)
        return lambda _: SplineTemperature(tau, 0.9 * LOWEST, 1.1 * HIGHEST, strength)

    return {
        "fixed": fixed,
        "outer loop": lambda trial: curve([number(trial, f"{s:g}") for s in AT]),
        "trained by the loss": regularised,
    }


def outer(seed: int) -> dict[str, Any]:
    """Tune each arm on one seed's held-out images by `TRIALS` trials; measure its best on test."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    split, row = Split(seed, 1.0, OUTER_EPOCHS), {}
    for name, suggest in arms().items():
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(lambda t, make=suggest: split.accuracy(make(t), 0)[0], n_trials=TRIALS)
        make = suggest(study.best_trial)  # type: ignore[arg-type]  # it suggests what it was
        tau = split.accuracy(make, 0)[2](torch.tensor(AT)).tolist()
        row[name] = measured(split, make) | {"held out": study.best_value, "tau": tau}
    return row


def report(rows: list[dict[str, Any]]) -> None:
    """Print means, paired differences with 95 % t intervals, and each seed's choice."""
    print(f"{len(rows)} seeds")
    reference = [row["fixed"]["test"] for row in rows]
    for name in rows[0]:
        found = [row[name] for row in rows]
        for key in ("held out", "anew", "test"):
            print(f"{name}, {key}: {np.mean([each[key] for each in found]):.2f} %", end="; ")
        difference = np.subtract([each["test"] for each in found], reference)
        n, spread = len(rows), float(difference.std(ddof=1)) if len(rows) > 1 else 0.0
        if spread:
            mean, half = difference.mean(), stats.t.isf(0.025, n - 1) * spread / math.sqrt(n)
            print(f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]", end=", ")
            print(f"detectable {detectable(spread, n, 0.05):.2f}", end="")
        print("\n  ", *([round(tau, 3) for tau in each["tau"]] for each in found))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=["oracles", "outer"])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--tail", type=float, default=1.0, choices=list(EPOCHS))
    parser.add_argument("--out", type=Path, required=True, help="a JSON file of rows, kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else []
    for seed in range(len(rows), options.seeds):
        rows.append(oracles(seed, options.tail) if options.part == "oracles" else outer(seed))
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    report(rows)


if __name__ == "__main__":
    main()
