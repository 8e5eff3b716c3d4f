from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.config.schema import EvaluationConfig
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.leaderboard.board import Choice
from solo_registry.leaderboard.plan import Planner
from solo_registry.leaderboard.ranges import check_ranges
from solo_registry.leaderboard.run import run_board, sort_overrides
from solo_registry.leaderboard.suite import parse_seeds, read_suite
from solo_registry.leaderboard.tuning import select
from solo_registry.runs.records import Record

NODE: dict[str, Any] = {
    "words": ["data=digits"],
    "reference": "fixed",
    "tuning": {"points": 2, "seeds": [7, 8]},
    "strategies": {
        "fixed": {"words": ["method=simclr"], "grid": {"method_kwargs.temperature": [0.1, 0.5]}},
        "cosine": {
            "words": ["method=simclr_dyntemp"],
            "grid": {"method_kwargs.tau_max": [0.2, 0.3]},
        },
    },
}


def test_every_strategy_gets_the_same_budget_and_the_reference_stays() -> None:
    suite = read_suite("s", NODE, [], [])
    assert [len(s.points()) for s in suite.strategies.values()] == [2, 2]
    assert list(read_suite("s", NODE, [], ["fixed"]).strategies) == ["fixed"]
    with pytest.raises(UserError, match=r"'fixed' cannot be left out .* strategies=fixed,cosine"):
        read_suite("s", NODE, [], ["cosine"])
    with pytest.raises(UserError, match=r"no strategy 'cosin'\. Did you mean 'cosine'"):
        read_suite("s", NODE, [], ["fixed", "cosin"])
    with pytest.raises(UserError, match=r"cosine cannot be left out .* its question is about"):
        read_suite("s", NODE, ["question.contrasts=[cosine]"], ["fixed"])
    with pytest.raises(UserError, match="'fixed' has 2 points in its grid, but every"):
        read_suite("s", NODE, ["tuning.points=3"], [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tunning.seeds=[1]", "Did you mean 'tuning"),
        ("metric=knn_acc", "Did you mean 'knn_acc1'"),
        ("tuning.validation_fraction=1.5", r"must be in \(0, 1\), got 1.5"),
        ("tuning.seeds=[]", "names no seed"),
        ("tuning.points=many", "tuning.points"),
        ("question.contrasts=[cosin]", "question.contrasts names 'cosin'.*Did you mean 'cosine'"),
        ("question.contrasts=[fixed]", "no strategy beside the reference"),
    ],
)
def test_bad_suite_words_are_named(change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_suite("s", NODE, [change], [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "0",
        "[1,1]",
        "1.5",
        "[]",
        "²",
        "99999999999",
        "9" * 5000,
        "[99999999999]",
        "[4294967296]",
        "1001",
    ],
)
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seeds=2"], "name a suite"),
        (["suite=smok"], "unknown suite 'smok'. Did you mean 'smoke'"),
        (["suite=smoke", "seeds"], "cannot parse 'seeds'"),
        (["suite=smoke", "seeds=[1001]"], r"seeds \[1001\] serve tuning"),
        (["suite=smoke", "method=dcl"], "'method=dcl' cannot be set for all runs"),
        (["suite=smoke", "method_kwargs.temperature=1"], "cannot be set for all runs"),
        (["suite=smoke", "seed=3"], "write seeds=3"),
        (["suite=smoke", "max_epoch=3"], "Did you mean 'max_epochs'"),
        (["suite=smoke", "hydra/launcher=joblb"], "unknown hydra/launcher 'joblb'"),
        (["suite=smoke", "data=fashion_mnst"], "Did you mean 'fashion_mnist'"),
    ],
)
def test_bad_words_are_told_before_anything_runs(
    words: list[str], message: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        run_board(words, Console(quiet=True))
    assert not list(tmp_path.iterdir())


SUITES = [
    pytest.param("decisive", marks=pytest.mark.nightly),
    pytest.param("temperature", marks=pytest.mark.nightly),
    pytest.param("baselines", marks=pytest.mark.nightly),
    pytest.param("positive_control", marks=pytest.mark.nightly),
    "smoke",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_shipped_suites_compose_with_equal_budgets_and_ranges(name: str) -> None:
    with hydra_session([], "runs") as hydra:
        suite = read_suite(name, hydra.option("suite", name), [], [])
        planner = Planner(suite, ["data=digits"], "runs", hydra.compose)
        check_ranges(planner, name)
        ends = [(key, strategy.points()[i]) for key, strategy in suite.strategies.items()
                for i in (0, -1)]  # fmt: skip
        jobs = planner.final(ends, [1])
    assert len({job.path for job in jobs}) == len(suite.strategies) * 2
    assert suite.reference in suite.strategies and len(suite.tuning.seeds) >= (name != "smoke") * 3


@pytest.mark.slow
def test_the_suite_of_baselines_has_every_method_and_tunes_each() -> None:
    with hydra_session([], "runs") as hydra:
        suite = read_suite("baselines", hydra.option("suite", "baselines"), [], [])
    methods = {word for row in suite.strategies.values() for word in row.words}
    assert {f"method={name}" for name in METHODS if "/" not in name} <= methods


@pytest.mark.slow
def test_words_of_the_user_come_after_the_suites() -> None:
    request = sort_overrides(["suite=a", "strategies=[b,c]", "suite.metric=d", "data=cifar10"])
    assert (request.strategies, request.suite_changes) == (["b", "c"], ["metric=d"])
    suite = read_suite("s", NODE, [], [])
    with hydra_session([], "runs") as hydra:
        jobs = Planner(suite, ["data=digits"], "runs", hydra.compose).tuning()
    assert {job.words[0] for job in jobs} == {"data=digits"}
    assert len({job.path for job in jobs}) == 2 * 2 * 2
    assert all("data.validation_fraction=0.2" in job.words for job in jobs)


@pytest.mark.slow
def test_tuning_measures_what_selects_and_the_reference_the_baselines() -> None:
    with hydra_session([], "runs") as hydra:

        def left_out(metric: str, *words: str) -> tuple[set[str], set[str], set[str]]:
            suite = read_suite("s", NODE, [f"metric={metric}"], [])
            planner = Planner(suite, words, "runs", hydra.compose)
            final = planner.final([(n, s.points()[0]) for n, s in suite.strategies.items()], [1])
            return tuple(  # type: ignore[return-value]
                {word for word in job.words if word.startswith(("evaluation", "telemetry"))}
                for job in (planner.tuning()[0], *final)
            )

        bare = "evaluation.baselines=false"
        quick = {bare, "telemetry.every_n_epochs=0", "evaluation.linear=false"}
        assert left_out("knn_acc1") == (quick, set(), {bare})
        assert left_out("linear_acc1")[0] == quick - {"evaluation.linear=false"}
        more = "evaluation.baselines=true"
        assert left_out("knn_acc1", more)[1:] == ({more}, {more})


def test_a_run_that_was_measured_with_less_or_in_another_way_is_measured_again() -> None:
    def lacks(had: dict[str, Any], **asked: Any) -> bool:
        record = Record(Path("h/1"), "finished", {"evaluation": had})
        return record.lacks(OmegaConf.structured(EvaluationConfig(**asked)))

    assert lacks({"linear": False, "pictures": False})
    assert not lacks({"linear": False}, linear=False)
    assert not lacks({"linear": True}) and not lacks({"linear": True}, linear=False)
    assert lacks({"knn_k": 5}) and not lacks({"knn_k": 5}, knn_k=5)
    assert lacks({}, max_train=100) and not lacks({}, pictures=False, map="umap")
    unfinished = Record(Path("h/1"), "unfinished")
    assert not unfinished.lacks(OmegaConf.structured(EvaluationConfig))


@pytest.mark.slow
def test_the_validation_split_is_cut_from_train(tiny: Any) -> None:
    whole = build_data(resolve(tiny("simclr")))
    cut = build_data(resolve(tiny("simclr", "data.validation_fraction=0.2")))
    assert whole.val_set is not None and cut.val_set is not None
    rows = {name: {bytes(image.numpy()) for image, _ in images} for name, images in
            (("train", whole.train_set), ("test", whole.val_set), ("kept", cut.train_set),
             ("held", cut.val_set))}  # fmt: skip
    assert rows["kept"] | rows["held"] == rows["train"] and not rows["kept"] & rows["held"]
    assert not rows["held"] & rows["test"]
    counts = cut.val_set.targets.bincount().tolist()
    assert counts == [round(0.2 * n) for n in whole.train_set.targets.bincount().tolist()]


@pytest.mark.slow
def test_selection_takes_the_best_whole_point_and_says_why() -> None:
    suite = read_suite("s", NODE, [], ["fixed"])

    def record(value: float | None, seed: int, protocol: str = "kNN") -> Record:
        path = Path(f"h/{seed}")
        if value is None:
            return Record(path, "failed", problem="boom")
        result = {"results": {"trained": {"knn_acc1": value}}, "protocols": {"knn_acc1": protocol}}
        return Record(path, "finished", result)

    with hydra_session([], "runs") as hydra:
        jobs = Planner(suite, [], "runs", hydra.compose).tuning()

    def chosen(*values: float | None, protocols: tuple[str, ...] = ("kNN",) * 4) -> Choice:
        records = map(record, values, range(4), protocols)
        return select(suite, dict(zip(jobs, records, strict=True)))["fixed"]

    best = chosen(90.0, 92.0, 80.0, 99.0)  # two seeds of the first point, two of the second
    assert best.point == ["method_kwargs.temperature=0.1"]
    assert "91.000, of 2 of 2 points on 20% of train held out, seeds 7, 8" in best.why
    half = chosen(90.0, 92.0, 99.0, None)  # a point with a missing seed does not count
    assert half.point == best.point and half.points[1].errors == {"8": "boom"}
    none = chosen(None, 92.0, 99.0, None)
    assert none.point is None and "boom" in none.why
    other = chosen(90.0, 92.0, 80.0, 99.0, protocols=("kNN", "kNN, k=1", "kNN", "kNN"))
    assert other.point == ["method_kwargs.temperature=0.5"]
    assert "knn_acc1: 'kNN, k=1' and not 'kNN'" in other.points[0].errors["8"]


def test_a_suite_is_read_from_a_file_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base.yaml").write_text("tuning: {points: 2}\nreference: fixed\nstrategies: {}\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text("defaults: [smoke, base.yaml]\nabout: mine\ntuning: {seeds: [7]}\n")
    monkeypatch.chdir(tmp_path)
    with hydra_session([], "runs") as hydra:
        for name in ("mine.yaml", str(mine)):
            suite = read_suite("mine", hydra.option("suite", name), [], [])
            assert suite.about == "mine" and suite.tuning.seeds == [7]
            assert list(suite.strategies) == ["fixed", "cosine", "shuffled"]
        for text, message in (
            ("defaults: [mine.yaml]", "lead back to mine.yaml"),
            ("defaults: [nothing]", "unknown suite 'nothing'"),
            ("defaults: 3", "must be a list of names"),
            ("- 3", "must hold keys with values"),
            ("about: ${oc.env:HOME}", r"can name a key"),
            ("words: {_target_: os.abort}", "would run code"),
        ):
            mine.write_text(text)
            with pytest.raises(UserError, match=message):
                hydra.option("suite", "mine.yaml")
    with pytest.raises(UserError, match=r"cannot read suite=none.yaml"):
        run_board(["suite=none.yaml"], Console(quiet=True))
