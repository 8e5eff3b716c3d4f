"""What comes in by words and YAML files: values, never code, and no secret of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from solo_registry.config.compose import compose_config, run_with_config
from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.leaderboard.archive import _public
from solo_registry.runs.lifetime import leave_loky
from solo_registry.runs.run_folder import RunFolder

CALL = "{_target_: pandas.read_pickle, filepath_or_buffer: FOLDER/evil.pickle}"
PLAIN = "method: simclr\ndata: {dataset: digits}\n"
# what lies in the folder of --config-path; each lets Hydra by itself read FOLDER/evil.pickle
FILES: dict[str, dict[str, str]] = {
    "callbacks": {"recipe": f"hydra: {{callbacks: {{x: {CALL}}}}}"},
    "by an anchor": {"recipe": f"a: &a {CALL}\nhydra: {{callbacks: {{x: {{<<: *a}}}}}}"},
    "by a name": {"recipe": f"a: {CALL}\nhydra: {{callbacks: {{x: '${{a}}'}}}}"},
    "the section by a name": {"recipe": f"a: {{callbacks: {{x: {CALL}}}}}\nhydra: '${{a}}'"},
    "logging": {
        "recipe": "hydra: {job_logging: {version: 1, formatters: {x: {'()': pandas.read_pickle, "
        "filepath_or_buffer: FOLDER/evil.pickle}}}}"
    },
    "sweeper": {"recipe": f"hydra: {{mode: MULTIRUN, sweeper: {{x: {CALL}}}}}"},
    "package": {
        "recipe": "defaults: [augmentations: evil, _self_]",
        "augmentations/evil": f"# @package hydra.callbacks\nx: {CALL}",
    },
    "package in the list": {
        "recipe": "defaults: [augmentations@hydra.callbacks: evil, _self_]",
        "augmentations/evil": f"x: {CALL}",
    },
    "hydra's group": {
        "recipe": "defaults: [override hydra/callbacks: evil, _self_]",
        "hydra/callbacks/evil": f"x: {CALL}",
    },
    "base": {"recipe": "defaults: [base, _self_]", "base": f"hydra: {{callbacks: {{x: {CALL}}}}}"},
    "two lists": {
        "recipe": "defaults: [base, _self_]",
        "base": "defaults: [augmentations@hydra.callbacks: evil]",
        "augmentations/evil": f"x: {CALL}",
    },
    "outside": {
        "inner/recipe": "defaults: [../base, _self_]",
        "base": f"hydra: {{callbacks: {{x: {CALL}}}}}",
    },
    "outside of ours": {
        "recipe": f"defaults: [recipe: {'../' * 30}FOLDER/evil/x, _self_]",
        "evil/x": f"# @package hydra.callbacks\nx: {CALL}",
    },
    "search path": {
        "recipe": "defaults: [more: evil, _self_]\nhydra: {searchpath: ['file://FOLDER/further']}",
        "further/more/evil": f"# @package hydra.callbacks\nx: {CALL}",
    },
    "tag": {"recipe": "a: !!python/object/apply:pandas.read_pickle [FOLDER/evil.pickle]"},
}
WORDS = (
    f"+hydra.callbacks.x={CALL}",
    "++hydra.callbacks.x._target_=pandas.read_pickle",
    f"hydra.launcher={CALL}",
    f"+hydra.launcher.x={CALL}",
    "+hydra.job_logging.formatters.x.()=pandas.read_pickle",
    "hydra.searchpath=[file://FOLDER]",
    "+hydra/callbacks=evil",
    "augmentations@hydra.callbacks=evil",
    "+recipe@hydra.callbacks=cifar/byol",
    f"recipe={'../' * 30}FOLDER/base",
    "recipe=/FOLDER/base",
    "hydra/launcher=evil",
    "--config-dir=FOLDER",
    "--config-d=FOLDER",
    "-cdFOLDER",
    "--experimental-rerun=FOLDER/evil.pickle",
    "--config-name=FOLDER/base",
    "--config-path=pkg://antigravity",
    "hydra.sweeper.params={x: 1,2}",
)


class Trace:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return what the pickle in this folder makes."""
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "made"
    (tmp_path / "evil.pickle").write_bytes(pickle.dumps(Trace(made)))
    return made


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        body = PLAIN if name.endswith("recipe") else ""
        path.write_text(text.replace("FOLDER", str(folder)) + "\n" + body)


