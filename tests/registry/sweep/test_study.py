from __future__ import annotations

import optuna
import pytest

from solo_registry.sweep.space import SpaceConfig, read_space
from solo_registry.sweep.study import ask, by_importance, new_study

PARAMETERS = {name: {"low": 0.0, "high": 1.0} for name in ("idle", "other", "main")}


def space(*changes: str) -> SpaceConfig:
    return read_space("s", {"parameters": PARAMETERS}, ["random_trials=4", *changes])


def asked(count: int, mine: SpaceConfig) -> tuple[optuna.Study, list[dict[str, float]]]:
    study, points = new_study(mine, "s", 10), []
    for _ in range(count):
        trial, shares = ask(study, mine)
        points.append(shares)
        study.tell(trial, 90 - abs(shares["main"] - 0.3) - 0.01 * shares["other"])
    return study, points


def test_a_study_told_the_same_asks_for_the_same_and_more_trials_go_on() -> None:
    long = asked(14, space())[1]
    assert asked(14, space())[1] == long and asked(9, space())[1] == long[:9]
    assert asked(9, space("sampler_seed=1"))[1] != long[:9]


def test_the_sampler_learns() -> None:
    points = asked(40, space("random_trials=10"))[1]

    def off(part: list[dict[str, float]]) -> float:
        return sum(abs(point["main"] - 0.3) for point in part) / len(part)

    assert off(points[25:]) < off(points[:10]) / 2


def test_the_parameter_that_matters_comes_first() -> None:
    study, _ = asked(20, space())
    assert by_importance(study, space())[0] == "main"
    assert by_importance(asked(3, space())[0], space()) == list(PARAMETERS)


@pytest.mark.parametrize("name", ["median", "halving", "hyperband", "none"])
def test_pruners_let_the_warmup_pass_and_end_what_is_behind(name: str) -> None:
    mine = space(f"pruner.name={name}", "pruner.warmup=0.35", "pruner.startup_trials=3")
    study = new_study(mine, "s", 10)
    ends = []
    for number in range(30):
        trial, _ = ask(study, mine)
        for epoch in range(1, 11):
            trial.report(90.0 - number, epoch)
            if trial.should_prune():
                ends.append(epoch)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, 90.0 - number)
    if name == "none":
        assert not ends
    else:
        assert len(ends) > 9 and min(ends) == 4
