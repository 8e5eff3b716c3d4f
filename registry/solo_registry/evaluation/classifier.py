"""A linear head on a backbone, and the recipe that trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from solo_registry.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """The settings of a classifier's training; lr is per 256 images.

    The commands' defaults are those of the dynamic-temperature paper's code for the linear probe
    (90 epochs, lr 0.1) and for fine-tuning (30 epochs, lr 0.05).
    """

    frozen: bool
    epochs: int
    lr: float
    labels: float = 1.0
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 0.0
    pretrained: bool = True

    def check(self) -> None:
        """Refuse values that cannot work.

        Raises:
            UserError: a value is out of its range.
        """
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.labels <= 1:
            raise UserError(f"labels must be above 0 and at most 1, got {self.labels}")
        if not 0 < self.lr < float("inf"):
            raise UserError(f"lr must be above 0 and finite, got {self.lr}")

    @property
    def name(self) -> str:
        """Name of the result's file.

        >>> Recipe(frozen=False, epochs=1, lr=0.1, labels=0.1).name
        'finetune-10pct'
        """
        share = "" if self.labels == 1 else f"-{100 * self.labels:g}pct"
        untrained = "" if self.pretrained else "-untrained"
        return ("linear" if self.frozen else "finetune") + share + untrained


class Classifier(LightningModule):
    """A backbone with a linear head; a frozen backbone stays in evaluation mode.

    Args:
        backbone: maps images to features (N, D).
        features_dim: D.
        num_classes: number of classes.
        recipe: how to train.
        lr: effective learning rate.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features_dim: int,
        num_classes: int,
        recipe: Recipe,
        lr: float,
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(not recipe.frozen)
        self.head = nn.Linear(features_dim, num_classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.recipe, self.lr = recipe, lr
        self.strict_loading = not recipe.frozen

    def train(self, mode: bool = True) -> Classifier:
        """Set the mode; a frozen backbone stays in evaluation mode and keeps its statistics."""
        super().train(mode)
        if self.recipe.frozen:
            self.backbone.eval()
        return self

    def on_train_start(self) -> None:
        """Set the modes here, because Lightning keeps each module in the mode that it has."""
        self.train()

    def forward(self, X: Tensor) -> Tensor:
        """Map images to class scores (N, C)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.recipe.frozen):
            feats = self.backbone(X)
        scores: Tensor = self.head(feats)
        return scores

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy of one view of each image."""
        _, (view,), targets = batch
        loss = F.cross_entropy(self(view), targets)
        self.log("loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out a frozen backbone: the run has it, and every epoch would write it again."""
        if self.recipe.frozen:
            head = {name: w for name, w in checkpoint["state_dict"].items() if name[:5] == "head."}
            checkpoint["state_dict"] = head

    def configure_optimizers(self) -> Any:
        """SGD with a cosine to 0 over all steps."""
        optimizer = torch.optim.SGD(
            [weight for weight in self.parameters() if weight.requires_grad],
            lr=self.lr,
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = {"scheduler": CosineAnnealingLR(optimizer, steps), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}
