"""Several independent tunings of each strategy, so that a board can compare strategies.

With one tuning, all final seeds share one selected point, and the test is about these points. With
several, each tuning has its own share of the tuning seeds, and selects a point for its own share of
the final seeds. What differs between tunings is then what the test takes as noise.
"""

from __future__ import annotations

from collections.abc import Sequence


def shares(seeds: Sequence[int], replicates: int) -> list[list[int]]:
    """Deal seeds to the tunings in turn.

    >>> shares([1, 2, 3, 4, 5], 2)
    [[1, 3, 5], [2, 4]]
    """
    return [list(seeds[i::replicates]) for i in range(replicates)]
