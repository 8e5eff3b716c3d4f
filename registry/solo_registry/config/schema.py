"""Every config key, its type and its default; the keys are solo-learn's wherever it has one.

Hydra composes the YAML groups onto `PretrainConfig`, so an unknown key or a wrong type is an error
before anything runs. Keys that solo-learn does not have say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class BackboneConfig:
    """Which network makes the features."""

    name: str = "resnet18"  # a short name, or timm/<any timm model>
    kwargs: dict[str, Any] = field(default_factory=dict)  # passed to the constructor


@dataclass
class LongTailConfig:
    """Ours: keep training images so that the classes, in their order, become rare."""

    profile: str | None = None  # exponential or step
    factor: float = 0.01  # smallest class over largest class
    seed: int = 0  # which images of a class; not the run's seed
    index_file: str | None = None  # in place of a profile: one index per line
    index_hash: str | None = None  # derived


@dataclass
class DataConfig:
    """Where the images come from."""

    dataset: str = MISSING
    train_path: str | None = "datasets"
    val_path: str | None = None
    format: str = "image_folder"  # image_folder, dali or h5; ours: on_device, for sets in memory
    num_workers: int = 4  # loader processes per device; changes speed, never results
    no_labels: bool = False
    fraction: float = -1  # share of the training images, -1 is all
    long_tail: LongTailConfig = field(default_factory=LongTailConfig)
    validation_fraction: float = 0  # ours: this share of train is held out and measured, not test
    download: bool = False  # ours: fetch a torchvision set that is not on disk
    class_list: str | None = None  # ours: a file of class folders; the others are left out
    train_split: str | None = None  # ours: for stl10, train, unlabeled or train+unlabeled
    on_error: str = "raise"  # ours: "skip" replaces unreadable images and counts them
    check_files: bool = True  # ours: look at every image file's header and end before training
    channels: int | None = None  # ours: 1 or 3 to convert, null keeps what the set has
    digest: str | None = None  # derived, what the images are; where given, other data are refused
    image_channels: int | None = None  # derived
    num_classes: int | None = None  # derived
    train_images: int | None = None  # derived
    num_large_crops: int | None = None  # derived
    num_small_crops: int | None = None  # derived


@dataclass
class CropConfig:
    """Random resized crop; scales are shares of the image's area."""

    enabled: bool = True
    crop_min_scale: float = 0.08
    crop_max_scale: float = 1.0


@dataclass
class JitterConfig:
    """Color jitter strengths, as in torchvision's ColorJitter."""

    prob: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0


@dataclass
class ChanceConfig:
    """An operation applied with a probability in [0, 1]."""

    prob: float = 0.0


@dataclass
class AugmentationConfig:
    """One augmentation pipeline; several make asymmetric or multi-crop views."""

    rrc: CropConfig = field(default_factory=CropConfig)
    color_jitter: JitterConfig = field(default_factory=JitterConfig)
    grayscale: ChanceConfig = field(default_factory=ChanceConfig)
    gaussian_blur: ChanceConfig = field(default_factory=ChanceConfig)
    solarization: ChanceConfig = field(default_factory=ChanceConfig)
    equalization: ChanceConfig = field(default_factory=ChanceConfig)
    horizontal_flip: ChanceConfig = field(default_factory=ChanceConfig)
    crop_size: int = MISSING  # pixels
    num_crops: int = 1
    mean: list[float] | None = None  # per channel in [0, 1]; null takes the data set's
    std: list[float] | None = None


@dataclass
class OptimizerConfig:
    """How the weights move. `lr` is per 256 images of a step; `effective_lr` is what is used."""

    name: str = "lars"  # sgd, lars, adam or adamw
    batch_size: int = 256  # per device
    lr: float = 0.3
    weight_decay: float = 1e-4
    classifier_lr: float = 0.1  # of the online linear classifier, per 256 images as well
    exclude_bias_n_norm_wd: bool = False
    kwargs: dict[str, Any] = field(default_factory=dict)
    effective_lr: float | None = None  # derived
    effective_classifier_lr: float | None = None  # derived


@dataclass
class SchedulerConfig:
    """How the learning rate moves."""

    name: str = "warmup_cosine"  # warmup_cosine, step or none
    warmup_epochs: float = 10
    warmup_start_lr: float = 3e-5  # effective, not per 256 images
    min_lr: float = 0.0
    lr_decay_steps: list[int] | None = None  # epochs, for step
    interval: str = "step"