def composed(*words: str) -> list[DictConfig]:
    found: list[DictConfig] = []
    run_with_config(found.append, words)
    return found


@pytest.mark.parametrize("way", FILES)
def test_a_yaml_file_runs_no_code(tmp_path: Path, trace: Path, way: str) -> None:
    write(tmp_path, FILES[way])
    folder = tmp_path / "inner" if "inner/recipe" in FILES[way] else tmp_path
    with pytest.raises(UserError):
        composed("--config-path", str(folder), "--config-name", "recipe")
    assert not trace.exists()


@pytest.mark.parametrize("word", WORDS)
def test_a_word_runs_no_code(tmp_path: Path, trace: Path, word: str) -> None:
    write(tmp_path, {"base": f"x: {CALL}", "callbacks/evil": f"x: {CALL}"})
    word = word.replace("FOLDER", str(tmp_path))
    with pytest.raises(UserError):
        composed("method=simclr", word)
    if "=" in word and "hydra" in word and not word.startswith("-"):
        with hydra_session([word], "runs") as hydra, pytest.raises(UserError):
            hydra.launcher()
    assert not trace.exists()


def test_a_yaml_of_solo_learns_shape_and_one_of_ours_compose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups beside it, the logging switched off, a section hydra: that holds as ours does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    theirs = {
        "mine/recipe": "defaults: [_self_, augmentations: weak.yaml, /extra, "
        "override hydra/job_logging: disabled]\n"
        "hydra: {output_subdir: .hydra, run: {dir: out}, sweep: {dir: '${runs_dir}/x'}}\n"
        "data: {train_path: '${oc.env:SCRATCH,/tmp}/a'}\nname: '${data.train_path}'",
        "mine/extra": "max_epochs: 7",
        "mine/augmentations/weak": "- {crop_size: 8, num_crops: 2}",
    }
    write(tmp_path, theirs)
    (tmp_path / "mine/recipe.yaml").write_text(
        (tmp_path / "mine/recipe.yaml").read_text().removesuffix(PLAIN)
    )
    words = ["--config-path=mine", "-cn", "recipe", "seed=1,2", "--multirun"]
    monkeypatch.setattr(sys, "argv", ["dyntemp", "pretrain", *words])
    jobs: list[tuple[DictConfig, list[str]]] = []
    run_with_config(lambda cfg: jobs.append((cfg, sys.argv[1:])), words)
    (first, _), (second, _) = jobs
    flags = ["--config-path", "mine", "--config-name", "recipe"]
    assert [job for _, job in jobs] == [["pretrain", *flags, f"++seed={n}"] for n in (1, 2)]
    assert (first.max_epochs, first.augmentations[0].crop_size) == (7, 8)
    assert (first.seed, second.seed) == (1, 2)
    assert OmegaConf.to_container(first)["name"] == "/scratch/me/a"  # type: ignore[index]
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "runs"}
    with pytest.raises(UserError, match=r"no recip\.yaml\. Did you mean 'recipe'"):
        composed("--config-path=mine", "--config-name=recip")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local", "submitit_slurm"])
def test_our_launchers_are_made_of_words(launcher: str) -> None:
    own = {"joblib": ["hydra.launcher.n_jobs=2"], "basic": []}
    words = [f"hydra/launcher={launcher}", *own.get(launcher, ["hydra.launcher.timeout_min=5"])]
    with hydra_session(words, "runs") as hydra:
        name = launcher.partition("_")[0]
        assert name in f"{type(hydra.launcher()).__module__}".casefold()


