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
def sine(x):
    """Return sin(x) for small |x|.

    tl.sin and tl.cos also handle the largest floats exactly. Inlined, their code needs more
    registers than exist. The angles of a temperature are only a few π.
    """
    half_turns = tl.floor(x * 0.3183098861837907 + 0.5)
    return _sine_of_rest(x, half_turns, half_turns)


@triton.jit
def cosine(x):
    """Return cos(x) = sin(x + π/2) for small |x|."""
    half_turns = tl.floor(x * 0.3183098861837907) + 1.0
    return _sine_of_rest(x, half_turns - 0.5, half_turns)


@triton.jit
def _sine_of_rest(x, removed, half_turns):
    y = x - removed * 3.140625  # few bits, so the product is exact; the rest of π is next
    y = y - removed * 0.0009676535897932385
    square = y * y
    series = 1.6059043836821613e-10  # 1/13!, on |y| <= π/2 the next term is below 1e-9
    series = series * square - 2.505210838544172e-08
    series = series * square + 2.7557319223985893e-06
    series = series * square - 1.984126984126984e-04
    series = series * square + 8.333333333333333e-03
    series = series * square - 1.6666666666666666e-01
    odd = half_turns - 2.0 * tl.floor(0.5 * half_turns)
    return (y + y * square * series) * (1.0 - 2.0 * odd)


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
            logits = tl.where(left_out, float("-inf"), s / TAU(s, numbers))
            if PLAIN:
                total += tl.sum(tl.exp(logits), 1)
            else:
                larger = tl.maximum(largest, tl.max(logits, 1))
                powers = tl.exp(logits - larger[:, None])
                total = total * tl.exp(largest - larger) + tl.sum(powers, 1)
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
            inverse = 1.0 / TAU(s, numbers)
            logits = s * inverse
            slope = inverse
            if SLOPE is not None:
                slope = inverse * (1.0 - logits * SLOPE(s, slope_numbers))
            logits = tl.where(left_out, float("-inf"), logits)
        weight = tl.zeros((OWN, OTHER), tl.float32)
        if AS_ANCHOR:
            weight += own_factor if PLAIN else tl.exp(logits - own_sum) * own_factor
        if AS_CANDIDATE:
            other_sum = tl.load(other_sums + j, mask=j < other_count, other=0.0)[None, :]
            other_factor = tl.load(other_upstream + j, mask=j < other_count, other=0.0)[None, :]
            weight += other_factor if PLAIN else tl.exp(logits - other_sum) * other_factor
        if PLAIN and not ODDS:
            weight *= tl.exp(logits)
        weight *= slope
        rows = theirs if STEP == WIDTH else _load(other, j, other_count, 0, D, WIDTH)
        total = tl.dot(weight.to(rows.dtype), rows, total, input_precision=PRECISION)
    feature = tl.arange(0, WIDTH)
    inside = (i[:, None] < own_count) & (feature[None, :] < D)
    tl.store(result + i[:, None] * D + feature[None, :], total, mask=inside)
