"""The two Triton kernels. Rows are embeddings at unit length; each program owns OWN of them.

Each program visits all rows of the other side, OTHER at a time, and computes their similarities
again. So it stores only its own result: no matrix, no atomics, the same bits in each run.
"""

from __future__ import annotations

import hashlib
import linecache
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl


@triton.jit
def exponential(x):
    """Return e^x. A result below 1e-38 is 0, so this needs none of tl.exp's scaling."""
    return tl.exp2(x * 1.4426950408889634)


@triton.jit
def reciprocal(x):
    """Return 1 / x for x > 0, with two rounding errors but none of a division's scaling."""
    root = tl.rsqrt(x)
    return root * root


@triton.jit
def cosine(x):
    """Return cos(x) to 4e-7, for x of a few turns, as the angles of a temperature are.

    tl.cos also handles the largest floats exactly. Inlined, its code needs more registers than
    exist. This is a polynomial in x^2 on [-π, π], from Chebyshev nodes.
    """
    y = _without_turns(x)
    square = y * y
    series = 1.7244428e-09
    series = series * square - 2.70788507e-07
    series = series * square + 2.47698654e-05
    series = series * square - 1.38878028e-03
    series = series * square + 4.16664890e-02
    series = series * square - 4.99999891e-01
    return series * square + 9.99999989e-01


@triton.jit
def sine(x):
    """Return sin(x) to 5e-7, as `cosine` does."""
    y = _without_turns(x)
    square = y * y
    series = 1.36126469e-10
    series = series * square - 2.47286890e-08
    series = series * square + 2.75358376e-06
    series = series * square - 1.98405335e-04
    series = series * square + 8.33332128e-03
    series = series * square - 1.66666659e-01
    return (series * square + 9.99999999e-01) * y


@triton.jit
def _without_turns(x):
    """Return x less the nearest multiple of 2π."""
    # a float of this size has no fraction: adding it rounds, and takes a quarter of tl.floor's time
    turns = (x * 0.15915494309189535 + 12582912.0) - 12582912.0
    y = x - turns * 6.28125  # few bits, so the product is exact; the rest of 2π is next
    return y - turns * 0.0019353071795864769


@lru_cache(maxsize=64)
def compiled(source: str) -> Any:
    """Return the Triton function of a source that `formula.write` made."""
    name = f"<temperature {hashlib.sha256(source.encode()).hexdigest()}>"
    # Triton reads the source of a function, and finds it in this cache
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space: dict[str, Any] = {"tl": tl, "sine": sine, "cosine": cosine, "__name__": __name__}
    exec(compile(source, name, "exec"), space)
    return triton.jit(space["formula"])


@triton.jit
def _load(rows, index, count, first, D: tl.constexpr, WIDTH: tl.constexpr):
    feature = first + tl.arange(0, WIDTH)
    inside = (index[:, None] < count) & (feature[None, :] < D)
    return tl.load(rows + index[:, None] * D + feature[None, :], mask=inside, other=0.0)


@triton.jit
def _tile(rows, index, count, D: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr):
    return _load(rows, index, count, 0, D, WIDTH) if STEP == WIDTH else rows


