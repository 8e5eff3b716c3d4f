"""Queue, decoupled, paired and supervised forms against the formula, lightly and each other."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest
import torch
from lightly.loss import DCLLoss, DCLWLoss, NTXentLoss

from solo_dyntemp.losses import (
    DynTempDCL,
    DynTempQueueInfoNCE,
    dyntemp_dcl,
    dyntemp_infonce,
    dyntemp_infonce_queue,
    dyntemp_paired,
    dyntemp_supcon,
)
from solo_dyntemp.temperature import ConstantTemperature, CosineTemperature, TeMoTemperature

COSINE = CosineTemperature(0.1, 0.2)
pytestmark = pytest.mark.usefixtures("small_tiles")


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


@pytest.mark.parametrize("size", [1, 12])
def test_queue_equals_the_formula(
    gradients, assert_same, reference, implementation, curve, detach, size
):
    keys = random(6, size)
    actual = gradients(
        lambda q, k: dyntemp_infonce_queue(
            q,
            k,
            keys,
            temperature=curve,
            detach_temperature=detach,
            implementation=implementation,
        ),
        random(7, 6),
        random(7, 6),
    )
    torch.manual_seed(0)
    random(6, size)
    expected = gradients(
        lambda q, k: reference.queue(q, k, keys, curve, detach), random(7, 6), random(7, 6)
    )
    assert_same(actual, expected, 1e-10)


def test_queue_gets_no_gradient_and_queue_scale_does_not_matter():
    keys = random(6, 9).requires_grad_()
    query, key = random(4, 6).requires_grad_(), random(4, 6)
    loss = dyntemp_infonce_queue(query, key, keys, temperature=COSINE)
    loss.backward()
    assert keys.grad is None
    again = dyntemp_infonce_queue(query, key, 7 * keys, temperature=COSINE)
    torch.testing.assert_close(loss, again)


def test_queue_with_constant_temperature_is_lightlys_memory_bank():
    theirs = NTXentLoss(temperature=0.2, memory_bank_size=(16, 6))
    query, key = random(4, 6, dtype=torch.float32), random(4, 6, dtype=torch.float32)
    keys = theirs.memory_bank.bank.clone()
    if keys.shape != (6, 16):
        keys = keys.T
    expected = theirs(query, key)
    actual = DynTempQueueInfoNCE(ConstantTemperature(0.2))(query, key, keys)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("sigma", [None, 0.5])
@pytest.mark.parametrize("n", [2, 7])
def test_dcl_equals_the_formula(
    gradients, assert_same, reference, curve, detach, implementation, sigma, n
):
    z1, z2 = random(n, 6), random(n, 6)
    actual = gradients(
        lambda a, b: dyntemp_dcl(
            a,
            b,
            temperature=curve,
            detach_temperature=detach,
            sigma=sigma,
            implementation=implementation,
        ),
        z1,
        z2,
    )
    expected = gradients(lambda a, b: reference.dcl(a, b, curve, detach, sigma), z1, z2)
    assert_same(actual, expected, 1e-10)


def test_dcl_with_constant_temperature_is_lightlys(gradients, assert_same, implementation):
    z1, z2 = random(8, 6), random(8, 6)
    for theirs, sigma in ((DCLLoss(0.2), None), (DCLWLoss(0.2, sigma=0.5), 0.5)):
        ours = DynTempDCL(ConstantTemperature(0.2), sigma=sigma, implementation=implementation)
        with pytest.warns(UserWarning) if sigma else nullcontext():  # theirs copies a tensor
            expected = gradients(theirs, z1, z2)
        assert_same(gradients(ours, z1, z2), expected, 1e-10)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("n", [2, 7])
def test_paired_equals_the_formula(
    gradients, assert_same, reference, curve, detach, implementation, symmetric, n
):
    a, b = random(n, 6), random(n, 6)

    def expected(a, b):
        loss = reference.paired(a, b, curve, detach)
        return (loss + reference.paired(b, a, curve, detach)) / 2 if symmetric else loss

    actual = gradients(
        lambda a, b: dyntemp_paired(
            a,
            b,
            temperature=curve,
            detach_temperature=detach,
            symmetric=symmetric,
            implementation=implementation,
        ),
        a,
        b,
    )
    assert_same(actual, gradients(expected, a, b), 1e-10)


def test_one_pair_of_sentences_has_no_negatives_and_no_loss():
    assert dyntemp_paired(random(1, 3), random(1, 3), temperature=COSINE).item() == 0


def test_supcon_out_equals_the_formula(gradients, assert_same, reference, curve, detach):
    z, labels = random(11, 6), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 1, 0])
    actual = gradients(
        lambda z: dyntemp_supcon(z, labels, temperature=curve, detach_temperature=detach), z
    )
    expected = gradients(lambda z: reference.supcon_out(z, labels, curve, detach), z)
    assert_same(actual, expected, 1e-10)


def test_supcon_in_is_infonce_with_labels_and_both_agree_on_one_positive():
    z, labels = random(8, 6), torch.tensor([0, 0, 0, 1, 1, 2, 2, 1])
    inside = dyntemp_supcon(z, labels, temperature=COSINE, form="in")
    assert inside == dyntemp_infonce(z, labels, temperature=COSINE)
    pairs = torch.arange(4).repeat(2)
    one = dyntemp_supcon(z, pairs, temperature=COSINE, form="in")
    torch.testing.assert_close(dyntemp_supcon(z, pairs, temperature=COSINE), one)


@pytest.mark.parametrize("form", ["infonce", "queue", "dcl", "dclw", "paired", "in", "out"])
def test_temo_mixes_the_losses_of_both_temperatures(gradients, assert_same, implementation, form):
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    keys = random(12, 6).T
    losses = {
        "infonce": lambda z, **how: dyntemp_infonce(z, torch.arange(3).repeat(2), **how),
        "queue": lambda z, **how: dyntemp_infonce_queue(z[:3], z[3:], keys, **how),
        "dcl": lambda z, **how: dyntemp_dcl(z[:3], z[3:], **how),
        "dclw": lambda z, **how: dyntemp_dcl(z[:3], z[3:], sigma=0.5, **how),
        "paired": lambda z, **how: dyntemp_paired(z[:3], z[3:], symmetric=True, **how),
        "in": lambda z, **how: dyntemp_supcon(z, labels, form="in", **how),
        "out": lambda z, **how: dyntemp_supcon(z, labels, **how),
    }

    def at(temperature, progress=0.0):
        if isinstance(temperature, TeMoTemperature):
            temperature.set_progress(progress)
        how = {} if form in ("in", "out") else {"implementation": implementation}
        return gradients(lambda z: losses[form](z, temperature=temperature, **how), random(6, 6))

    torch.manual_seed(1)
    found = []
    for temperature, progress in (
        (TeMoTemperature(0.1, 0.2), 0.4),
        (ConstantTemperature(0.1), 0.0),
        (TeMoTemperature(0.1, 0.2), 1.0),
    ):
        torch.manual_seed(2)  # the same embeddings
        found.append(at(temperature, progress))
    mixed, plain, grown = found
    expected = [0.36 * a + 0.16 * b for a, b in zip(plain, grown, strict=True)]
    assert_same(mixed, expected, 1e-12)


def test_equal_embeddings_give_logarithms_of_counts():
    z = torch.ones(6, 4, dtype=torch.float64)
    keys = torch.ones(4, 9, dtype=torch.float64)
    assert dyntemp_infonce_queue(z, z, keys, temperature=COSINE).item() == pytest.approx(
        math.log(10)
    )
    assert dyntemp_dcl(z, z, temperature=COSINE).item() == pytest.approx(math.log(10))
    assert dyntemp_paired(z, z, temperature=COSINE).item() == pytest.approx(math.log(6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_under_autocast_is_finite(dtype):
    z1, z2 = random(6, 8, dtype=dtype).requires_grad_(), random(6, 8, dtype=dtype)
    keys, temperature = random(8, 20, dtype=dtype), CosineTemperature(0.05, 0.1)
    with torch.autocast("cpu", dtype=dtype):
        losses = (
            dyntemp_infonce_queue(z1, z2, keys, temperature=temperature),
            dyntemp_dcl(z1, z2, temperature=temperature, sigma=0.5),
            dyntemp_paired(z1, z2, temperature=temperature, symmetric=True),
            dyntemp_supcon(z1, torch.arange(3).repeat(2), temperature=temperature),
        )
    torch.stack(losses).sum().backward()
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses)
    assert z1.grad.isfinite().all()
