"""Mutated configs, made of the declarations: each is refused by a paragraph, or is a run.

A case is a small config with one key changed. It comes in as a user's does: as words, or as a file
for `--config-path` and `--config-name`.
"""

from __future__ import annotations

import random
import re
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_registry.catalog.declared import LIMIT, Declared, shown, spell
from solo_registry.catalog.kwargs import declared_kwargs
from solo_registry.catalog.registry import METHODS
from solo_registry.config.compose import (
    GROUPS,
    hydra_args,
    register_configs,
    run_with_config,
    translate,
)
from solo_registry.config.devices import count_processes
from solo_registry.config.keys import all_keys
from solo_registry.config.resolve import resolve
from solo_registry.config.schema import PretrainConfig
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.runs.model import build_method
from solo_registry.training.pretrain import train

CASES = 500
SECONDS = 60  # the longest that one config may take
LARGE = 32  # more of anything within its bounds is the user's own time and memory: not built
FUZZED = (
    "simclr", "simclr_dyntemp", "mocov2plus", "deepclusterv2", "swav", "dino", "vicreg", "wmse",
    "rince", "hcl", "lejepa", "byol",
)  # fmt: skip
TINY: dict[str, Any] = {
    "data": {"dataset": "digits", "num_workers": 0, "fraction": 0.1},
    "backbone": {"name": "resnet18_narrow", "kwargs": {"channels": [4, 4, 4, 4]}},
    "augmentations": [{"crop_size": 8, "num_crops": 2}],
    "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1},
    "scheduler": {"warmup_epochs": 1},
    "evaluation": {"enabled": False},
    "telemetry": {"images": 64, "bins": 8},
    "max_epochs": 1,
    "progress": "none",
    "accelerator": "cpu",
}
SMALL = {"proj_hidden_dim": 16, "proj_output_dim": 8, "pred_hidden_dim": 16, "queue_size": 64,
         "whitening_size": 64, "num_prototypes": 8}  # fmt: skip
