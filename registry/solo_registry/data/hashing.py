"""Random numbers as pure functions of keys; there is no state that a resumed run could lack."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

# splitmix64: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
LAST_SHIFT = np.uint64(31)


def mix(purpose: bytes, *numbers: int) -> int:
    """Hash a purpose and integers to 63 well-mixed bits, the same on every machine.

    Neighbouring seeds, epochs or indices give unrelated results, unlike the sum of the numbers.

    >>> mix(b"views", 5, 0, 1) == mix(b"views", 5, 1, 0)
    False
    """
    packed = struct.pack(f"<{len(numbers)}q", *numbers)
    digest = hashlib.blake2b(packed, digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "little") >> 1


def uniforms(key: int, indexes: Any, count: int) -> NDArray[np.float64]:
    """Draw `count` numbers for each index; each is a function of (key, index, column) alone.

    Args:
        key: the hash of the purpose, as `mix` returns it.
        indexes: (N,) integers.
        count: numbers per index.

    Returns:
        (N, count), uniform in [0, 1).

    >>> alone, among = uniforms(7, [3], 2), uniforms(7, [1, 2, 3], 5)
    >>> bool((alone[0] == among[2, :2]).all())
    True
    """
    places = np.asarray(indexes, np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        streams = _scramble(np.uint64(key) ^ _scramble(places * GOLDEN + GOLDEN))
        steps = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
        bits = _scramble(streams[:, None] + steps)
    shares: NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)
    return shares


def _scramble(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Map 64 bits to 64 bits, one to one, so that each bit depends on all."""
    for shift, factor in ROUNDS:
        bits = (bits ^ (bits >> shift)) * factor
    return bits ^ (bits >> LAST_SHIFT)
