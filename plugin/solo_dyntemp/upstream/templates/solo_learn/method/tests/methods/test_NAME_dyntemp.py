import pytest
import torch
from solo.methods import METHODS, CLASS, CLASSDynTemp

from .utils import gen_base_cfg, gen_batch, gen_trainer, prepare_dummy_dataloaders


def gen_cfg(method="NAME_dyntemp", **method_kwargs):
    cfg = gen_base_cfg(method, batch_size=2, num_classes=100, momentum=True)
    cfg.method_kwargs = {
        "proj_output_dim": 256,
        "proj_hidden_dim": 2048,
        **method_kwargs,
    }
    return cfg


def test_NAME_dyntemp_cfg():
    assert METHODS["NAME_dyntemp"] is CLASSDynTemp

    cfg = CLASSDynTemp.add_and_assert_specific_cfg(gen_cfg(temperature=0.5))
    assert (cfg.method_kwargs.tau_min, cfg.method_kwargs.tau_max) == (TAU_MIN, TAU_MAX)
    # adding defaults again changes nothing
    assert CLASSDynTemp.add_and_assert_specific_cfg(cfg.copy()) == cfg

    for wrong in [{"tau_min": 0}, {"tau_min": 0.3}]:
        with pytest.raises(AssertionError, match="tau_min"):
            CLASSDynTemp.add_and_assert_specific_cfg(gen_cfg(**wrong))


def test_NAME_dyntemp_is_NAME_for_equal_taus():
    torch.manual_seed(0)
    model = CLASS(gen_cfg("NAME", temperature=0.2))
    dyntemp_model = CLASSDynTemp(gen_cfg(tau_min=0.2, tau_max=0.2))
    dyntemp_model.load_state_dict(model.state_dict())

    batch, batch_idx = gen_batch(8, 100, "cifar10")
    losses = []
    for each in [model, dyntemp_model]:
        each.log = each.log_dict = lambda *args, **kwargs: None
        losses.append(each.training_step(batch, batch_idx))
    assert torch.allclose(*losses, atol=1e-5)


def test_NAME_dyntemp():
    # imagenet and cifar
    for dataset, num_classes in [("custom", 100), ("cifar10", 10)]:
        cfg = gen_cfg()
        cfg.data.dataset = dataset
        cfg.data.num_classes = num_classes
        model = CLASSDynTemp(cfg)
        before = model.projector[0].weight.clone()

        trainer = gen_trainer(cfg)
        train_dl, val_dl = prepare_dummy_dataloaders(
            "cifar10" if dataset == "cifar10" else "imagenet100",
            num_large_crops=cfg.data.num_large_crops,
            num_small_crops=0,
            num_classes=num_classes,
            batch_size=cfg.optimizer.batch_size,
        )
        trainer.fit(model, train_dl, val_dl)
        assert not torch.equal(model.projector[0].weight, before)
        assert trainer.callback_metrics["train_nce_loss"].isfinite()
