"""The loss modules in the place of other libraries': same calls, same values, same gradients."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss

import solo_dyntemp.losses as losses
from solo_dyntemp.losses import (
    DynTempCLIPLoss,
    DynTempNTXentLoss,
    DynTempPairedInfoNCE,
    DynTempSupConLoss,
    dyntemp_ntxent,
    dyntemp_supcon,
)
from solo_dyntemp.temperature import (
    ConstantTemperature,
    CosineTemperature,
    ISogCLRTemperature,
    LearnableTemperature,
    MACLTemperature,
    TeMoTemperature,
)

COSINE = CosineTemperature(0.1, 0.2)
# at tau_min = tau_max the losses must be those of everybody else
FIXED = [0.2, ConstantTemperature(0.2), CosineTemperature(0.2, 0.2)]
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3])  # 2 and 3 are alone


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


@pytest.fixture(params=["dense", "tiled"])
def options(request, detach):
    return {"implementation": request.param, "detach_temperature": detach}


@pytest.mark.parametrize("temperature", FIXED, ids=str)
def test_ntxent_is_lightlys(gradients, assert_same, options, temperature):
    views = random(7, 6), random(7, 6)
    ours = gradients(DynTempNTXentLoss(temperature, **options), *views)
    assert_same(ours, gradients(NTXentLoss(0.2), *views), 1e-10)


def test_ntxent_equals_the_formula(gradients, assert_same, reference, options, curve, detach):
    views, images = (random(4, 6), random(4, 6)), torch.arange(4).repeat(2)
    ours = gradients(DynTempNTXentLoss(curve, **options), *views)
    expected = gradients(
        lambda a, b: reference.infonce(torch.cat([a, b]), images, curve, detach), *views
    )
    assert_same(ours, expected, 1e-10)


def test_the_memory_bank_is_lightlys(gradients, assert_same, options, reference, detach):
    theirs = NTXentLoss(0.2, memory_bank_size=(10, 6)).double()
    ours = DynTempNTXentLoss(0.2, (10, 6), **options).double()
    bent = DynTempNTXentLoss(COSINE, memory_bank_size=(10, 6), **options).double()
    for loss in (ours, bent):
        loss.bank.copy_(theirs.memory_bank.bank)
    for _ in range(4):  # the third batch is longer than what is left of the bank
        views, keys = (random(4, 6), random(4, 6)), ours.bank.T.clone()
        assert_same(gradients(ours, *views), gradients(theirs, *views), 1e-7)  # its keys: float32
        expected = gradients(lambda q, k, n=keys: reference.queue(q, k, n, COSINE, detach), *views)
        assert_same(gradients(bent, *views), expected, 1e-10)
        torch.testing.assert_close(ours.bank, theirs.memory_bank.bank)
        assert torch.equal(ours.bank, bent.bank)


def test_the_memory_bank_is_saved_and_evaluation_leaves_it():
    loss, other = (DynTempNTXentLoss(memory_bank_size=(8, 6)) for _ in range(2))
    loss(random(3, 6, dtype=torch.float32).requires_grad_(), random(3, 6, dtype=torch.float32))
    before = loss.bank.clone()
    loss(random(3, 6, dtype=torch.float32), random(3, 6, dtype=torch.float32))
    assert torch.equal(loss.bank, before)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.bank, before) and other.bank_next == loss.bank_next == 3
    assert not DynTempNTXentLoss().state_dict()


def test_ntxent_per_sample_takes_indexes():
    loss = DynTempNTXentLoss(ISogCLRTemperature(9).double())
    before = loss.temperature.tau.clone()
    z = random(3, 4).requires_grad_()
    loss(z, z.cos(), torch.tensor([8, 2, 5]))
    changed = loss.temperature.tau != before
    assert changed.nonzero().flatten().tolist() == [2, 5, 8]


def plain_clip(images, texts, scale, tau=None):
    """open_clip's formula with the scale divided by τ(s) / τ_min."""
    s = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    logits = scale * s if tau is None else scale * s * tau.tau_min / tau(s)
    own = torch.arange(len(s))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@pytest.mark.parametrize("temperature", [*FIXED, "constant", 1.0], ids=str)
