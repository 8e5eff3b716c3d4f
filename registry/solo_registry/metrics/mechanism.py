"""Similarities, gradients and temperatures of a contrastive loss's pairs, by population.

- A *true positive* is a pair that the loss pulls together.
- A *false negative* is a negative pair of two images with the same label.
- A *true negative* is a negative pair of two images with different labels.
- Any other negative pair is *unlabelled*.

Labels serve this analysis only.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from solo_registry.metrics.histogram import populations
from solo_registry.metrics.pair_mask import ComparedPairs, PairMask, TauOfPairs, pair_gradient

POPULATIONS = ("true_positive", "unlabelled", "false_negative", "true_negative")
QUANTITIES = ("pairs", "probability", "gradient_detached", "gradient_flow")


class Mechanism:
    """Adds up the pairs of batches.

    Args:
        bins: number of equal bins of the similarity on [-1, 1].
    """

    def __init__(self, bins: int) -> None:
        self.bins = bins
        self.anchors = 0
        self.sums = torch.zeros(len(QUANTITIES), len(POPULATIONS), bins, dtype=torch.float64)
        self.samples: list[tuple[Tensor, Tensor]] = []
        self.perplexity = self.reversed = self.negatives = 0.0
        self.taus: list[tuple[Tensor, Tensor]] = []

    def add(self, pairs: ComparedPairs, targets: Tensor, tau: TauOfPairs) -> None:
        """Add a batch.

        Args:
            pairs: the pairs of the batch.
            targets: (N,) labels of the images, -1 where unlabelled.
            tau: as in `pair_gradient`. If it is None, only the similarities are accumulated.
        """
        s, mask = pairs.similarities(), pairs.mask
        rows, columns = (targets.repeat(length // len(targets)) for length in s.shape)
        population = populations(rows, columns).masked_fill(mask.positive, 0)
        counted = mask.positive | mask.negative
        self.anchors += len(s)
        self.samples.append((s[counted].cpu(), population[counted].cpu()))
        weights = [torch.ones_like(s)]
        with torch.no_grad():
            temperatures = tau(s)
        if temperatures is not None:
            weights += self._pressure(s, mask, tau, temperatures.double().expand_as(s))
        index = ((s + 1) * (self.bins / 2)).long().clamp_(0, self.bins - 1)
        places = (index + self.bins * population)[counted]
        size = len(POPULATIONS) * self.bins
        for row, weight in enumerate(weights):
            chosen = weight[counted].cpu()  # on a GPU the order of the sum would be random
            total = torch.bincount(places.cpu(), weights=chosen, minlength=size)
            self.sums[row] += total.view(-1, self.bins)

    def _pressure(
        self, s: Tensor, mask: PairMask, tau: TauOfPairs, temperatures: Tensor
    ) -> list[Tensor]:
        """Return each pair's probability and the size of both gradients; accumulate the means."""
        detached, flow = (pair_gradient(s, mask, tau, detach=flag) for flag in (True, False))
        logits = s / temperatures
        probability = mask.denominator(logits).softmax(1)
        negative = mask.negative
        share = logits.masked_fill(~negative, -torch.inf).softmax(1)
        self.perplexity += float(torch.special.entr(share).sum(1).exp().sum())
        self.negatives += float(negative.sum())
        self.reversed += float((flow[negative] < 0).sum())
        self.taus.append((temperatures[mask.positive].cpu(), temperatures[negative].cpu()))
        return [probability, detached.abs(), flow.abs()]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row per population and bin that has pairs: their number, and sums per anchor."""
        edges = torch.linspace(-1, 1, self.bins + 1, dtype=torch.float64).tolist()
        pairs, *pressure = self.sums
        found = []
        for population, place in pairs.nonzero().tolist():
            row: dict[str, Any] = {"population": POPULATIONS[population]}
            row |= {"s_low": edges[place], "s_high": edges[place + 1]}
            row["pairs"] = int(pairs[population, place])
            if self.taus:
                sums = (float(part[population, place]) / self.anchors for part in pressure)
                row |= zip(QUANTITIES[1:], sums, strict=True)
            found.append(row)
        return found

    def summary(self) -> dict[str, float]:
        """Return means over all pairs and anchors, without those that are not defined."""
        s = torch.cat([part for part, _ in self.samples])
        population = torch.cat([part for _, part in self.samples])
        by_name = {name: s[population == number].numpy() for number, name in enumerate(POPULATIONS)}
        found = {f"s_{name}": float(part.mean()) for name, part in by_name.items() if len(part)}
        for one, other in (
            ("true_positive", "false_negative"),
            ("true_positive", "true_negative"),
            ("false_negative", "true_negative"),
        ):
            if len(by_name[one]) and len(by_name[other]):
                distance = wasserstein_distance(by_name[one], by_name[other])
                found[f"emd_{one}_{other}"] = float(distance)
        totals = dict(zip(QUANTITIES, self.sums.sum(2), strict=True))
        for name, total in totals.items():
            negatives = float(total[2] + total[3])
            if negatives > 0 and (self.taus or name == "pairs"):
                found[f"false_negative_share_{name}"] = float(total[2]) / negatives
        if self.taus:
            found["negatives"] = self.negatives / self.anchors
            found["effective_negatives"] = self.perplexity / self.anchors
            found["reversed_flow"] = self.reversed / max(1.0, self.negatives)
            for name, parts in zip(
                ("positive", "negative"), zip(*self.taus, strict=True), strict=True
            ):
                tau = torch.cat(parts)
                for statistic in ("mean", "min", "max"):
                    found[f"tau_{name}_{statistic}"] = float(getattr(tau, statistic)())
        return found