@dataclass
class MomentumConfig:
    """The moving average of momentum methods: m goes from base_tau to final_tau by a cosine."""

    base_tau: float = 0.99
    final_tau: float = 1.0
    classifier: bool = False


@dataclass
class KnnEvalConfig:
    """Online kNN on each epoch's training features."""

    enabled: bool = False
    k: int = 20
    distance_func: str = "euclidean"


@dataclass
class EvaluationConfig:
    """Ours: what is measured when training ends, on frozen features of the last epoch."""

    enabled: bool = True
    knn_k: int = 20
    knn_temperature: float = 0.1
    max_train: int = 50_000  # images used at most, for the linear probe and kNN bank
    pictures: bool = True
    map: str = "tsne"  # of the features: tsne, or umap with umap-learn
    linear: bool = True  # fit the linear probe; of all measures it takes the most time
    baselines: bool = True  # measure raw pixels and the untrained backbone too


@dataclass
class TelemetryConfig:
    """Ours: trajectory.parquet and mechanism.parquet; before, during and after training."""

    every_n_epochs: int = 10  # 0 measures nothing
    images: int = 1024  # training images, in batches of the training's size
    bins: int = 100  # of the similarity, on [-1, 1]


@dataclass
class CheckpointConfig:
    """When a run saves checkpoints/last.ckpt; `enabled` and `dir` are solo-learn's, not used."""

    enabled: bool = True
    dir: str | None = None
    frequency: int = 1  # epochs between saves; the last epoch is always saved
    keep_prev: bool = False  # keep epoch-<n>.ckpt as well


@dataclass
class WandbConfig:
    """Weights & Biases; used when enabled or when `logger` is wandb."""

    enabled: bool = False
    entity: str | None = None
    project: str = "solo-dyntemp"
    offline: bool = False


@dataclass
class PerformanceConfig:
    """Switches that change speed only."""

    disable_channel_last: bool = False


@dataclass
class AutoResumeConfig:
    """solo-learn's section; a run here resumes from its own folder, and from no other."""

    enabled: bool = True
    max_hours: int = 36


@dataclass
class AutoUmapConfig:
    """solo-learn's section; accepted, not used: the map is drawn when training ends."""

    enabled: bool = False
    dir: str | None = None
    frequency: int = 1


@dataclass
class DaliConfig:
    """For `data.format=dali`, which takes `data.num_workers` threads."""

    device: str = "auto"  # where views are made: cpu, gpu, or auto, where the run is
    encode_indexes_into_labels: bool = False  # solo-learn's, not used: indexes are always true


@dataclass
class PretrainConfig:
    """One pretraining run."""

    method: str = MISSING
    method_kwargs: dict[str, Any] = field(default_factory=dict)
    momentum: MomentumConfig = field(default_factory=MomentumConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentations: list[AugmentationConfig] = field(default_factory=list)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    knn_eval: KnnEvalConfig = field(default_factory=KnnEvalConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)

    name: str | None = None  # first folder of the run; <method>-<dataset> when null
    seed: int = 5
    runs_dir: str = "runs"  # ours
    resume_from_checkpoint: str | None = None
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    auto_resume: AutoResumeConfig = field(default_factory=AutoResumeConfig)
    auto_umap: AutoUmapConfig = field(default_factory=AutoUmapConfig)
    dali: DaliConfig = field(default_factory=DaliConfig)
    logger: str = "csv"  # ours: csv, tensorboard or wandb; metrics.csv is always written
    wandb: WandbConfig = field(default_factory=WandbConfig)
    progress: str = "auto"  # ours: bar, lines or none; auto is a bar on a terminal
    debug_augmentations: bool = False  # solo-learn's; accepted, not used
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)

    # handed to Lightning's Trainer
    max_epochs: int = 100
    devices: Any = 1  # a count, a list of ids ("3," is device 3), or "auto"
    num_nodes: int = 1
    timeout_minutes: float = 10  # ours: how long a process waits for the others, at the start too
    accelerator: str = "auto"
    strategy: str | None = "auto"
    precision: Any = 32
    sync_batchnorm: bool = False
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    check_val_every_n_epoch: int = 1
    log_every_n_steps: int = 50
    deterministic: Any = "warn"  # true, false or "warn"
    benchmark: bool | None = None
