"""DINO (Caron et al. 2021, arXiv 2104.14294)."""

from __future__ import annotations

from typing import Any, ClassVar

from lightly.loss import DINOLoss
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from solo_registry.catalog.kwargs import COUNT, TAU, Kwarg
from solo_registry.losses import full_precision, to_float32
from solo_registry.methods.base import BaseMomentumMethod, Batch, momentum_copy
from solo_registry.methods.parts.heads import DINOHead
from solo_registry.methods.parts.kwargs import projector_widths
from solo_registry.methods.parts.method import MethodMixin, MomentumProjectorMixin


class DINOMixin(MethodMixin, MomentumProjectorMixin):
    """DINO over any momentum base class; multi-crop too."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 256),
        "num_prototypes": Kwarg(4096, "Number of prototypes.", **COUNT),
        "use_bn_in_head": Kwarg(False, "Whether the projector has BatchNorm."),
        "norm_last_layer": Kwarg(True, "Whether the prototypes keep length 1."),
        "clip_grad": Kwarg(
            0.0,
            "Largest norm of the gradient of each of the backbone's tensors; 0 is no limit.",
            least=0,
        ),
        "freeze_last_layer": Kwarg(
            1, "First epochs in which the prototypes are not trained.", least=0
        ),
        "student_temperature": Kwarg(0.1, "Temperature of the student.", **TAU),
        "teacher_temperature": Kwarg(0.07, "Temperature of the teacher after warmup.", **TAU),
        "warmup_teacher_temperature": Kwarg(
            0.04, "Temperature of the teacher at the start of its warmup.", **TAU
        ),
        "warmup_teacher_temperature_epochs": Kwarg(
            0, "Epochs in which the teacher's temperature changes linearly.", least=0
        ),
    }

    ONE_IMAGE: ClassVar[bool] = True
    TWO_VIEWS: ClassVar[bool] = False

    projector: DINOHead

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = DINOHead(
            self.features_dim,
            kwargs.proj_hidden_dim,
            kwargs.proj_output_dim,
            kwargs.num_prototypes,
            batch_norm=kwargs.use_bn_in_head,
            norm_prototypes=kwargs.norm_last_layer,
        )
        self.momentum_projector = momentum_copy(self.projector)
        self.criterion = DINOLoss(
            output_dim=kwargs.num_prototypes,
            warmup_teacher_temp=kwargs.warmup_teacher_temperature,
            teacher_temp=kwargs.teacher_temperature,
            warmup_teacher_temp_epochs=kwargs.warmup_teacher_temperature_epochs,
            student_temp=kwargs.student_temperature,
        )

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the similarities to the prototypes, `z` (N, K)."""
        return {"z": self.projector(feats)}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: every crop predicts the teacher's view of every other large crop (eq. 3)."""
        out = super().training_step(batch, batch_idx)
        teacher, student = ([to_float32(z) for z in out[key]] for key in ("momentum_z", "z"))
        with full_precision(student[0]):
            loss = self.criterion(teacher, student, epoch=self.current_epoch)
        return self.total(out, loss, "dino")

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the backbone's gradients one by one; freeze the prototypes in the first epochs.

        Here the gradients are those of all accumulated batches, without the scale of 16-bit
        training.
        """
        super().on_before_optimizer_step(optimizer)
        kwargs = self.cfg.method_kwargs
        if kwargs.clip_grad:
            for parameter in self.backbone.parameters():
                nn.utils.clip_grad_norm_(parameter, kwargs.clip_grad)
        if self.current_epoch < kwargs.freeze_last_layer:
            self.projector.forget_gradients()


class DINO(DINOMixin, BaseMomentumMethod):
    """DINO on our own engine."""