DIGITS = "9" * 5000  # more than Python reads
JUNK = (
    "null", "true", "nan", ".nan", "inf", "-inf", "-.inf", "-1", "0", "1", "2.5", "1e-300", "1e300",
    "-1e300", "9" * 30, DIGITS, "''", "'5'", "'0.5'", "abc", "x" * 5000, "'äö☃\u202e'", "[]", "{}",
    "[1]", "[null]", "[[1]]", "{a: 1}", "[nan]", "[1e300]", "[-1]", "[a]", "'${nowhere}'", "???",
    "${nowhere}", "${oc.env:NOWHERE}", "${seed}", "${optimizer}", "${oc.decode:abc}", "'${'",
    "None", "'???'", "'a/../b'", "'[/b]'", "[" * 150 + "]" * 150,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A small config of `method` with a `value` for one key, as text that YAML and Hydra read."""

    method: str
    name: str
    declared: Declared
    value: str
    kind: str  # junk; or inside or outside of the bounds
    from_file: bool

    def __str__(self) -> str:
        where = " in a file" if self.from_file else ""
        return f"{self.method} {self.name}={shown(self.value)}{where}"


def numbers(declared: Declared) -> dict[str, list[Any]]:
    """Numbers within the bounds, and outside of them."""
    step = 1 if declared.whole else 1e-9
    low = declared.least if declared.above is None else declared.above + step
    high = declared.most if declared.below is None else declared.below - step
    inside = [*declared.also, *(bound for bound in (low, high) if bound is not None)]
    if isinstance(declared.default, int | float):
        inside.append(declared.default)
    outside = [-LIMIT - 1, LIMIT * 2 + 2, -1e300, 1e300]
    outside += [] if low is None else [low - max(step, abs(low) / 1e6)]
    outside += [] if high is None else [high + max(step, abs(high) / 1e6)]
    return {"inside": inside, "outside": outside}


def keys_of_method(method: str) -> list[tuple[str, Declared]]:
    """Every key of a method's config; `derived` where only its section is checked."""
    own = [(f"method_kwargs.{key}", kwarg)
           for key, kwarg in declared_kwargs(METHODS.get(method)).items()]  # fmt: skip
    schema = [
        (item.name.replace("augmentations.", "augmentations.0."),
         replace(item.declared, derived=item.section is not None))
        for item in all_keys(PretrainConfig) if not item.declared.derived
    ]  # fmt: skip
    return [*3 * own, *schema]  # or the schema's many keys would be most cases


def mutations(seed: int) -> Iterator[Case]:
    draw = random.Random(seed)
    while True:
        method = draw.choice(FUZZED)
        name, declared = draw.choice(keys_of_method(method))
        is_number = declared.type_name.startswith(("number", "integer")) and not declared.choices
        kind = draw.choice(("inside", "outside", "junk") if is_number else ("inside", "junk"))
        from_file = name in GROUPS or draw.random() < 0.4
        if is_number and kind != "junk":
            value = spell(draw.choice(numbers(declared)[kind]))
            value = f"[{value}]" if "list" in declared.type_name else value
        elif declared.choices and kind == "inside":
            value = draw.choice(declared.options())
        else:
            value, kind = draw.choice(JUNK), "junk"
        if not (from_file and value == DIGITS):  # such a file is the YAML reader's to refuse
            yield Case(method, name, declared, value, kind, from_file)


def flat(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif key not in ("dataset", "augmentations"):
            yield f"{prefix}{key}={spell(value)}"


def words_of(case: Case, folder: Path) -> list[str]:
    """Return the words that give the case's config; of a file, write it."""
    kwargs = {key: SMALL[key] for key in METHODS.get(case.method).KWARGS if key in SMALL}
    if case.method == "deepclusterv2":
        kwargs["num_prototypes"] = [8]  # type: ignore[assignment]
    base = {**TINY, "method_kwargs": kwargs, "runs_dir": str(folder / "runs")}
    if not case.from_file:
        return [f"method={case.method}", "data=digits", *flat(base), f"{case.name}={case.value}"]
    cfg = OmegaConf.create({**base, "method": case.method})
    OmegaConf.update(cfg, case.name, "MUTATED", force_add=True)
    text = yaml.safe_dump(OmegaConf.to_container(cfg), width=10**6)
    (folder / "mutated.yaml").write_text(text.replace("MUTATED", case.value), encoding="utf-8")
    return ["--config-path", str(folder), "--config-name", "mutated"]


@contextmanager
def time_limit() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def compose_once(task: Callable[[DictConfig], Any], words: Sequence[str]) -> None:
    """Do as `run_with_config`, without the job around it, for which Hydra composes once more."""
    try:
        if words[0] == "--config-path":
            cfg = OmegaConf.load(Path(words[1]) / f"{words[3]}.yaml")
        else:
            with initialize_config_module("solo_registry.configs", version_base="1.3"):
                cfg = compose("pretrain", overrides=hydra_args(words))
    except Exception as error:
        raise translate(error) from error
    task(cfg)  # type: ignore[arg-type]


def problem(case: Case, folder: Path, enter: Callable[..., None], use: Callable[..., Any]) -> str:
    """Return what is wrong with the way in which a case ends; "" where nothing is."""
    accepted: list[DictConfig] = []

    def task(given: DictConfig) -> None:
        accepted.append(resolve(given))
        if not (re.fullmatch(r"\d+", case.value) and int(case.value) > LARGE):
            use(given, accepted[0])

    try:
        with time_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            enter(task, words_of(case, folder))
    except UserError as error:
        text = str(error).replace("data set", "dataset")
        key = case.name.removesuffix(".name").rpartition(".")[2]  # "unknown backbone 'x'"
        named = key in text or "training diverged" in text
        return "" if named or case.kind == "inside" else f"does not name the key: {text}"
    except (Exception, SystemExit) as error:
        return f"traceback: {error!r:.300}"
    if case.kind == "outside":
        return "accepted, outside of its bounds"
    try:
        if not case.declared.derived:
            case.declared.check(case.name, OmegaConf.select(accepted[0], case.name))
    except UserError as error:
        return f"accepted: {error}"
    return ""


def problems(cases: Iterator[Case], folder: Path, *way: Callable[..., Any]) -> list[str]:
    register_configs()
    found = []
    for number, case in enumerate(cases):
        own = folder / str(number)
        own.mkdir()
        if text := problem(case, own, *way):
            found.append(f"{case}: {text}")
    return found


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra makes a folder where a YAML that is not ours is run."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_mutated_config_is_refused_with_its_key_or_makes_a_model(tmp_path: Path) -> None:
    def build(_: DictConfig, cfg: DictConfig) -> None:
        build_method(cfg, build_data(cfg))

    assert not problems(islice(mutations(0), 50), tmp_path, compose_once, build)


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("first", range(0, CASES, 50))
def test_a_mutated_config_is_refused_with_its_key_or_trains(tmp_path: Path, first: int) -> None:
    def run(given: DictConfig, cfg: DictConfig) -> None:
        if count_processes(cfg) > 1:  # they would start pytest again
            return
        with ExitStack() as lock:
            train(given, Console(quiet=True), lock)

    cases = islice(mutations(1), first, first + 50)
    assert not problems(cases, tmp_path, run_with_config, run)
