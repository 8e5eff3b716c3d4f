"""performance.compile and performance.compile_mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain


@pytest.mark.slow
def test_a_compiled_network_trains_alike_under_the_same_names(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    def by_python(self: torch.nn.Module, mode: str) -> None:  # the compiler's C++ takes a minute
        modes.append(mode)
        self._compiled_call_impl = self._call_impl  # type: ignore[assignment]

    monkeypatch.setattr(torch.nn.Module, "compile", by_python)
    runs = [
        pretrain(
            tiny(
                "mocov2plus", "max_epochs=1", f"performance.compile={value}",
                "performance.compile_mode=reduce-overhead",
                "backbone.kwargs.channels=[16,16,16,16]",
            )
        )
        for value in ("false", "true")
    ]  # fmt: skip
    assert modes == ["reduce-overhead"] * 2  # the network and its moving average
    assert runs[0].path != runs[1].path  # last digits may differ, so it names another run
    first, second = (torch.load(run.checkpoint)["state_dict"] for run in runs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.nightly  # the compiler's C++
def test_a_network_that_must_keep_its_layout_keeps_it_compiled(tiny: Any) -> None:
    # the compiler's own layout crashed the process on a CPU without AVX512
    words = ("backbone.kwargs.channels=[4,4,4,4]", "accelerator=cpu", "max_epochs=2")
    runs = [pretrain(tiny("simclr", *words, f"performance.compile={v}")) for v in ("false", "true")]
    losses = [pd.read_csv(run.path / "metrics.csv").train_nce_loss for run in runs]
    assert len(losses[0]) == 2
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-2)


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_in_a_paragraph(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(*_: Any) -> None:
        raise OSError("no C++ compiler found")

    compile_as_usual = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda net, **_: compile_as_usual(net, backend=backend)
    )
    with pytest.raises(UserError, match=r"cannot compile .* no C\+\+ compiler found\. It needs"):
        pretrain(tiny("simclr", "max_epochs=1", "performance.compile=true"))


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("default")  # the compiler warns of its own old code
@pytest.mark.parametrize("method", ["simclr_dyntemp", "mocov2plus_dyntemp", "byol", "swav"])
def test_cuda_graphs_train_alike(tiny: Any, method: str) -> None:
    words = ("accelerator=gpu", "max_epochs=2", "performance.compile=true")
    losses = [
        pd.read_csv(
            pretrain(tiny(method, *words, f"performance.compile_mode={mode}")).metrics
        ).filter(like="train").to_numpy()
        for mode in ("default", "reduce-overhead")
    ]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=1e-2, nan_ok=True)
