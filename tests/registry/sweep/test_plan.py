from __future__ import annotations

import pytest

from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.data.opened import open_data
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.leaderboard import plan as leaderboard
from solo_registry.leaderboard.suite import read_suite
from solo_registry.sweep.plan import Planner
from solo_registry.sweep.space import read_space

POINT = {"tau_min": 0.1, "tau_max": 0.3}
WORDS = ["method=simclr_dyntemp", "data=digits"]


def planner(hydra: object, *words: str, changes: tuple[str, ...] = ()) -> Planner:
    space = read_space("cosine", hydra.option("space", "cosine"), list(changes))  # type: ignore[attr-defined]
    return Planner("cosine", space, [*WORDS, *words], hydra)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_trial_measures_what_selects_on_held_out_images() -> None:
    with hydra_session([], "runs") as hydra:
        trial, given = planner(hydra).trial(1, POINT)
        cfg = resolve(given)
        cfg.data.digest = open_data(cfg.data).digest
        linear = planner(hydra, changes=("metric=linear_acc1",)).trial_overrides(POINT)
    assert cfg.data.validation_fraction == 0.2 and cfg.seed == 1001
    assert not (cfg.evaluation.baselines or cfg.evaluation.linear or cfg.telemetry.every_n_epochs)
    assert (cfg.method_kwargs.tau_min, cfg.method_kwargs.tau_max) == (0.1, 0.3)
    assert trial.run.identity == f"{config_hash(cfg)}/1001"
    assert "evaluation.linear=false" not in linear


def test_the_users_words_hold_for_trials_and_the_final_run() -> None:
    with hydra_session([], "runs") as hydra:
        mine = planner(hydra, "optimizer.lr=0.5", "evaluation.linear=true")
        trial, final = mine.trial_overrides(POINT), mine.final_overrides(POINT)
    assert {"optimizer.lr=0.5", "evaluation.linear=true"} <= set(trial) & set(final)
    assert "evaluation.linear=false" not in trial
    assert not any(word.startswith(("data.validation", "seed", "knn_eval")) for word in final)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("seed=3", "sweep.seed sets seed"),
        ("method_kwargs.tau_min=0.1", "space 'cosine' varies method_kwargs.tau_min"),
        ("++method_kwargs.temperature=linear", "space 'cosine' sets method_kwargs.temperature"),
        ("data.validation_fraction=0.1", "sweep.validation_fraction sets"),
        ("evaluation.enabled=false", "a sweep sets"),
        ("knn_eval.enabled=false", "sweep.intermediate sets"),
    ],
)
def test_words_that_the_sweep_sets_are_refused(word: str, reason: str) -> None:
    with (
        hydra_session([], "runs") as hydra,
        pytest.raises(UserError, match="cannot be set") as caught,
    ):
        planner(hydra, word)
    assert reason in str(caught.value)


@pytest.mark.slow
def test_without_pruning_a_trial_is_the_run_of_a_suites_tuning() -> None:
    node = {"words": ["evaluation.pictures=false"], "reference": "one", "tuning": {"points": 2},
            "strategies": {"one": {"words": [*WORDS, "method_kwargs.temperature=cosine"],
                           "grid": {"method_kwargs.tau_min": [0.1],
                                    "method_kwargs.tau_max": [0.3, 0.4]}}}}  # fmt: skip
    with hydra_session([], "runs") as hydra:
        suite = read_suite("s", node, [], [])
        jobs = leaderboard.Planner(suite, [], "runs", hydra.compose).tuning()
        unpruned, _ = planner(hydra, changes=("pruner.name=none",)).trial(1, POINT)
        pruned, _ = planner(hydra).trial(1, POINT)
        by_probe, _ = planner(hydra, changes=("intermediate=val_acc1",)).trial(1, POINT)
    shared = f"runs/{jobs[0].path}"
    assert unpruned.run.path.as_posix() == by_probe.run.path.as_posix() == shared
    assert pruned.run.path != unpruned.run.path  # online kNN is in the hash
