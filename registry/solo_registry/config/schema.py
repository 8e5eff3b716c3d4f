"""Every config key, its type, its default, its help and what is allowed.

Keys are solo-learn's wherever it has one; the help of the others begins with "Ours". Hydra composes
the YAML groups onto `PretrainConfig`, so an unknown key or a wrong type is an error before anything
runs. `keys.py` says what `key` declares; docs/config.md shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from solo_registry.catalog.declared import SHARE, TAU
from solo_registry.config.data_schema import SEEDS, AugmentationConfig, DataConfig
from solo_registry.config.keys import key

PRECISIONS = (
    32, "16-mixed", "bf16-mixed", 64, "16-true", "bf16-true",
    "transformer-engine", "transformer-engine-float16",
)  # fmt: skip
# Lightning's other spellings of these; one spelling, so that equal runs have one folder
PRECISION_OF = {"16": "16-mixed", "bf16": "bf16-mixed", "32-true": 32, "64-true": 64}


@dataclass
class BackboneConfig:
    """Which network makes the features."""

    name: str | None = key(
        "resnet18", "A short name (`dyntemp backbones`), timm/NAME, or null: from the images."
    )
    kwargs: dict[str, Any] = key(dict, "Keyword arguments of the network's constructor.")
    weights: str | None = key(
        None, "Ours: a file of weights to start from: torch, timm, lightly, solo-learn; null draws."
    )
    weights_digest: str | None = key(None, "Ours: SHA-256 of that file.", derived=True)


@dataclass
class OptimizerConfig:
    """How the weights move. `lr` is per 256 images of a step; `effective_lr` is what is used."""

    name: str | None = key("lars", "The optimizer; null chooses by the images.",
                           choices=("adam", "adamw", "lars", "sgd"))  # fmt: skip
    batch_size: int | None = key(
        256, "Images that a device's loss compares; null: from their number.", least=1
    )
    micro_batch_size: int | None = key(
        None,
        "Ours: images forwarded at a time, for the memory of these; divides batch_size; null: all.",
        least=1,
    )
    lr: float | None = key(
        0.3, "Learning rate per 256 images of an optimizer step; null suits the optimizer.", least=0
    )
    weight_decay: float = key(1e-4, "Weight decay.", least=0)
    classifier_lr: float | None = key(
        0.1, "Learning rate of the online linear classifier, likewise per 256 images.", least=0
    )
    exclude_bias_n_norm_wd: bool = key(False, "Whether biases and norms get no weight decay.")
    kwargs: dict[str, Any] = key(dict, "More arguments of the optimizer, such as momentum.")
    effective_lr: float | None = key(
        None, "Ours: lr x images of an optimizer step / 256.", derived=True
    )
    effective_classifier_lr: float | None = key(
        None, "Ours: classifier_lr x images of an optimizer step / 256.", derived=True
    )


@dataclass
class SchedulerConfig:
    """How the learning rate moves."""

    name: str = key("warmup_cosine", "The schedule.", choices=("none", "step", "warmup_cosine"))
    warmup_epochs: float | None = key(
        10, "Epochs of linear warmup, max_epochs at most; null is a tenth of them.", least=0
    )
    warmup_start_lr: float = key(3e-5, "Effective rate at the start, not per 256 images.", least=0)
    min_lr: float = key(0.0, "Effective rate at the end, not per 256 images.", least=0)
    lr_decay_steps: list[int] | None = key(
        None, "Epochs at which name=step divides the rate by 10.", least=1
    )
    interval: str = key("step", "How often the rate changes.", choices=("epoch", "step"))


@dataclass
class MomentumConfig:
    """The moving average of momentum methods: m goes from base_tau to final_tau by a cosine."""

    base_tau: float = key(0.99, "m at the start; 1 keeps the average as it is.", **SHARE)
    final_tau: float = key(1.0, "m at the end.", **SHARE)
    classifier: bool = key(False, "Train an online classifier on the average's features too.")


@dataclass
class KnnEvalConfig:
    """Online kNN on each epoch's training features."""

    enabled: bool = key(False, "Whether it is measured.")
    k: int = key(20, "Number of neighbours.", least=1)
    distance_func: str = key("euclidean", "Distance of two features.",
                             choices=("cosine", "euclidean"))  # fmt: skip


@dataclass
class EvaluationConfig:
    """Ours: what is measured when training ends, on frozen features of the last epoch."""

    enabled: bool = key(True, "Whether anything is measured.")
    knn_k: int = key(20, "Neighbours of the weighted cosine kNN.", least=1)
    knn_temperature: float = key(0.1, "Temperature of the kNN's weights.", **TAU)
    max_train: int = key(50_000, "Training images used at most, by the linear probe and kNN.",
                         least=2)  # fmt: skip
    pictures: bool = key(True, "Draw curves, features and similarities.")
    map: str = key("tsne", "Map of the features; umap needs the package umap-learn.",
                   choices=("tsne", "umap"))  # fmt: skip
    linear: bool = key(True, "Fit the linear probe, which of all measures takes the most time.")
    baselines: bool = key(True, "Measure raw pixels and the untrained backbone too.")


@dataclass
class TelemetryConfig:
    """Ours: trajectory.parquet and mechanism.parquet; before, during and after training."""

    every_n_epochs: int = key(10, "Epochs between measurements; 0 measures nothing.", least=0)
    images: int = key(1024, "Training images measured, in batches of the training's size.", least=2)
    bins: int = key(100, "Bins of the similarity, on [-1, 1].", least=2, most=10_000)


