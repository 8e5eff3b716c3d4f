"""performance.compile."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain


@pytest.mark.slow
def test_a_compiled_network_trains_alike_under_the_same_names(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def by_python(self: torch.nn.Module, **_: Any) -> None:  # the compiler's C++ takes a minute
        compiled.append(self)
        self._compiled_call_impl = self._call_impl  # type: ignore[assignment]

    monkeypatch.setattr(torch.nn.Module, "compile", by_python)
    runs = [
        pretrain(tiny("mocov2plus", "max_epochs=1", f"performance.compile={value}"))
        for value in ("false", "true")
    ]
    assert len(compiled) == 2  # the network and its moving average
    assert runs[0].path != runs[1].path  # last digits may differ, so it names another run
    first, second = (torch.load(run.checkpoint)["state_dict"] for run in runs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_in_a_paragraph(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(*_: Any) -> None:
        raise OSError("no C++ compiler found")

    compile_as_usual = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda net: compile_as_usual(net, backend=backend)
    )
    with pytest.raises(UserError, match=r"cannot compile .* no C\+\+ compiler found\. It needs"):
        pretrain(tiny("simclr", "max_epochs=1", "performance.compile=true"))
