from __future__ import annotations

import random
from typing import Any

import pytest

from solo_registry.config.hints import options_of
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.sweep.plan import Planner
from solo_registry.sweep.space import read_space

NODE: dict[str, Any] = {
    "parameters": {
        "tau_min": {"key": "method_kwargs.tau_min", "low": 0.0213, "high": 0.5, "log": True},
        "tau_max": {"key": "method_kwargs.tau_max", "low": "tau_min", "high": 1.0, "log": True},
        "optimizer.name": {"choices": ["adamw", "lars"]},
    }
}


def test_every_point_keeps_the_order_and_the_ends() -> None:
    """A range that begins at another parameter's value wastes no trial."""
    space, draw = read_space("s", NODE, []), random.Random(0)
    for _ in range(500):
        point = space.point({"tau_min": draw.random(), "tau_max": draw.random() ** 8,
                             "optimizer.name": draw.randrange(2)})  # fmt: skip
        assert 0.0213 <= point["tau_min"] <= point["tau_max"] <= 1.0
        assert point["optimizer.name"] in ("adamw", "lars")
    assert space.point({"tau_min": 0, "tau_max": 0, "optimizer.name": 1}) == {
        "tau_min": 0.0213, "tau_max": 0.0213, "optimizer.name": "lars",
    }  # fmt: skip


def test_corners_are_all_combinations_of_ends_and_choices() -> None:
    corners = list(read_space("s", NODE, []).corners())
    taus = {(corner["tau_min"], corner["tau_max"]) for corner in corners}
    assert taus == {(0.0213, 0.0213), (0.0213, 1.0), (0.5, 0.5), (0.5, 1.0)}
    assert len(corners) == 8


def test_half_way_is_the_geometric_mean_on_a_logarithmic_scale() -> None:
    space = read_space("s", NODE, ["parameters.tau_min.low=0.005"])
    point = space.point({"tau_min": 0.5, "tau_max": 0.5, "optimizer.name": 0})
    assert (point["tau_min"], point["tau_max"]) == (0.05, 0.2236)
    words = space.words_of(point)
    assert words[0] == "method_kwargs.tau_min=0.05" and words[2] == "optimizer.name=adamw"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("parameter.x=1", "Did you mean 'parameters"),
        ("parameters.tau_mn.low=0.1", "no parameter 'tau_mn'. Did you mean 'tau_min'"),
        ("parameters.tau_min.hi=0.1", r"'hi' not in 'ParameterConfig'"),
        ("parameters.tau_max.low=tau_mi", "Did you mean 'tau_min'"),
        ("parameters.tau_min.low=tau_max", "an earlier parameter with a range, got 'tau_max'"),
        ("parameters.tau_min.high=optimizer.name", "earlier parameter with a range"),
        ("parameters.tau_min.high=true", "must be a number"),
        ("parameters.tau_min.high=.nan", "high must be finite, got nan"),
        ("parameters.tau_min.low=0", "not positive, but log is true"),
        ("parameters.tau_min.low=2", "low reaches 2, above high"),
        ("parameters.tau_min.high=3", "tau_max: low reaches 3, above high"),
        ("parameters.tau_min.choices=[1]", "choices and a range"),
        ("metric=knn_acc", "Did you mean 'knn_acc1'"),
        ("intermediate=val_acc", "Did you mean 'val_acc1'"),
        ("pruner.name=medan", "Did you mean 'median'"),
        ("pruner.warmup=1", r"must be in \(0, 1\), got 1"),
        ("pruner.startup_trials=-1", "must be 0 or more, got -1"),
        ("validation_fraction=0", r"must be in \(0, 1\), got 0"),
        ("trials=0", "trials must be at least 1, got 0"),
        ("random_trials=0", "random_trials must be at least 1"),
        ("parallel=2 pruner.name=hyperband", "take median or none"),
        ("trials=many", "sweep.trials: Value 'many'"),
    ],
)  # fmt: skip
def test_bad_words_are_named(change: str, message: str) -> None:
    if change.endswith("=optimizer.name"):  # a choice, and earlier
        first = {"optimizer.name": NODE["parameters"]["optimizer.name"]}
        node = {"parameters": first | NODE["parameters"]}
    else:
        node = NODE
    with pytest.raises(UserError, match=message):
        read_space("s", node, change.split())


def test_too_many_corners_and_none_are_refused() -> None:
    many = {f"p{i}": {"low": 0, "high": 1} for i in range(11)}
    with pytest.raises(UserError, match="2048 corners to check, at most 1024"):
        read_space("s", {"parameters": many}, [])
    with pytest.raises(UserError, match="no parameters"):
        read_space("s", {}, [])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is not monotone")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("cosine", "temperature") else pytest.mark.nightly)
        for name in options_of("space")
    ],
)
def test_shipped_spaces_compose_at_every_corner(name: str) -> None:
    method = "simclr" if name == "temperature" else "simclr_dyntemp"
    with hydra_session([], "runs") as hydra:
        space = read_space(name, hydra.option("space", name), [])
        cfg = Planner(name, space, [f"method={method}"], hydra).check()
    assert space.about and cfg.method == method
    if method != "simclr":
        assert cfg.method_kwargs.temperature == name