def test_clip_is_open_clips(gradients, assert_same, detach, temperature):
    towers = random(6, 5), random(6, 5), torch.tensor(14.0, dtype=torch.float64)
    ours = DynTempCLIPLoss(temperature, detach_temperature=detach)
    expected = gradients(plain_clip, *towers)
    assert_same(gradients(ours, *towers), expected, 1e-10)
    for implementation in ("dense", "tiled"):  # tiled does without the gradient of the scale
        ours = DynTempCLIPLoss(temperature, None, detach, implementation)
        same = gradients(lambda a, b, loss=ours: loss(a, b, towers[2]), *towers[:2])
        assert_same(same, expected[:3], 1e-10)
    assert ours(*towers, output_dict=True)["contrastive_loss"] == ours(*towers)


def test_clip_equals_the_formula(gradients, assert_same, curve):
    towers = random(6, 5), random(6, 5), torch.tensor(14.0, dtype=torch.float64)
    ours = DynTempCLIPLoss(curve, detach_temperature=False)
    if isinstance(curve, TeMoTemperature):  # two temperatures, and CLIP learns one scale
        with pytest.raises(ValueError, match="cannot be scaled"):
            ours(*towers)
        return
    assert_same(
        gradients(ours, *towers), gradients(lambda *x: plain_clip(*x, tau=curve), *towers), 1e-10
    )
    for implementation in ("dense", "tiled"):  # without a scale τ is what the temperature says
        ours = DynTempCLIPLoss(curve, None, False, implementation)
        expected = plain_clip(*towers[:2], 1 / curve.tau_min, tau=curve)
        torch.testing.assert_close(ours(*towers[:2]), expected)


def test_clip_trains_its_own_scale_as_clip_does():
    images, texts = random(6, 5), random(6, 5)
    loss = DynTempCLIPLoss(COSINE, logit_scale=14.0, detach_temperature=False).double()
    loss(images, texts).backward()
    log_scale = torch.tensor(14.0, dtype=torch.float64).log().requires_grad_()
    plain_clip(images, texts, log_scale.exp(), tau=COSINE).backward()
    (parameter,) = loss.parameters()
    torch.testing.assert_close(parameter.grad, log_scale.grad, rtol=1e-6, atol=0)
    with torch.no_grad():
        parameter.fill_(9.0)
    torch.testing.assert_close(loss(images, texts), plain_clip(images, texts, 100.0, tau=COSINE))


def test_paired_is_simcses(gradients, assert_same, options):
    def expected(a, b):
        logits = F.cosine_similarity(a[:, None], b[None], dim=2) / 0.2
        return F.cross_entropy(logits, torch.arange(len(a)))

    pairs = random(6, 5), random(6, 5)
    ours = DynTempPairedInfoNCE(0.2, **options)
    assert_same(gradients(ours, *pairs), gradients(expected, *pairs), 1e-10)


@pytest.mark.parametrize("form", ["out", "in"])
def test_supcon_leaves_out_anchors_that_are_alone(
    gradients, assert_same, reference, curve, detach, form
):
    z = random(len(LABELS), 6)

    def expected(z):
        sums = []
        for i in (0, 1, 2, 4, 5):
            others = [j for j in range(len(z)) if j != i]
            logits = torch.stack([reference.logit(z[i], z[j], curve, detach) for j in others])
            positives = logits[torch.tensor([bool(LABELS[j] == LABELS[i]) for j in others])]
            inside = positives.mean() if form == "out" else positives.logsumexp(0)
            sums.append(logits.logsumexp(0) - inside)
        return torch.stack(sums).mean()

    ours = DynTempSupConLoss(curve, detach, form)
    assert_same(gradients(lambda z: ours(z, LABELS), z), gradients(expected, z), 1e-10)


