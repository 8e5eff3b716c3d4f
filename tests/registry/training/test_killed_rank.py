"""One of two processes of a run is killed with signal 9."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.forked import Forked, torchrun
from tests.registry.kills import content, whole

from solo_registry.runs.model import read_checkpoint

WORDS = (
    "method=mocov2plus_dyntemp", "data=digits", "devices=2", "strategy=ddp", "accelerator=cpu",
    "backbone.kwargs.channels=[4,4,8,8]", "method_kwargs.proj_hidden_dim=16", "progress=lines",
    "method_kwargs.queue_size=512", "optimizer.batch_size=64", "data.num_workers=0",
    "max_epochs=4", "telemetry.every_n_epochs=0", "evaluation.pictures=false",
    "evaluation.baselines=false", "evaluation.linear=false",
)  # fmt: skip
AT_MOST = 60  # seconds until rank 0 has noticed; timeout_minutes would be ten minutes


@contextlib.contextmanager
def two(folder: Path) -> Iterator[list[Forked]]:
    """Start both processes, as torchrun does, and leave none behind."""
    command = ("-m", "solo_registry", "pretrain", *WORDS)
    ranks = [Forked(*command, cwd=folder, env=variables) for variables in torchrun(2)]
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.kill()


def finish(folder: Path) -> str:
    """Run to the end; return what rank 0 prints."""
    with two(folder) as ranks:
        (out, err), (_, more) = [rank.communicate() for rank in ranks]
        assert [rank.returncode for rank in ranks] == [0, 0], err + more
    return out


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.distributed
def test_rank_0_says_so_and_the_next_start_goes_on(tmp_path: Path) -> None:
    with two(tmp_path) as (first, second):
        deadline = time.monotonic() + 120
        while not list(tmp_path.rglob("last.ckpt")):  # one epoch of four is done
            assert time.monotonic() < deadline and second.poll() is None
            time.sleep(0.01)
        second.send_signal(signal.SIGKILL)
        begin = time.monotonic()
        out, err = first.communicate(timeout=AT_MOST)
        assert time.monotonic() - begin < AT_MOST
        assert (first.returncode, second.wait()) == (2, -signal.SIGKILL)
    assert err.count("error: another process of this run has ended") == 1, err
    assert "The same command goes on from the last finished epoch" in err
    assert "Traceback" not in out + err and "Killed" not in err
    whole(tmp_path / "runs")
    assert not list(tmp_path.rglob("result.json"))
    (saved,) = tmp_path.rglob("last.ckpt")
    done = read_checkpoint(saved)["epoch"] + 1
    assert 1 <= done < 4
    assert "resuming from" in (text := finish(tmp_path)) and text.count("epoch 4/4") == 1
    assert f"epoch {done}/4" not in text  # nothing that was saved is trained again
    found = content(tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs")
    finish(tmp_path)
    expected = content(tmp_path / "runs")
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