@dataclass
class CheckpointConfig:
    """When a run saves checkpoints/last.ckpt after an epoch, and inside.ckpt within one."""

    enabled: bool = key(True, "Accepted, not used: a run always saves.")
    dir: str | None = key(None, "Accepted, not used: a run saves in its own folder.")
    frequency: int = key(1, "Epochs between saves; the last epoch is always saved.", least=1)
    keep_prev: bool = key(False, "Keep epoch-N.ckpt of every save as well.")
    every_n_minutes: float | None = key(
        None, "Ours: minutes between saves within an epoch; null saves at a signal only.", above=0
    )


@dataclass
class WandbConfig:
    """Weights & Biases; used when enabled or when `logger` is wandb."""

    enabled: bool = key(False, "Whether the run logs there.")
    entity: str | None = key(None, "Account or team; null is your default.")
    project: str = key("solo-dyntemp", "Project.")
    offline: bool = key(False, "Write to the run's folder, to be sent later by `wandb sync`.")


@dataclass
class PerformanceConfig:
    """Switches that change speed, and numbers in their last digits only."""

    disable_channel_last: bool = key(False, "Keep images and weights in the channels-first layout.")
    compile: bool = key(
        False, "Ours: train the network through torch.compile, which takes a minute at the start."
    )
    compile_mode: str = key(
        "default", "Ours: mode of torch.compile; reduce-overhead replays a step as CUDA graphs.",
        choices=("default", "reduce-overhead", "max-autotune"),
    )  # fmt: skip


@dataclass
class AutoResumeConfig:
    """A run resumes from its own folder, and from no other."""

    enabled: bool = key(True, "Whether an unfinished run goes on; false starts it anew.")
    max_hours: int = key(36, "Accepted, not used: there is no limit.")


@dataclass
class AutoUmapConfig:
    """solo-learn's section, accepted and not used: the map is drawn when training ends."""

    enabled: bool = key(False, "Accepted, not used: see evaluation.map.")
    dir: str | None = key(None, "Accepted, not used.")
    frequency: int = key(1, "Accepted, not used.")


@dataclass
class DaliConfig:
    """For `data.format=dali`, which takes `data.num_workers` threads."""

    device: str = key("auto", "Where views are made; auto is where the run is.",
                      choices=("auto", "cpu", "gpu"))  # fmt: skip
    encode_indexes_into_labels: bool = key(False, "Accepted, not used: indexes are always true.")


@dataclass
class PretrainConfig:
    """One pretraining run."""

    method: str = key(MISSING, "Name of the method; `dyntemp methods` lists them.")
    method_kwargs: dict[str, Any] = key(
        dict, "The method's own keys: `dyntemp pretrain method=NAME --help` lists them."
    )
    momentum: MomentumConfig = field(default_factory=MomentumConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentations: list[AugmentationConfig] = field(default_factory=list)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    knn_eval: KnnEvalConfig = field(default_factory=KnnEvalConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)

    name: str | None = key(None, "First folder of the run; null is METHOD-DATASET.")
    seed: int = key(5, "Seed of everything random in the run.", **SEEDS)
    runs_dir: str = key("runs", "Ours: folder in which runs get their folders.")
    resume_from_checkpoint: str | None = key(
        None, "A checkpoint of the same settings and images to go on from; null is the run's own."
    )
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    auto_resume: AutoResumeConfig = field(default_factory=AutoResumeConfig)
    auto_umap: AutoUmapConfig = field(default_factory=AutoUmapConfig)
    dali: DaliConfig = field(default_factory=DaliConfig)
    logger: str = key("csv", "Ours: who else gets the numbers; metrics.csv is always written.",
                      choices=("csv", "tensorboard", "wandb"))  # fmt: skip
    wandb: WandbConfig = field(default_factory=WandbConfig)
    progress: str = key("auto", "Ours: how progress is shown; auto is a bar on a terminal.",
                        choices=("auto", "bar", "lines", "none"))  # fmt: skip
    debug_augmentations: bool = key(False, "Draw views to plots/views.png, as `dyntemp views`.")
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)

    # handed to Lightning's Trainer
    max_epochs: int | None = key(
        100, "Epochs of training; null: from the number of images.", least=1
    )
    devices: Any = key(1, 'A count, a list of ids ("3," is device 3), or auto for all of them.')
    num_nodes: int = key(1, "Machines that train together.", least=1)
    timeout_minutes: float = key(
        10,
        "Ours: how long a process waits for the others, at the start too.",
        above=0,
        most=100_000,
    )
    accelerator: str = key(
        "auto", "Where to train: auto (CUDA, or else the CPU), or Lightning's cpu, gpu, mps."
    )
    strategy: str | None = key("auto", "How processes train together, as Lightning names it.")
    precision: Any = key(32, "Of the numbers, as Lightning names it.", choices=PRECISIONS)
    sync_batchnorm: bool = key(False, "Whether BatchNorm sees the images of all processes.")
    accumulate_grad_batches: int = key(
        1,
        "Batches per optimizer step; adds no negatives: optimizer.micro_batch_size does.",
        least=1,
        most=65_536,
    )
    gradient_clip_val: float | None = key(
        None, "Largest norm of the gradient; 0 and null do not clip.", least=0
    )
    check_val_every_n_epoch: int = key(1, "Epochs between online measurements.", least=1)
    log_every_n_steps: int = key(50, "Steps between lines of the logger.", least=1)
    deterministic: Any = key("warn", "Use deterministic algorithms; warn where there is none.",
                             choices=(True, False, "warn"))  # fmt: skip
    benchmark: bool | None = key(None, "Let cuDNN try algorithms; null is Lightning's choice.")