@pytest.mark.parametrize("labels", [LABELS, torch.arange(7) // 2, torch.arange(7) % 2])
def test_supcon_is_pytorch_metric_learnings(gradients, assert_same, labels):
    theirs = pytest.importorskip("pytorch_metric_learning.losses").SupConLoss(0.2)
    z = random(7, 6)
    for temperature in FIXED:
        ours = DynTempSupConLoss(temperature)
        expected = gradients(lambda z: theirs(z, labels), z)
        assert_same(gradients(lambda z, loss=ours: loss(z, labels), z), expected, 1e-6)


@pytest.mark.parametrize("form", ["out", "in"])
def test_a_batch_without_positives_has_no_loss(gradients, form):
    value, gradient = gradients(
        lambda z: dyntemp_supcon(z, torch.arange(4), temperature=COSINE, form=form), random(4, 3)
    )
    assert value == 0 and not gradient.any()


@pytest.mark.parametrize("name", [name for name in losses.__all__ if name.startswith("DynTemp")])
def test_every_module_is_a_cosine_unless_told_and_takes_names(name):
    module = getattr(losses, name)
    assert module().temperature == module("cosine").temperature == COSINE
    assert isinstance(module("learnable").temperature, LearnableTemperature)
    assert "CosineTemperature(tau_min=0.1, tau_max=0.2)" in repr(module())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: DynTempNTXentLoss("cosin"), "Did you mean 'cosine'"),
        (lambda z: dyntemp_ntxent(z, z, temperature="learnable"), "'learnable' has a state that"),
        (lambda z: DynTempNTXentLoss("isogclr"), "'isogclr' needs the keyword 'size'"),
        (lambda z: DynTempNTXentLoss()(z, torch.arange(4)), "DynTempSupConLoss takes embeddings"),
        (lambda z: DynTempNTXentLoss()(z, z[:3]), r"z0 \(4, 6\), z1 \(3, 6\)"),
        (lambda z: DynTempNTXentLoss(memory_bank_size=9), "keys, dimension.*got 9"),
        (lambda z: DynTempNTXentLoss(memory_bank_size=(9, 0)), r"got \(9, 0\)"),
        (lambda z: DynTempCLIPLoss(logit_scale=0.07), r"in \[1, 100\], got 0\.07"),
        (lambda z: DynTempCLIPLoss(logit_scale=10)(z, z, 10.0), "of its own, so pass none"),
        (lambda z: DynTempCLIPLoss(MACLTemperature())(z, z, 10.0), "weighs anchors or pairs"),
        (lambda z: DynTempSupConLoss(form="both"), "out, in, got 'both'"),
        (lambda z: DynTempSupConLoss(skip_alone=False)(z, torch.arange(4)), "4 of 4 have one"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(random(4, 6, dtype=torch.float32))


def with_queue(**options):
    loss, keys = losses.DynTempQueueInfoNCE(**options), random(8, 20, dtype=torch.float32)
    return lambda query, key: loss(query, key, keys)


COMPILED = {
    "ntxent": DynTempNTXentLoss,
    "bank": partial(DynTempNTXentLoss, memory_bank_size=(20, 8)),
    "queue": with_queue,
    "dcl": losses.DynTempDCL,
    "dclw": partial(losses.DynTempDCL, sigma=0.5),
    "paired": partial(DynTempPairedInfoNCE, symmetric=True),
    "clip": partial(DynTempCLIPLoss, logit_scale=10.0),
}


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", COMPILED)
def test_dense_compiles_to_one_graph(gradients, assert_same, detach, backend, name):
    torch._dynamo.reset()
    loss = COMPILED[name](detach_temperature=detach, implementation="dense")
    plain = copy.deepcopy(loss)  # a bank changes with each call
    views = random(12, 8, dtype=torch.float32), random(12, 8, dtype=torch.float32)
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    for _ in range(2):
        assert_same(gradients(compiled, *views), gradients(plain, *views), 1e-5)
