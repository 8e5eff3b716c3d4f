from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from tests.conftest import tiny_config

from solo_registry.errors import UserError
from solo_registry.evaluation.weights import evaluate_weights
from solo_registry.jobs.pretrain import pretrain

WORDS = [
    "data=digits", "data.num_workers=0", "augmentations.0.crop_size=8", "accelerator=cpu",
    "backbone.kwargs.channels=[8,8,16,16]",
]  # fmt: skip


@pytest.mark.slow
def test_a_runs_checkpoint_measured_as_a_foreign_file_gives_the_runs_numbers(
    tmp_path: Path,
) -> None:
    run = pretrain(tiny_config(tmp_path / "runs", "simclr", "max_epochs=1"))
    expected = run.read_result()
    assert expected is not None
    out = tmp_path / "result.json"
    quiet = Console(quiet=True)
    found = evaluate_weights(run.checkpoint, "resnet18_narrow", WORDS, out, quiet)
    assert out.is_file() and found["weights"]["prefix"] == "backbone."
    for row in ("raw_pixels", "trained"):
        for key in ("knn_acc1", "linear_acc1", "uniformity", "tolerance"):
            assert found["results"][row][key] == pytest.approx(expected["results"][row][key])
    with pytest.raises(UserError, match="does not fit this backbone"):
        evaluate_weights(run.checkpoint, "resnet18_narrow", WORDS[:-1], out, quiet)
