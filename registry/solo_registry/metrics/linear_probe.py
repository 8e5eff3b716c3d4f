"""Deterministic linear probe: multinomial logistic regression on frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_registry.metrics.accuracy import top_accuracy
from solo_registry.metrics.checks import UNLABELLED, check_split, check_targets

L2_GRID = (0.1, 0.01, 0.001)
"""Default weight decays to choose from, strongest first."""

_MAX_ITER = 1000
_TOLERANCE = 1e-5
_HELD_OUT = 5
_SPLIT_SEED = 0
_MAX_ROTATED_DIM = 4096


def describe_protocol(l2: Sequence[float] = L2_GRID) -> str:
    """Return a text that names the probe's protocol.

    Args:
        l2: weight decays to choose from.

    Returns:
        One line without a final stop.

    >>> print(describe_protocol([0.01]))
    L-BFGS logistic regression, standardised frozen features, weight decay 0.01
    """
    text = "L-BFGS logistic regression, standardised frozen features, weight decay "
    values = " / ".join(f"{value:g}" for value in l2)
    return text + (values if len(l2) == 1 else f"chosen from {values} on 1/{_HELD_OUT} of train")


PROTOCOL = describe_protocol()


@dataclass(frozen=True)
class ProbeResult:
    """Outcome of a linear probe.

    Attributes:
        acc1: top-1 accuracy in percent.
        acc5: top-5 accuracy in percent, None with five classes or fewer.
        l2: weight decay used.
        converged: whether the final fit reached the gradient tolerance.
        protocol: text that names the protocol.
        scores: (M, C) of the test rows, on the CPU.
        weight: (C, D) float64 of the classifier, on the CPU; it takes features as they are.
        bias: (C,) float64.
    """

    acc1: float
    acc5: float | None
    l2: float
    converged: bool
    protocol: str
    scores: Tensor = field(repr=False, compare=False)
    weight: Tensor = field(repr=False, compare=False)
    bias: Tensor = field(repr=False, compare=False)


@dataclass(frozen=True)
class _Classifier:
    weight: Tensor
    bias: Tensor
    converged: bool

    def scores(self, feats: Tensor) -> Tensor:
        return feats.to(self.weight) @ self.weight.T + self.bias


@torch.inference_mode(False)  # for features made in inference mode
def linear_probe(
    train_feats: Tensor,
    train_targets: Tensor,
    test_feats: Tensor,
    test_targets: Tensor,
    *,
    num_classes: int,
    l2: Sequence[float] = L2_GRID,
    device: torch.device | str | None = None,
) -> ProbeResult:
    """Fit a linear classifier on train features and measure it on test features.

    Minimises mean cross-entropy + l2 / 2 ||W||^2 (the bias is free) by full-batch L-BFGS with a
    strong Wolfe search, in float64, on features standardised with train statistics. The problem is
    convex and starts at zero, so there is no seed and no schedule; on one machine the same input
    gives the same bits. scikit-learn's C is 1 / (l2 N).

    With several weight decays, each is fitted on four fifths of the train rows (fixed split). The
    most accurate on the remaining fifth, or the strongest of several, is fitted again on all train
    rows. The test rows play no part. With fewer than five labelled train rows the first is taken.

    Args:
        train_feats: (N, D) features; D is meant to be below some thousands.
        train_targets: (N,) classes in [0, num_classes); rows with -1 (unlabelled) are left out.
        test_feats: (M, D) features.
        test_targets: (M,) classes; rows with -1 are left out.
        num_classes: number of classes C.
        l2: positive weight decays, strongest first.
        device: where to compute, in float64; that of `train_feats` by default.

    Returns:
        Accuracies with the weight decay and the protocol.

    Raises:
        ValueError: if shapes, dtypes or ranges are wrong or no train or test row is labelled.

    >>> feats = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
    >>> targets = torch.tensor([0, 0, 1, 1])
    >>> linear_probe(feats, targets, feats, targets, num_classes=2).acc1
    100.0
    """
    check_split(train_feats, train_targets, test_feats, num_classes)
    check_targets("test_targets", test_targets, len(test_feats), num_classes)
    if not l2 or not all(0 < value < float("inf") for value in l2):
        raise ValueError(f"l2 must hold positive finite weight decays, got {list(l2)}")
    device = torch.device(device or train_feats.device)
    keep = train_targets != UNLABELLED
    feats = train_feats.detach()[keep.to(train_feats.device)].to(device, torch.float64)
    targets = train_targets[keep].to(device, torch.long)
    if not len(targets):
        raise ValueError(f"train_targets holds no labelled row among {len(train_targets)}")
    chosen = _choose(feats, targets, num_classes, l2)
    (classifier,) = _fit(feats, targets, num_classes, [chosen])
    scores = classifier.scores(test_feats.detach())
    return ProbeResult(
        acc1=top_accuracy(scores, test_targets),
        acc5=top_accuracy(scores, test_targets, 5) if num_classes > 5 else None,
        l2=chosen,
        converged=classifier.converged,
        protocol=describe_protocol(l2),
        scores=scores.cpu(),
        weight=classifier.weight.cpu(),
        bias=classifier.bias.cpu(),
    )


def _choose(feats: Tensor, targets: Tensor, num_classes: int, l2: Sequence[float]) -> float:
    """Return the weight decay with the best accuracy on a fifth of the train rows."""
    held_out = len(targets) // _HELD_OUT
    if len(l2) == 1 or held_out == 0:
        return l2[0]
    generator = torch.Generator().manual_seed(_SPLIT_SEED)
    order = torch.randperm(len(targets), generator=generator).to(feats.device)
    held, kept = order[:held_out], order[held_out:]
    accuracies = [
        top_accuracy(classifier.scores(feats[held]), targets[held])
        for classifier in _fit(feats[kept], targets[kept], num_classes, l2)
    ]
    return l2[accuracies.index(max(accuracies))]


def _fit(
    feats: Tensor, targets: Tensor, num_classes: int, l2: Sequence[float]
) -> list[_Classifier]:
    """Fit one classifier per weight decay.

    The features are rotated to their principal axes, and each weight is scaled by the curvature
    along its axis (Böhning's bound: at most variance / 2, plus l2). This change of variables keeps
    the minimum and saves most of the iterations.
    """
    mean = feats.mean(dim=0)
    spread = feats.std(dim=0, correction=0)
    # A constant feature has a spread of rounding errors; scaled up it would be pure noise.
    constant = spread <= 1e-7 * mean.abs()
    spread = torch.where(constant, torch.ones_like(spread), spread)
    inputs = ((feats - mean) / spread).masked_fill_(constant, 0.0)
    if inputs.shape[1] <= _MAX_ROTATED_DIM:
        variances, axes = torch.linalg.eigh(inputs.T @ inputs / len(inputs))
        inputs = inputs @ axes
    else:
        variances, axes = torch.ones_like(mean), None
    classifiers = []
    for decay in l2:
        scale = (variances.clamp(min=0) / 4 + decay).rsqrt()
        weight, bias, converged = _minimise(inputs, targets, num_classes, scale, decay)
        weight = weight if axes is None else weight @ axes.T
        weight = (weight / spread).masked_fill(constant, 0.0)
        classifiers.append(_Classifier(weight, bias - weight @ mean, converged))
    return classifiers


@torch.enable_grad()
def _minimise(
    inputs: Tensor, targets: Tensor, num_classes: int, scale: Tensor, l2: float
) -> tuple[Tensor, Tensor, bool]:
    """Minimise the penalised loss over weight = scaled * scale and bias."""
    scaled = inputs.new_zeros((num_classes, inputs.shape[1]), requires_grad=True)
    bias = inputs.new_zeros(num_classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [scaled, bias],
        max_iter=_MAX_ITER,
        max_eval=2 * _MAX_ITER,
        tolerance_grad=_TOLERANCE,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        solver.zero_grad()
        weight = scaled * scale
        loss = F.cross_entropy(inputs @ weight.T + bias, targets)
        loss = loss + 0.5 * l2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    closure()
    gradients = [parameter.grad for parameter in (scaled, bias) if parameter.grad is not None]
    steepest = max(float(gradient.abs().max()) for gradient in gradients)
    return (scaled * scale).detach(), bias.detach(), steepest <= _TOLERANCE
