from typing import Any, Sequence

import omegaconf
import torch
from solo.losses.mocov2plus_dyntemp import mocov2plus_dyntemp_loss_func
from solo.methods.base import BaseMomentumMethod
from solo.methods.mocov2plus import MoCoV2Plus
from solo.methods.simclr_dyntemp import add_and_assert_dyntemp_cfg
from solo.utils.misc import gather


class MoCoV2PlusDynTemp(MoCoV2Plus):
    def __init__(self, cfg: omegaconf.DictConfig):
        """Implements MoCo V2+ with a temperature that is a function of each pair's similarity
        (DySTreSS, https://arxiv.org/abs/2308.01140).

        Extra cfg settings:
            method_kwargs:
                proj_output_dim (int): number of dimensions of projected features.
                proj_hidden_dim (int): number of neurons of the hidden layers of the projector.
                queue_size (int): number of samples to keep in the queue.
                tau_min (float): temperature of pairs with similarity 0. Defaults to 0.1.
                tau_max (float): temperature of pairs with similarity -1 and 1. Defaults to 0.2.
                detach_temperature (bool): stops the gradient through the temperature.
                    Defaults to True.
        """

        super().__init__(cfg)

        self.tau_min: float = cfg.method_kwargs.tau_min
        self.tau_max: float = cfg.method_kwargs.tau_max
        self.detach_temperature: bool = cfg.method_kwargs.detach_temperature

    @staticmethod
    def add_and_assert_specific_cfg(cfg: omegaconf.DictConfig) -> omegaconf.DictConfig:
        """Adds method specific default values/checks for config.

        Args:
            cfg (omegaconf.DictConfig): DictConfig object.

        Returns:
            omegaconf.DictConfig: same as the argument, used to avoid errors.
        """

        cfg = super(MoCoV2PlusDynTemp, MoCoV2PlusDynTemp).add_and_assert_specific_cfg(cfg)
        return add_and_assert_dyntemp_cfg(cfg)

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> torch.Tensor:
        """Training step for MoCo V2+ with dynamic temperature reusing BaseMomentumMethod
        training step.

        Args:
            batch (Sequence[Any]): a batch of data in the
                format of [img_indexes, [X], Y], where [X] is a list of size self.num_large_crops
                containing batches of images.
            batch_idx (int): index of the batch.

        Returns:
            torch.Tensor: total loss composed of the contrastive loss and classification loss.
        """

        # MoCo V2+'s own step would add the loss with a fixed temperature
        out = BaseMomentumMethod.training_step(self, batch, batch_idx)
        class_loss = out["loss"]
        queries, keys = out["z"], out["momentum_z"]

        # each view against the keys of the other one
        nce_loss = 0
        for view, queue in enumerate(self.queue.clone().detach()):
            nce_loss += mocov2plus_dyntemp_loss_func(
                queries[1 - view],
                keys[view],
                queue,
                tau_min=self.tau_min,
                tau_max=self.tau_max,
                detach_temperature=self.detach_temperature,
            )
        nce_loss = nce_loss / 2

        self._dequeue_and_enqueue(torch.stack([gather(key) for key in keys]))

        self.log("train_nce_loss", nce_loss, on_epoch=True, sync_dist=True)

        return nce_loss + class_loss
