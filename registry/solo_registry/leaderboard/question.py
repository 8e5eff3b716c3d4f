"""The primary question of a suite, which is written down before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from solo_registry.config.keys import key


@dataclass
class QuestionConfig:
    """Which strategies are tested against the reference, as one family, and what is equal.

    The board keeps it, so that a report cannot change the question after the answer is known.
    """

    contrasts: list[str] = key(
        list, "Strategies that are tested against the reference; Holm's correction counts these. "
        "Empty: all of them.")  # fmt: skip
    margin: float = key(
        0.5, "A difference is called equivalent if its corrected interval holds 0 and lies within "
        "this many points, on both sides of 0.", above=0)  # fmt: skip
    alpha: float = key(0.05, "Chance of any false win or loss in the family.", above=0, below=1)
