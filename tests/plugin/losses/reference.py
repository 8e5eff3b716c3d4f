"""Slow references, written from the formulas: loops over anchors and candidates, in double."""

from __future__ import annotations

import torch


def logit(a, b, temperature, detach):
    """s / τ(s) of two vectors."""
    s = a @ b / (a.norm() * b.norm())
    return s / temperature(s.detach() if detach and temperature.detachable else s)


def infonce(z, indexes, temperature, detach):
    losses = []
    for i in range(len(z)):
        everything, positives = [], []
        for j in range(len(z)):
            if j == i:
                continue
            value = logit(z[i], z[j], temperature, detach)
            everything.append(value)
            if indexes[j] == indexes[i]:
                positives.append(value)
        losses.append(torch.stack(everything).logsumexp(0) - torch.stack(positives).logsumexp(0))
    return torch.stack(losses).mean()


def queue(query, key, queue, temperature, detach):
    losses = []
    for i in range(len(query)):
        positive = logit(query[i], key[i], temperature, detach)
        others = [logit(query[i], n, temperature, detach) for n in queue.T]
        losses.append(torch.stack([positive, *others]).logsumexp(0) - positive)
    return torch.stack(losses).mean()


def dcl(z1, z2, temperature, detach, sigma=None):
    n = len(z1)
    weight = torch.ones(n, dtype=z1.dtype)
    if sigma is not None:
        cosine = torch.nn.functional.cosine_similarity(z1.detach(), z2.detach())
        weight = 2 - n * torch.softmax(cosine / sigma, 0)
    losses = []
    for mine, other in ((z1, z2), (z2, z1)):
        for i in range(n):
            negatives = [
                logit(mine[i], view[j], temperature, detach)
                for view in (mine, other)
                for j in range(n)
                if j != i
            ]
            positive = logit(mine[i], other[i], temperature, detach)
            losses.append(torch.stack(negatives).logsumexp(0) - weight[i] * positive)
    return torch.stack(losses).mean()


def paired(a, b, temperature, detach):
    losses = []
    for i in range(len(a)):
        logits = torch.stack([logit(a[i], row, temperature, detach) for row in b])
        losses.append(logits.logsumexp(0) - logits[i])
    return torch.stack(losses).mean()


def supcon_out(z, labels, temperature, detach):
    losses = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        logits = {j: logit(z[i], z[j], temperature, detach) for j in others}
        positives = [logits[j] for j in others if labels[j] == labels[i]]
        total = torch.stack(list(logits.values())).logsumexp(0)
        losses.append(total - torch.stack(positives).mean())
    return torch.stack(losses).mean()
