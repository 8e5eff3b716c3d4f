import pytest
import torch
from solo.methods import METHODS, MoCoV2PlusDynTemp

from .utils import gen_base_cfg, gen_batch, gen_trainer, prepare_dummy_dataloaders


def gen_cfg(**method_kwargs):
    cfg = gen_base_cfg("mocov2plus_dyntemp", batch_size=2, num_classes=100, momentum=True)
    cfg.method_kwargs = {
        "proj_output_dim": 256,
        "proj_hidden_dim": 2048,
        "queue_size": 512,
        **method_kwargs,
    }
    return cfg


def test_mocov2plus_dyntemp_cfg():
    assert METHODS["mocov2plus_dyntemp"] is MoCoV2PlusDynTemp

    cfg = MoCoV2PlusDynTemp.add_and_assert_specific_cfg(gen_cfg())
    assert (cfg.method_kwargs.tau_min, cfg.method_kwargs.tau_max) == (0.1, 0.2)

    with pytest.raises(ValueError, match="tau_min <= tau_max"):
        MoCoV2PlusDynTemp.add_and_assert_specific_cfg(gen_cfg(tau_min=-0.1))


def test_mocov2plus_dyntemp():
    cfg = gen_cfg(tau_min=0.1, tau_max=0.2)
    model = MoCoV2PlusDynTemp(cfg)

    # test parameters
    assert model.learnable_params is not None

    # test forward
    batch, _ = gen_batch(cfg.optimizer.batch_size, cfg.data.num_classes, "imagenet100")
    for out in [model(batch[1][0]), model.momentum_forward(batch[1][0])]:
        assert out["feats"].size() == (cfg.optimizer.batch_size, model.features_dim)
        assert out["z"].size() == (cfg.optimizer.batch_size, 256)

    # imagenet and cifar
    for dataset, num_classes in [("custom", 100), ("cifar10", 10)]:
        cfg.data.dataset = dataset
        cfg.data.num_classes = num_classes
        model = MoCoV2PlusDynTemp(cfg)
        before = model.queue.clone()

        trainer = gen_trainer(cfg)
        train_dl, val_dl = prepare_dummy_dataloaders(
            "cifar10" if dataset == "cifar10" else "imagenet100",
            num_large_crops=cfg.data.num_large_crops,
            num_small_crops=0,
            num_classes=num_classes,
            batch_size=cfg.optimizer.batch_size,
        )
        trainer.fit(model, train_dl, val_dl)
        # the keys of one batch have replaced the oldest ones
        changed = (model.queue != before).any(1)
        assert changed[:, : cfg.optimizer.batch_size].all()
        assert not changed[:, cfg.optimizer.batch_size :].any()
        assert torch.equal(model.queue_ptr, torch.tensor([cfg.optimizer.batch_size]))
