"""Exact log-sums over all pairs without the matrix: tile by tile, for elementwise temperatures.

Memory is O(M D + tile²). The forward pass computes the denominators. The backward pass computes the
tiles again, and from them the gradient. If anchors and candidates are the same rows, the matrix is
symmetric, because a pair's logit depends on its similarity alone. Then only the upper triangle is
computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from solo_dyntemp.losses.embeddings import full_precision
from solo_dyntemp.losses.kernels.settings import KernelSettings, refuse_double_backward
from solo_dyntemp.temperature import largest_logit

TILE = {"cpu": 512, "cuda": 4096}
# up to this |logit|, exp and its sums need no shift: they neither overflow nor lose small terms
PLAIN_EXP = {torch.float32: 40.0, torch.float64: 300.0}


class _Tiles:
    """Iterates over the tiles and computes exp(logit), in buffers that all tiles share."""

    def __init__(self, rows: Tensor, columns: Tensor, settings: KernelSettings) -> None:
        self.rows, self.columns, self.settings = rows, columns, settings
        self.tile = TILE.get(rows.device.type, TILE["cpu"])
        self.rational = settings.temperature.rational
        self.plain = largest_logit(settings.temperature) <= PLAIN_EXP[rows.dtype]
        area = min(self.tile, len(rows)) * min(self.tile, len(columns))
        self.buffers = [rows.new_empty(area) for _ in range(4)]

    def spans(self, tensor: Tensor, start: int = 0) -> Iterator[slice]:
        """Return the tiles along one edge, from `start`."""
        count = len(tensor)
        return (slice(i, min(i + self.tile, count)) for i in range(start, count, self.tile))

    def buffer(self, number: int, a: slice, b: slice) -> Tensor:
        """Return a scratch tensor in the shape of a tile."""
        height, width = a.stop - a.start, b.stop - b.start
        return self.buffers[number][: height * width].view(height, width)

    def logits(self, a: slice, b: slice) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return a tile's logits (-inf for excluded pairs), τ, and s τ'/τ unless τ is detached.

        All three are buffers that the caller may overwrite. At the default size of a tile, two of
        them fit into a core's cache. That is why most operations are in place.
        """
        s, tau = self.buffer(0, a, b), self.buffer(1, a, b)
        torch.mm(self.rows[a], self.columns[b].T, out=s)
        self.settings.temperature(s, out=tau)
        bend = None
        if not self.settings.detach:
            bend = self.settings.temperature.derivative(s, out=self.buffer(2, a, b))
            bend.mul_(s).div_(tau)
        return self._exclude(s.div_(tau), a, b, -torch.inf), tau, bend

    def powers(self, a: slice, b: slice) -> Tensor:
        """Return a tile's exp(logit), 0 for excluded pairs, in buffer 0; the others are free."""
        if not self.rational:
            return self.logits(a, b)[0].exp_()
        power, s = self.buffer(0, a, b), self.buffer(1, a, b)
        torch.mm(self.rows[a], self.columns[b].T, out=s)
        return self._exclude(self.settings.temperature.odds(s, out=power), a, b, 0)

    def slopes(self, a: slice, b: slice, sums: Tensor | None = None) -> Tensor:
        """Return a tile's d exp(logit) / ds, 0 for excluded pairs, in buffer 0; others are free.

        Args:
            a: the rows.
            b: the columns.
            sums: log-sums of the rows, shape (A, 1), that the powers are divided by.
        """
        if not self.rational:
            logits, tau, bend = self.logits(a, b)
            return _slope((logits if sums is None else logits.sub_(sums)).exp_(), tau, bend)
        slope, s = self.buffer(0, a, b), self.buffer(1, a, b)
        torch.mm(self.rows[a], self.columns[b].T, out=s)
        self.settings.temperature.odds_slope(s, out=slope)
        if sums is not None:
            slope.mul_((-sums).exp())
        return self._exclude(slope, a, b, 0)

    def _exclude(self, values: Tensor, a: slice, b: slice, value: float) -> Tensor:
        """Set the excluded pairs of a tile to `value`."""
        block, offset = self.settings.block, self.settings.offset
        if block and self._meets_excluded(a, b):
            row = torch.arange(a.start + offset, a.stop + offset, device=values.device) // block
            column = torch.arange(b.start, b.stop, device=values.device) // block
            values.masked_fill_(row[:, None] == column, value)
        return values

    def _meets_excluded(self, a: slice, b: slice) -> bool:
        block, offset = self.settings.block, self.settings.offset
        first, last = (a.start + offset) // block, (a.stop - 1 + offset) // block
        return bool(b.start // block <= last and first <= (b.stop - 1) // block)


def _slope(weight: Tensor, tau: Tensor, bend: Tensor | None) -> Tensor:
    """Multiply a tile's weights by d logit / ds: 1/τ, or (1 - s τ'/τ)/τ with its gradient."""
    weight.div_(tau)
    return weight if bend is None else weight.addcmul_(weight, bend, value=-1)


class _SymmetricLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, settings: KernelSettings) -> Tensor:
        with full_precision(z):
            tiles = _Tiles(z, z, settings)
            if tiles.plain:
                totals = z.new_zeros(len(z))
                for a in tiles.spans(z):
                    for b in tiles.spans(z, a.start):
                        power = tiles.powers(a, b)
                        totals[a] += power.sum(1)
                        if a.start != b.start:
                            totals[b] += power.sum(0)
                result = totals.log_()
            else:
                result = z.new_full((len(z),), -torch.inf)
                for a in tiles.spans(z):
                    for b in tiles.spans(z, a.start):
                        logits, _, _ = tiles.logits(a, b)
                        result[a] = torch.logaddexp(result[a], logits.logsumexp(1))
                        if a.start != b.start:
                            result[b] = torch.logaddexp(result[b], logits.logsumexp(0))
        ctx.save_for_backward(z, result)
        ctx.settings = settings
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        refuse_double_backward()
        z, result = ctx.saved_tensors
        with full_precision(z):
            tiles = _Tiles(z, z, ctx.settings)
            gradient = torch.zeros_like(z)
            share = upstream * (-result).exp()  # of each anchor; finite where exp is plain
            for a in tiles.spans(z):
                for b in tiles.spans(z, a.start):
                    if tiles.plain:
                        weight = tiles.slopes(a, b)
                        shares = torch.add(share[a, None], share[b], out=tiles.buffer(1, a, b))
                        weight.mul_(shares)
                    else:
                        logits, tau, bend = tiles.logits(a, b)
                        mine = torch.sub(logits, result[a, None], out=tiles.buffer(3, a, b))
                        mine.exp_().mul_(upstream[a, None])
                        theirs = logits.sub_(result[b]).exp_().mul_(upstream[b])
                        weight = _slope(theirs.add_(mine), tau, bend)
                    gradient[a].addmm_(weight, z[b])
                    if a.start != b.start:
                        gradient[b].addmm_(weight.T, z[a])
        return gradient, None


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, settings: KernelSettings) -> Tensor:
        with full_precision(rows):
            tiles = _Tiles(rows, columns, settings)
            result = rows.new_full((len(rows),), -torch.inf)
            for a in tiles.spans(rows):
                for b in tiles.spans(columns):
                    if tiles.plain:
                        total = tiles.powers(a, b).sum(1).log_()
                    else:
                        total = tiles.logits(a, b)[0].logsumexp(1)
                    result[a] = torch.logaddexp(result[a], total)
        ctx.save_for_backward(rows, columns, result)
        ctx.settings = settings
        return result

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        refuse_double_backward()
        rows, columns, result = ctx.saved_tensors
        for_rows, for_columns, _ = ctx.needs_input_grad
        with full_precision(rows):
            tiles = _Tiles(rows, columns, ctx.settings)
            row_gradient = torch.zeros_like(rows) if for_rows else None
            column_gradient = torch.zeros_like(columns) if for_columns else None
            for a in tiles.spans(rows):
                for b in tiles.spans(columns):
                    weight = tiles.slopes(a, b, result[a, None]).mul_(upstream[a, None])
                    if row_gradient is not None:
                        row_gradient[a].addmm_(weight, columns[b])
                    if column_gradient is not None:
                        column_gradient[b].addmm_(weight.T, rows[a])
        return row_gradient, column_gradient, None


def logsumexp(rows: Tensor, columns: Tensor, settings: KernelSettings) -> Tensor:
    """Return log Σ_j exp(s_ij / τ(s_ij)) over the candidates j that are not excluded, shape (A,).

    Args:
        rows: anchors at unit length, shape (A, D), float32 or double.
        columns: candidates at unit length, shape (B, D). Pass the tensor `rows` itself if anchors
            and candidates are the same; this halves the work.
        settings: the temperature, the gradient mode and the excluded pairs.

    Raises:
        RuntimeError: a second derivative is requested.
    """
    if rows is columns:
        return _SymmetricLogSumExp.apply(rows, settings)  # type: ignore[no-any-return]
    return _LogSumExp.apply(rows, columns, settings)  # type: ignore[no-any-return]
