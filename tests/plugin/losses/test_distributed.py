"""Two and four gloo processes against one process with the whole batch."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("worker.py")
spec = importlib.util.spec_from_file_location("loss_worker", WORKER)
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)

# Triton's kernels need an interpreter here, which a process must choose before its start
TRITON = {"TRITON_INTERPRET": "1"} if importlib.util.find_spec("triton") else {}
pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module", params=[2, 4])
def results(request, tmp_path_factory):
    """What every process saved; they run once for all tests."""
    folder = tmp_path_factory.mktemp("gloo")
    command = [sys.executable, str(WORKER), str(request.param), str(folder)]
    subprocess.run(command, env={**os.environ, **TRITON}, check=True, timeout=120)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("name", worker.cases())
def test_mean_over_processes_is_the_global_batch(results, name):
    if name.startswith("triton") and not TRITON:
        pytest.skip("triton is not installed")
    tolerance = 1e-5 if name.startswith("triton") else 1e-6  # float32 against double
    x, images = worker.batch()
    value, gradient = worker.value_and_gradient(worker.cases()[name], x, images)
    values = torch.stack([result[name][0] for result in results])
    torch.testing.assert_close(values.mean(), value, rtol=tolerance, atol=0, check_dtype=False)
    # DDP divides the summed gradient by the number of processes
    averaged = torch.cat([result[name][1] for result in results]) / len(results)
    scale = gradient.abs().max()
    assert (averaged - gradient).abs().max() <= tolerance * scale


def test_a_layer_under_ddp_gets_the_gradient_of_the_global_batch(results):
    expected = worker.ddp_gradient(*worker.batch())
    for result in results:
        torch.testing.assert_close(result["ddp"], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", worker.WITH_STATE)
def test_the_state_of_a_temperature_is_that_of_one_process(results, name):
    expected = worker.state(name, *worker.batch())
    states = [result[f"{name} state"] for result in results]
    for found in states:
        torch.testing.assert_close(found, expected)
        assert all(torch.equal(value, found[key]) for key, value in states[0].items())


def test_ntxent_gathers_only_if_it_is_told_to(results):
    x, images = worker.batch()
    _, bank = worker.local_and_bank(x, images)
    for result, rows in zip(results, x.chunk(len(results)), strict=True):
        local, everyones = result["local and bank"]
        torch.testing.assert_close(local, worker.local_and_bank(rows, images)[0])
        torch.testing.assert_close(everyones, bank)


def test_unequal_batches_are_refused_on_every_process(results):
    for result in results:
        assert "same shape, got rank 0 (8, 5), rank 1 (6, 5)" in result["unequal"]
