from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_registry.config import resolve
from solo_registry.devices import count_devices, read_devices, trainer_devices
from solo_registry.errors import UserError

Tiny = Callable[..., DictConfig]
# Lightning's meaning: a number is a count, a comma makes ids
SPELLINGS: list[tuple[Any, Any, int]] = [
    (3, 3, 3), ("3", 3, 3), ("3,", [3], 1), ("0,", [0], 1), ("0,1", [0, 1], 2),
    ("0, 2,", [0, 2], 2), ([3], [3], 1), ([0, 2], [0, 2], 2),
]  # fmt: skip


@pytest.mark.parametrize(("given", "read", "count"), SPELLINGS)
def test_a_spelling_means_what_lightning_means(given: Any, read: Any, count: int) -> None:
    from lightning.fabric.utilities.device_parser import (
        _normalize_parse_gpu_input_to_list,
        _normalize_parse_gpu_string_input,
    )

    cfg = OmegaConf.create({"devices": given, "accelerator": "cpu"})
    assert read_devices(cfg.devices) == read
    assert count_devices(cfg) == trainer_devices(cfg) == count  # a CPU has no ids
    plain = _normalize_parse_gpu_string_input(given)
    theirs = _normalize_parse_gpu_input_to_list(plain, include_cuda=True, include_mps=False)
    assert theirs == (list(range(read)) if isinstance(read, int) else read)


@pytest.mark.parametrize("given", ["auto", "-1", -1])
def test_auto_is_one_process_on_a_cpu_and_every_gpu_elsewhere(
    given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = OmegaConf.create({"devices": given, "accelerator": "auto"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trainer_devices(cfg) == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert trainer_devices(cfg) == count_devices(cfg) == 4
    cfg.devices = "3,"
    assert trainer_devices(cfg) == [3] and count_devices(cfg) == 1


WRONG = (
    None, True, False, 0, "0", -2, "-2", 2.5, "2.5", "", ",", "0,,1", "a,b", "many", [], [0, 0],
    [-1], ["0"], [True], {"0": 1},
)  # fmt: skip


@pytest.mark.parametrize("given", WRONG)
def test_what_lightning_would_not_read_is_a_paragraph(tiny: Tiny, given: Any) -> None:
    with pytest.raises(UserError, match="devices must be a count, a list of ids or auto, got"):
        resolve(tiny("simclr", devices=given))


def test_the_rate_follows_from_how_many_devices_there_are(tiny: Tiny) -> None:
    rates = {
        str(given): resolve(tiny("simclr", devices=given)).optimizer.effective_lr
        for given in ("3,", "0,", [3], 1)
    }
    assert set(rates.values()) == {0.1 * 128 / 256}
