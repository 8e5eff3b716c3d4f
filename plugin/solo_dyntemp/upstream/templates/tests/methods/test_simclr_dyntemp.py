import pytest
import torch
from solo.methods import METHODS, SimCLRDynTemp

from .utils import gen_base_cfg, gen_batch, gen_trainer, prepare_dummy_dataloaders


def gen_cfg(**method_kwargs):
    cfg = gen_base_cfg("simclr_dyntemp", batch_size=2, num_classes=100)
    cfg.method_kwargs = {"proj_output_dim": 256, "proj_hidden_dim": 2048, **method_kwargs}
    return cfg


def test_simclr_dyntemp_cfg():
    assert METHODS["simclr_dyntemp"] is SimCLRDynTemp

    cfg = SimCLRDynTemp.add_and_assert_specific_cfg(gen_cfg(temperature=0.2))
    assert (cfg.method_kwargs.tau_min, cfg.method_kwargs.tau_max) == (0.1, 0.2)
    # adding defaults again changes nothing
    assert SimCLRDynTemp.add_and_assert_specific_cfg(cfg.copy()) == cfg

    for wrong in [{"tau_min": 0}, {"tau_min": 0.3}, {"tau_max": float("inf")}]:
        with pytest.raises(ValueError, match="tau_min <= tau_max"):
            SimCLRDynTemp.add_and_assert_specific_cfg(gen_cfg(**wrong))

    cfg = gen_cfg()
    del cfg.method_kwargs.proj_output_dim
    with pytest.raises(ValueError, match="needs method_kwargs.proj_output_dim"):
        SimCLRDynTemp.add_and_assert_specific_cfg(cfg)


def test_simclr_dyntemp():
    cfg = gen_cfg(tau_min=0.1, tau_max=0.2)
    model = SimCLRDynTemp(cfg)

    # test parameters
    assert model.learnable_params is not None

    # test forward
    batch, _ = gen_batch(cfg.optimizer.batch_size, cfg.data.num_classes, "imagenet100")
    out = model(batch[1][0])
    assert out["logits"].size() == (cfg.optimizer.batch_size, cfg.data.num_classes)
    assert out["feats"].size() == (cfg.optimizer.batch_size, model.features_dim)
    assert out["z"].size() == (cfg.optimizer.batch_size, 256)

    multicrop_out = model.multicrop_forward(batch[1][0])
    assert multicrop_out["feats"].size() == (cfg.optimizer.batch_size, model.features_dim)
    assert multicrop_out["z"].size() == (cfg.optimizer.batch_size, 256)

    # imagenet, cifar, multicrop
    for dataset, num_classes, num_small_crops in [
        ("custom", 100, 0),
        ("cifar10", 10, 0),
        ("custom", 10, 6),
    ]:
        cfg.data.dataset = dataset
        cfg.data.num_classes = num_classes
        cfg.data.num_small_crops = num_small_crops
        model = SimCLRDynTemp(cfg)
        before = model.projector[0].weight.clone()

        trainer = gen_trainer(cfg)
        train_dl, val_dl = prepare_dummy_dataloaders(
            "cifar10" if dataset == "cifar10" else "imagenet100",
            num_large_crops=cfg.data.num_large_crops,
            num_small_crops=num_small_crops,
            num_classes=num_classes,
            batch_size=cfg.optimizer.batch_size,
        )
        trainer.fit(model, train_dl, val_dl)
        assert not torch.equal(model.projector[0].weight, before)
        assert trainer.callback_metrics["train_nce_loss"].isfinite()
