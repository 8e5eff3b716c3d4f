from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from solo_registry.runs.environment import (
    change,
    cpu_model,
    environment,
    known_parts,
    with_part,
)
from solo_registry.runs.records import _machine

OLD: dict[str, Any] = {"host": "a", "argv": ["x"], "threads": 2, "versions": {"torch": "2.6.0"}}
NEW: dict[str, Any] = {**OLD, "host": "b", "threads": 8, "versions": {"torch": "2.7.0"}}


def test_each_part_of_a_resumed_run_keeps_its_environment(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    told = []
    for now, epochs in ((OLD, 0), (OLD, 3), (NEW, 5), (NEW, 8), (OLD, 8)):
        before = known_parts(path, epochs)
        told.append(change(before, now))
        path.write_text(json.dumps(now | {"parts": with_part(before, now, epochs)}))
    parts = json.loads(path.read_text())["parts"]
    assert [(part["from_epoch"], part["threads"]) for part in parts] == [(0, 2), (5, 8), (8, 2)]
    assert told[:2] == ["", ""] and told[2] == "threads 2, now 8; torch 2.6.0, now 2.7.0"
    assert told[3] == "" and told[4].startswith("threads 8, now 2")
    assert not any({"host", "argv"} & part.keys() for part in parts)  # a board is packed without


def test_a_part_without_an_epoch_of_its_own_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(NEW | {"parts": with_part([], NEW, 0)}))
    assert known_parts(path, 0) == []  # killed before its first epoch ended


def test_files_of_before_and_damaged_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    assert known_parts(path, 4) == []
    path.write_text(json.dumps(OLD))
    assert [part["from_epoch"] for part in known_parts(path, 4)] == [0]
    for text in ("{", '{"parts": 3}', '{"parts": [{"from_epoch": "x"}]}', '{"parts": ["x"]}'):
        path.write_text(text)
        assert known_parts(path, 4) == []


def test_the_machine_is_told_by_its_kind_and_not_by_its_name(tmp_path: Path) -> None:
    now = environment()
    assert now["instructions"].startswith(torch.backends.cpu.get_cpu_capability())
    assert now["cpu"] == cpu_model() and now["blas"]
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(now))
    told = _machine(tmp_path, {"device": "cpu"})
    assert now["cpu"] in told and now["blas"] in told and now["instructions"] in told
    assert not now["host"] or now["host"] not in told
    assert change(with_part([], now, 0), now | {"cpu": "other"}).endswith("now other")
    path.write_text(json.dumps(OLD))  # of an older version: as its report said
    assert _machine(tmp_path, {"device": "cpu"}) == "CPU, 2 threads, torch 2.6.0"


def test_unlike_processors_of_one_name_differ() -> None:
    listing = "processor: 0\nmodel name: Xeon\ncpu family: 6\nmodel: {}\n\nprocessor: 1\nmodel: 1"
    assert cpu_model(listing.format(85)) == "Xeon (family 6, model 85)"
    assert cpu_model(listing.format(85)) != cpu_model(listing.format(143))
    assert cpu_model("CPU part: 0xd0c").endswith("(part 0xd0c)")
