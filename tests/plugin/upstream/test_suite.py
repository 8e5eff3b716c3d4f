"""The suite that fills in the tables of the pull requests."""

from __future__ import annotations

import pytest

from solo_registry.config.resolve import resolve
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.leaderboard.suite import read_suite


@pytest.mark.slow
def test_every_point_composes_with_solo_learns_settings() -> None:
    with hydra_session([], "runs") as hydra:
        suite = read_suite("upstream", hydra.option("suite", "upstream"), [], [])
        assert set(suite.question.contrasts) <= set(suite.strategies) - {suite.reference}
        for name, strategy in suite.strategies.items():
            recipe = resolve(hydra.compose([f"recipe=cifar/{name.removesuffix('_dyntemp')}"]))
            for point in strategy.points():
                words = [*suite.words, "data=cifar10", *strategy.words, *point]
                cfg = resolve(hydra.compose(words))
                assert cfg.method == name
                assert cfg.augmentations == recipe.augmentations
                for key in ("name", "batch_size", "lr", "classifier_lr", "weight_decay"):
                    assert cfg.optimizer[key] == recipe.optimizer[key]
                for key in ("proj_hidden_dim", "proj_output_dim", "queue_size"):
                    assert cfg.method_kwargs.get(key) == recipe.method_kwargs.get(key)
