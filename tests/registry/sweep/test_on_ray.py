"""Trials on a Ray cluster: two nodes on this machine, one of which is lost."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.registry.sweep.conftest import command, outputs

from solo_registry.errors import UserError
from solo_registry.sweep import on_ray
from solo_registry.sweep.space import RayConfig

QUIET = Console(quiet=True)


def node(cpus: float, gpus: float = 0.0, *, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus} | ({"GPU": gpus} if gpus else {})}


def said(nodes: list[dict[str, Any]], config: RayConfig) -> str:
    text = io.StringIO()
    on_ray._check_nodes(nodes, config, Console(file=text, width=200))
    return text.getvalue()


def test_the_size_of_the_cluster_is_printed_without_lost_nodes() -> None:
    nodes = [node(8, 2), node(4), node(64, 8, alive=False)]
    assert said(nodes, RayConfig("auto", 2, 0.5)) == (
        "Ray: nodes 2, CPUs 12, GPUs 2; a trial takes CPUs 2, GPUs 0.5\n"
    )


@pytest.mark.parametrize("config", [RayConfig("auto", 9), RayConfig("auto", 8, 4)])
def test_a_trial_must_fit_into_one_node(config: RayConfig) -> None:
    """Two nodes of 8 CPUs have no room for a trial of 9."""
    nodes = [node(8, 2), node(8, 2)]
    assert "trials wait until one joins" in said(nodes, config)
    config.address = "local"  # no other node can join
    with pytest.raises(UserError, match="no node of the Ray cluster has what"):
        said(nodes, config)


def test_without_an_address_trials_are_processes_of_this_machine() -> None:
    with on_ray.starting(RayConfig(), QUIET) as begin:
        assert begin is on_ray.start


def needs_ray() -> Any:
    return pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "no.such.host.invalid:6379", "127.0.0.1:99999"])
def test_nobody_answers(address: str) -> None:
    needs_ray()
    with pytest.raises(UserError, match=r"sweep\.ray\.address=.* nobody answers"):
        on_ray._connected(address)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a cluster of two nodes with one CPU each; return it and its second node."""
    needs_ray()
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made, second
    made.shutdown()


@pytest.mark.nightly
@pytest.mark.slow
def test_a_lost_node_changes_no_byte(tmp_path: Path, cluster: Any) -> None:
    """Its trial goes on elsewhere. A sweep without Ray writes the same files."""
    made, second = cluster
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    sweep = command("sweep.parallel=2")
    subprocess.run(sweep, cwd=here, check=True, timeout=300)
    with subprocess.Popen(
        [*sweep, f"sweep.ray.address={made.address}"], cwd=there, stdout=subprocess.PIPE, text=True
    ) as running:
        deadline = time.monotonic() + 200
        while len(list(there.rglob("metrics.csv"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        made.remove_node(second, allow_graceful=False)
        output, _ = running.communicate(timeout=300)
    assert running.returncode == 0, output
    assert "Ray: nodes 2, CPUs 2, GPUs 0" in output
    assert outputs(there) == outputs(here)


@pytest.mark.nightly
@pytest.mark.slow
def test_a_node_without_the_folder_is_told(tmp_path: Path, cluster: Any) -> None:
    made, _ = cluster
    with on_ray.starting(RayConfig(made.address), QUIET) as begin:
        folder = tmp_path / "gone"
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            task = begin({}, [], on_ray.RunFolder(Path("run")))  # type: ignore[arg-type]
            folder.rmdir()
        with pytest.raises(UserError, match=r"has no folder .*gone: a sweep on Ray needs a file"):
            task.join()
        assert not task.is_alive()