@triton.jit
def _similarities(
    mine, theirs, i, j, own_count, other_count,
    D: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    if STEP == WIDTH:  # `mine` and `theirs` are whole rows
        s = tl.dot(mine, tl.trans(theirs), input_precision=PRECISION)
    else:  # they point to rows that do not fit into the registers
        s = tl.zeros((i.shape[0], j.shape[0]), tl.float32)
        for first in range(0, WIDTH, STEP):
            a = _load(mine, i, own_count, first, D, STEP)
            b = _load(theirs, j, other_count, first, D, STEP)
            s = tl.dot(a, tl.trans(b), s, input_precision=PRECISION)
    return s


@triton.jit
def _left_out(i, j, own_offset, other_offset, other_count, BLOCK: tl.constexpr):
    left_out = (j >= other_count)[None, :]
    if BLOCK > 0:
        block, other_block = (i + own_offset) // BLOCK, (j + other_offset) // BLOCK
        left_out = left_out | (block[:, None] == other_block[None, :])
    return left_out


@triton.jit
def log_sum_exp(
    own, other, result, own_count, other_count, own_offset, other_offset, numbers,
    TAU: tl.constexpr, ODDS: tl.constexpr, BLOCK: tl.constexpr, PLAIN: tl.constexpr,
    PRECISION: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr,
    OWN: tl.constexpr, OTHER: tl.constexpr,
):  # fmt: skip
    """Write each own row's log Σ_j exp(s_ij / τ(s_ij)) to `result`.

    PLAIN: no logit is so large that exp needs a shift. ODDS: TAU returns exp(s / τ(s)); then PLAIN.
    """
    i = tl.program_id(0) * OWN + tl.arange(0, OWN)
    mine = _tile(own, i, own_count, D, WIDTH, STEP)
    largest = tl.full((OWN,), -1e30, tl.float32)  # not -inf, because -inf - -inf is NaN
    total = tl.zeros((OWN,), tl.float32)
    for start in range(0, other_count, OTHER):
        j = start + tl.arange(0, OTHER)
        theirs = _tile(other, j, other_count, D, WIDTH, STEP)
        s = _similarities(mine, theirs, i, j, own_count, other_count, D, WIDTH, STEP, PRECISION)
        left_out = _left_out(i, j, own_offset, other_offset, other_count, BLOCK)
        if ODDS:
            total += tl.sum(tl.where(left_out, 0.0, TAU(s, numbers)), 1)
        else:
            logits = tl.where(left_out, float("-inf"), s * reciprocal(TAU(s, numbers)))
            if PLAIN:
                total += tl.sum(exponential(logits), 1)
            else:
                larger = tl.maximum(largest, tl.max(logits, 1))
                powers = exponential(logits - larger[:, None])
                total = total * exponential(largest - larger) + tl.sum(powers, 1)
                largest = larger
    shift = 0.0 if PLAIN else largest
    tl.store(result + i, shift + tl.log(total), mask=i < own_count)


@triton.jit
def gradient(
    own, other, result, own_sums, other_sums, own_upstream, other_upstream,
    own_count, other_count, own_offset, other_offset, numbers, slope_numbers,
    TAU: tl.constexpr, SLOPE: tl.constexpr, ODDS: tl.constexpr, AS_ANCHOR: tl.constexpr,
    AS_CANDIDATE: tl.constexpr, BLOCK: tl.constexpr, PLAIN: tl.constexpr, PRECISION: tl.constexpr,
    D: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr, OWN: tl.constexpr,
    OTHER: tl.constexpr,
):  # fmt: skip
    """Write the gradient of each own row to `result`: as anchor, as candidate, or both.

    `sums` are the anchors' log-sums, and `upstream` their incoming gradients, PLAIN divided by the
    sums. SLOPE is τ', or None if no gradient flows through τ; with ODDS that of exp(s / τ(s)).
    """
    i = tl.program_id(0) * OWN + tl.arange(0, OWN)
    mine = _tile(own, i, own_count, D, WIDTH, STEP)
    if AS_ANCHOR:
        own_sum = tl.load(own_sums + i, mask=i < own_count, other=0.0)[:, None]
        own_factor = tl.load(own_upstream + i, mask=i < own_count, other=0.0)[:, None]
    total = tl.zeros((OWN, WIDTH), tl.float32)
    for start in range(0, other_count, OTHER):
        j = start + tl.arange(0, OTHER)
        theirs = _tile(other, j, other_count, D, WIDTH, STEP)
        s = _similarities(mine, theirs, i, j, own_count, other_count, D, WIDTH, STEP, PRECISION)
        left_out = _left_out(i, j, own_offset, other_offset, other_count, BLOCK)
        if ODDS:
            slope = tl.where(left_out, 0.0, SLOPE(s, slope_numbers))
        else:
            inverse = reciprocal(TAU(s, numbers))
            logits = s * inverse
            slope = inverse
            if SLOPE is not None:
                slope = inverse * (1.0 - logits * SLOPE(s, slope_numbers))
            logits = tl.where(left_out, float("-inf"), logits)
        weight = tl.zeros((OWN, OTHER), tl.float32)
        if AS_ANCHOR:
            weight += own_factor if PLAIN else exponential(logits - own_sum) * own_factor
        if AS_CANDIDATE:
            other_sum = tl.load(other_sums + j, mask=j < other_count, other=0.0)[None, :]
            other_factor = tl.load(other_upstream + j, mask=j < other_count, other=0.0)[None, :]
            weight += other_factor if PLAIN else exponential(logits - other_sum) * other_factor
        if PLAIN and not ODDS:
            weight *= exponential(logits)
        weight *= slope
        rows = theirs if STEP == WIDTH else _load(other, j, other_count, 0, D, WIDTH)
        total = tl.dot(weight.to(rows.dtype), rows, total, input_precision=PRECISION)
    feature = tl.arange(0, WIDTH)
    inside = (i[:, None] < own_count) & (feature[None, :] < D)
    tl.store(result + i[:, None] * D + feature[None, :], total, mask=inside)
