"""A suite whose reference reaches further than a contender is refused."""

from __future__ import annotations

from typing import Any

import pytest

from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.leaderboard.plan import Planner
from solo_registry.leaderboard.ranges import check_ranges
from solo_registry.leaderboard.suite import read_suite

pytestmark = pytest.mark.slow

FIXED = {"words": ["method=simclr"], "grid": {"method_kwargs.temperature": [0.1, 0.4]}}
RATIO = "method_kwargs.tau_max/method_kwargs.tau_min"


def check(other: dict[str, Any], *changes: str, points: int = 2, **fixed: Any) -> None:
    node = {
        "words": ["data=digits"], "reference": "fixed", "tuning": {"points": points},
        "strategies": {"fixed": FIXED | fixed, "other": other},
    }  # fmt: skip
    with hydra_session([], "runs") as hydra:
        check_ranges(Planner(read_suite("s", node, changes, []), [], "runs", hydra.compose), "s")


def cosine(lows: list[float], ratios: list[float], **more: Any) -> dict[str, Any]:
    grid = {"method_kwargs.tau_min": lows, RATIO: ratios}
    return {"words": ["method=simclr_dyntemp"], "grid": grid} | more


def test_equal_and_wider_ranges_pass() -> None:
    check(cosine([0.1, 0.2], [2.0]))
    check(cosine([0.05, 0.2], [3.0]))
    check({"words": ["method=byol"], "grid": {"momentum.base_tau": [0.99, 0.9]}})


@pytest.mark.parametrize(
    ("lows", "ratio", "message"),
    [
        ([0.15, 0.2], 2.0, "'other' reaches temperatures from 0.15 to 0.4, .* 0.1 to 0.4.*lower"),
        ([0.1, 0.2], 1.5, "'other' reaches temperatures from 0.1 to 0.3, .* 'other' higher"),
    ],
)
def test_a_narrower_range_is_refused(lows: list[float], ratio: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(cosine(lows, [ratio]))
    check(cosine(lows, [ratio]), "same_range=false")


def test_what_an_extension_can_reach_is_compared_too() -> None:
    wide = {"bounds": {"method_kwargs.temperature": [0.05, 0.4]}}
    with pytest.raises(UserError, match=r"with the bounds, 'other' reaches temperatures from 0.1 "):
        check(cosine([0.1, 0.2], [2.0]), "tuning.extra=1", **wide)
    check(cosine([0.1, 0.2], [2.0], bounds={"method_kwargs.tau_min": [0.05, 0.2]}),
          "tuning.extra=1", **wide)  # fmt: skip
