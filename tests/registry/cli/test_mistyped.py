"""What a new user types first, and gets wrong: the answer names what to type instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from solo_registry.backbones import build_backbone
from solo_registry.config.hints import kwargs_by_method, no_flag
from solo_registry.config.overrides import LAUNCHERS, quoted
from solo_registry.errors import UserError

Dyntemp = Callable[..., tuple[int, str, str]]
SIMCLR = ("pretrain", "method=simclr", "--cfg=job")
BOARD = ("leaderboard", "run")
SOLO = """
method: simclr
method_kwargs: {proj_hidden_dim: 2048, proj_output_dim: 256, temperature: 0.2}
backbone: {name: resnet18}
data: {dataset: DATA, train_path: photos, val_path: null, format: image_folder, num_workers: 4}
augmentations: [{crop_size: SIZE, num_crops: 2}]
max_epochs: 3
"""
MISTYPED = {
    "a key of another method": (
        (*SIMCLR, "method_kwargs.tau_min=0.1"),
        "method 'simclr' has no method_kwargs.tau_min. method=simclr_dyntemp has it, and so have",
    ),
    "its last part": ((*SIMCLR, "tau_min=0.1"), "method=simclr_dyntemp has it"),
    "a misspelled key of it": (
        ("pretrain", "method=simclr_dyntemp", "method_kwargs.tau_maxx=1"),
        "Did you mean 'method_kwargs.tau_max'?",
    ),
    "the last part of a key": ((*SIMCLR, "lr=0.1"), "Did you mean 'optimizer.lr'?"),
    "that of the method": ((*SIMCLR, "temperature=1"), "mean 'method_kwargs.temperature'?"),
    "that of a list": ((*SIMCLR, "crop_size=8"), "mean 'augmentations.0.crop_size'?"),
    "two of a name": ((*SIMCLR, "frequency=3"), "'checkpoint.frequency' or 'auto_umap.frequency'"),
    "another program's": ((*SIMCLR, "learning_rate=3"), "Did you mean 'optimizer.lr'?"),
    "a flag": (("pretrain", "--method", "simclr"), "KEY=VALUE: method=simclr\n"),
    "a flag with its value": (("pretrain", "--batch-size=8"), "optimizer.batch_size=8\n"),
    "a flag of a board": ((*BOARD, "--suite=smoke"), "KEY=VALUE: suite=smoke\n"),
    "no value": ((*SIMCLR, "lr", "0.1"), "write KEY=VALUE, such as optimizer.lr=VALUE"),
    "a run's key for a board": ((*BOARD, "suite=smoke", "seed=2"), "write seeds=2\n"),
    "a run's key for a sweep": (("sweep", "space=cosine", "seed=2"), "write sweep.seed=2\n"),
    "a board's key": ((*BOARD, "suit=smoke"), "Did you mean 'suite'?"),
    "a sweep's key": (("sweep", "trial=3"), "Did you mean 'trials'?"),
    "a number with =": ((*SIMCLR, "max_epochs=a=b"), "\"max_epochs='a=b'\""),
}


@pytest.mark.parametrize("case", MISTYPED)
def test_the_answer_names_what_to_type(dyntemp: Dyntemp, tmp_path: Path, case: str) -> None:
    args, answer = MISTYPED[case]
    code, _, err = dyntemp(*args)
    assert code == 2 and answer in err, err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_model_of_timm_needs_its_prefix() -> None:
    with pytest.raises(
        UserError, match=r"unknown backbone 'resnet34'. Did you mean 'timm/resnet34'"
    ):
        build_backbone("resnet34", in_channels=3, image_size=32)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_without_its_package_names_the_extra(dyntemp: Dyntemp, launcher: str) -> None:
    extra = LAUNCHERS[launcher]
    if not extra or find_spec(f"hydra_plugins.hydra_{extra}_launcher"):
        pytest.skip("it is installed")
    for command in (("pretrain", "-m"), (*BOARD, "suite=smoke", "data=digits")):
        code, _, err = dyntemp(*command, f"hydra/launcher={launcher}")
        assert code == 2 and f"pip install 'solo-dyntemp[{extra}]'" in err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a=b", "a b", "фото", "it's,1", "写真", "a(b)", "a;b"])
def test_a_path_needs_no_quotes_but_the_shells(dyntemp: Dyntemp, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    for given in (f"data={name}", f"data={tmp_path / name}"):
        code, out, err = dyntemp(*SIMCLR, given)
        assert code == 0, err
        shown = " ".join(out.split())  # a long line of YAML is folded
        assert name in shown.replace("''", "'") and "dataset: custom" in out


def test_text_that_hydra_can_parse_stays_as_it_is() -> None:
    for override in (
        "runs_dir=a/b",
        "name=null",
        "seed=a=b",
        "name='a=b'",
        "runs_dir=${x}=",
        "name",
    ):
        assert quoted(override) == override


@pytest.mark.parametrize(
    "flags",
    [
        ["--config-name", "conf/my.yaml"],
        ["--config-name=conf/my"],
        ["--config-path", "conf", "--config-name", "my.yaml"],
        ["-cp=conf", "-cn=my"],
    ],
)
def test_a_file_is_named_by_its_path(dyntemp: Dyntemp, tmp_path: Path, flags: list[str]) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/my.yaml").write_text("defaults: [/pretrain, _self_]\nmax_epochs: 3\n")
    code, out, err = dyntemp("pretrain", "--cfg=job", "seed=8", *flags)
    assert code == 0 and "max_epochs: 3" in out and "seed: 8" in out, err
    code, _, err = dyntemp("pretrain", "--config-name", "conf/myy.yaml")
    assert code == 2 and "has no myy.yaml. Did you mean 'my'" in err


@pytest.mark.parametrize(
    ("data", "size", "said"),
    [
        ("custom", 32, "gets the 3x3 stem for images of 32 pixels; solo-learn takes the 7x7 stem"),
        ("cifar10", 96, "gets the 7x7 stem for images of 96 pixels; solo-learn takes the 3x3 stem"),
        ("custom", 224, ""),
        ("cifar10", 32, ""),
    ],
)
def test_a_yaml_of_solo_learn_says_where_the_stem_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, size: int, said: str
) -> None:
    from solo_registry.config.compose import run_with_config

    monkeypatch.chdir(tmp_path)
    Path("theirs.yaml").write_text(SOLO.replace("DATA", data).replace("SIZE", str(size)))
    cure = f"backbone.kwargs.low_resolution={str(data == 'cifar10').lower()}"
    args = ["--config-name", "theirs.yaml"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_with_config(lambda _: None, args)
        told = [str(each.message) for each in caught]
        assert len(told) == bool(said) and all(said in text and cure in text for text in told)
        run_with_config(lambda _: None, [*args, cure])
        assert len(caught) == bool(said)


def test_solo_has_help_without_a_script(dyntemp: Dyntemp) -> None:
    for flag in ("--help", "-h"):
        code, out, err = dyntemp("solo", flag)
        assert code == 0 and out.startswith("Usage: dyntemp solo SCRIPT"), err


def test_a_warning_is_one_line_without_file_and_code(
    dyntemp: Dyntemp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(*_: object) -> None:
        warnings.warn("the first\nthe second", UserWarning, stacklevel=1)

    monkeypatch.setattr("solo_registry.catalog.listing.show", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = dyntemp("datasets")
    assert (code, err) == (0, "warning: the first the second\n")


def test_a_group_of_methods_lists_each_key_of_each_method() -> None:
    """The hints are made of it: a key that it lacks could not be set."""
    from solo_registry.catalog.kwargs import declared_kwargs
    from solo_registry.catalog.registry import METHODS

    for name in ("simclr", "byol", "simclr_dyntemp", "macl"):
        assert kwargs_by_method()[name] == set(declared_kwargs(METHODS.get(name)))
    assert no_flag("--nonsense", "") is None