def test_a_typed_variable_is_read_once_and_its_value_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "/data/here")
    (cfg,) = composed("data.train_path='${oc.env:WHERE}/x'", "max_epochs='${seed}'", "seed=4")
    assert OmegaConf.to_container(cfg.data)["train_path"] == "/data/here/x"  # type: ignore[index]
    assert OmegaConf.to_container(cfg)["max_epochs"] == 4  # type: ignore[index]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimizer.lr='${nope}'", r"optimizer\.lr=\$\{nope\}: Interpolation key 'nope' not found"),
        ("name='${oc.env:NOT_SET}'", r"name=\$\{oc\.env:NOT_SET\}: .*'NOT_SET' not found"),
        ("optimizer.lr='${method}'", r"optimizer\.lr=.*'simclr'"),
        ("augmentations.0.crop_size='${nope}'", r"augmentations\.0\.crop_size=\$\{nope\}"),
        ("name='${name}'", "name=.*Recursive"),
        ("name='${oc.decode:}'", "name="),
    ],
)
def test_an_interpolation_without_a_value_names_its_key(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed(word)
    with pytest.raises(UserError, match=message), hydra_session([], "runs") as hydra:
        hydra.compose([word])


@pytest.mark.parametrize("value", ["${oc.env:TOKEN}", "${data.${oc.env:TOKEN}}", "${${a}:TOKEN}"])
def test_a_run_folder_of_another_person_reads_no_variable(
    tiny: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    cfg = resolve(tiny("simclr"))
    cfg.data.digest = "d" * 16
    run = RunFolder.of(cfg)
    run.path.mkdir(parents=True)
    file = run.path / "resolved.yaml"
    for key in ("name", "data.train_path"):
        OmegaConf.save(OmegaConf.merge(cfg, OmegaConf.from_dotlist([f"{key}='{value}'"])), file)
        with pytest.raises(UserError, match=key):
            run.read_config()
        assert b"secret" not in _public(file)
    with pytest.raises(UserError, match="TOKEN"):
        resolve(OmegaConf.merge(cfg, {"name": value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".hidden", "a\\b", "/x", "a\nb", "a" * 300])
def test_a_name_is_that_of_one_folder(tiny: Callable[..., DictConfig], name: str) -> None:
    with pytest.raises(UserError, match="name="):
        resolve(tiny("simclr", name=name))


@pytest.mark.parametrize("sign", ["", "+", "++"])
@pytest.mark.parametrize("section", ["backbone.kwargs", "optimizer.kwargs"])
def test_a_section_that_takes_any_key_takes_several_at_once(section: str, sign: str) -> None:
    cfg = compose_config(["data=digits", "method=simclr", f"{sign}{section}={{a:1,b:{{c:[2]}}}}"])
    assert OmegaConf.select(cfg, section) == {"a": 1, "b": {"c": [2]}}


@pytest.mark.distributed
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_jobs_hand_back_what_they_return_and_what_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.chdir(tmp_path)

    def task(cfg: DictConfig) -> list[int]:
        assert "LOCAL_RANK" not in os.environ  # of the job before
        os.environ["LOCAL_RANK"] = "0"
        if cfg.seed == 2:
            raise UserError("seed 2 is refused")
        leave_loky()  # as a run does, or joblib's worker could start no loader
        process = multiprocessing.get_context().Process(target=os.getpid)
        process.start()
        process.join()
        assert process.exitcode == 0 and sys.argv[1:] == ["pretrain", f"seed={cfg.seed}"]
        # Lightning starts this module again for further devices, and not the launcher's
        assert sys.modules["__main__"].__spec__.name == "solo_registry.__main__"
        return [cfg.seed, os.getpid()]

    done: list[list[int]] = []
    words = [f"hydra/launcher={launcher}", "seed=3,2,1", "--multirun"]
    monkeypatch.setattr(sys, "argv", ["dyntemp", "pretrain", *words])
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UserError, match=r"^seed 2 is refused$"):
        run_with_config(task, words, done.extend)
    assert [seed for seed, _ in done] == [3, 1]
    assert (os.getpid() in {process for _, process in done}) is (launcher == "basic")
