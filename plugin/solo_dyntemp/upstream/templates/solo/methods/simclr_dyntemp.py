import logging
from typing import Any, Sequence

import omegaconf
import torch
from solo.losses.simclr_dyntemp import simclr_dyntemp_loss_func
from solo.methods.base import BaseMethod
from solo.methods.simclr import SimCLR
from solo.utils.misc import omegaconf_select


def add_and_assert_dyntemp_cfg(cfg: omegaconf.DictConfig) -> omegaconf.DictConfig:
    """Adds default values/checks for the temperature that depends on the similarity.

    Args:
        cfg (omegaconf.DictConfig): DictConfig object.

    Returns:
        omegaconf.DictConfig: same as the argument, used to avoid errors.
    """

    for key in ["proj_output_dim", "proj_hidden_dim"]:
        if omegaconf_select(cfg, f"method_kwargs.{key}") is None:
            raise ValueError(f"{cfg.method} needs method_kwargs.{key}.")

    if omegaconf_select(cfg, "method_kwargs.temperature") is not None:
        logging.warning(
            f"method_kwargs.temperature is not used: {cfg.method} takes tau_min and tau_max."
        )
    # the parent classes read it
    cfg.method_kwargs.temperature = None

    tau_min = cfg.method_kwargs.tau_min = omegaconf_select(cfg, "method_kwargs.tau_min", 0.1)
    tau_max = cfg.method_kwargs.tau_max = omegaconf_select(cfg, "method_kwargs.tau_max", 0.2)
    if not 0 < tau_min <= tau_max < float("inf"):
        raise ValueError(
            "method_kwargs must satisfy 0 < tau_min <= tau_max, "
            f"got tau_min={tau_min} and tau_max={tau_max}."
        )
    cfg.method_kwargs.detach_temperature = omegaconf_select(
        cfg, "method_kwargs.detach_temperature", True
    )

    return cfg


class SimCLRDynTemp(SimCLR):
    def __init__(self, cfg: omegaconf.DictConfig):
        """Implements SimCLR with a temperature that is a function of each pair's similarity
        (DySTreSS, https://arxiv.org/abs/2308.01140).

        Extra cfg settings:
            method_kwargs:
                proj_output_dim (int): number of dimensions of the projected features.
                proj_hidden_dim (int): number of neurons in the hidden layers of the projector.
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

        cfg = super(SimCLRDynTemp, SimCLRDynTemp).add_and_assert_specific_cfg(cfg)
        return add_and_assert_dyntemp_cfg(cfg)

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> torch.Tensor:
        """Training step for SimCLR with dynamic temperature reusing BaseMethod training step.

        Args:
            batch (Sequence[Any]): a batch of data in the format of [img_indexes, [X], Y], where
                [X] is a list of size num_crops containing batches of images.
            batch_idx (int): index of the batch.

        Returns:
            torch.Tensor: total loss composed of the contrastive loss and classification loss.
        """

        # SimCLR's own step would add the loss with a fixed temperature
        out = BaseMethod.training_step(self, batch, batch_idx)
        class_loss = out["loss"]

        nce_loss = simclr_dyntemp_loss_func(
            torch.cat(out["z"]),
            indexes=batch[0].repeat(self.num_crops),
            tau_min=self.tau_min,
            tau_max=self.tau_max,
            detach_temperature=self.detach_temperature,
        )

        self.log("train_nce_loss", nce_loss, on_epoch=True, sync_dist=True)

        return nce_loss + class_loss
