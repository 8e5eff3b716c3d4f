"""The config's keys about images: the sections `data` and `augmentations`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from solo_registry.catalog.declared import SHARE
from solo_registry.config.index_file import PROFILES
from solo_registry.config.keys import key

# image_folder is solo-learn's word for one image at a time in loader processes, whatever the set
FORMATS = ("image_folder", "on_device", "dali", "h5")
SEEDS: dict[str, Any] = {"least": 0, "most": 2**32 - 1}
STRENGTH = {"least": 0, "most": 10}


@dataclass
class LongTailConfig:
    """Ours: keep training images so that the classes, in their order, become rare."""

    profile: str | None = key(
        None, "How class sizes fall from the first class to the last; null keeps all images.",
        choices=PROFILES,
    )  # fmt: skip
    factor: float = key(0.01, "Images of the smallest class over those of the largest.",
                        above=0, most=1)  # fmt: skip
    seed: int = key(0, "Chooses which images of a class stay; not the run's seed.", **SEEDS)
    index_file: str | None = key(
        None, "A file with an index per line of the training images to keep, without a profile."
    )
    index_hash: str | None = key(None, "SHA-256 of the index file's lines.", derived=True)


@dataclass
class DataConfig:
    """Where the images come from."""

    dataset: str = key(MISSING, "Name of the data set; `dyntemp datasets` lists them.")
    train_path: str | None = key("datasets", "Folder of the training images, or where sets lie.")
    val_path: str | None = key(None, "Folder of the test images; null is the set's own, or none.")
    format: str = key(
        "image_folder", "Which loader makes the views; on_device (ours) is for sets in memory.",
        choices=FORMATS,
    )  # fmt: skip
    num_workers: int = key(4, "Loader processes per device, at most one a core; changes no result.",
                           least=0)  # fmt: skip
    no_labels: bool = key(False, "Take the images without labels.")
    fraction: float = key(-1, "Share of the training images of each class that is used.",
                          above=0, most=1, also={-1: "all images"})  # fmt: skip
    long_tail: LongTailConfig = field(default_factory=LongTailConfig)
    copies: int = key(
        1, "Ours: how often each image is trained on per epoch, under an index of its own.",
        least=1, most=1000,
    )  # fmt: skip
    validation_fraction: float | None = key(
        0, "Ours: share of train held out and measured as test; null: where there is no other.",
        least=0, below=1,
    )  # fmt: skip
    download: bool = key(False, "Ours: fetch a torchvision set that is not on disk.")
    class_list: str | None = key(None, "Ours: a file of class folders; other classes are left out.")
    train_split: str | None = key(
        None,
        "Ours: stl10's train, unlabeled or train+unlabeled, which null means; a split of hf.",
    )
    name: str | None = key(None, "Ours, for hf: a set's name on the Hugging Face hub.")
    streaming: bool = key(
        False, "Ours, for hf: fetch Parquet files in parts while training; none are kept for good."
    )
    shuffle_window: int | None = key(
        None, "Ours, with streaming: images within which an epoch is shuffled; null: 16,384.",
        least=0,
    )  # fmt: skip
    stream_cache_gb: float = key(
        10.0, "Ours, with streaming: disk space for fetched parts; changes no result.", above=0
    )
    image_column: str | None = key(None, "Ours, for hf: the column of images; null: the only one.")
    label_column: str | None = key(None, "Ours, for hf: the column of labels; null: the only one.")
    on_error: str = key("raise", "Ours: skip replaces unreadable images and counts them.",
                        choices=("raise", "skip"))  # fmt: skip
    check_files: bool = key(True, "Ours: look at each image file's header and end before training.")
    channels: int | None = key(
        None, "Ours: convert images to grey (1) or RGB (3); null keeps what the set has.",
        choices=(1, 3),
    )  # fmt: skip
    digest: str | None = key(
        None, "Ours: hash of the images; set by the run; where given, other images are refused."
    )
    image_channels: int | None = key(None, "Channels of the images.", derived=True)
    num_classes: int | None = key(None, "Number of classes; 0 without labels.", derived=True)
    train_images: int | None = key(None, "Number of training images.", derived=True)
    num_large_crops: int | None = key(
        None, "Views per image at the crop_size of the first pipeline.", derived=True
    )
    num_small_crops: int | None = key(None, "Views per image at another crop_size.", derived=True)


@dataclass
class CropConfig:
    """Random resized crop."""

    enabled: bool = key(True, "Whether views are random crops; false takes the central square.")
    crop_min_scale: float = key(0.08, "Smallest share of the image's area.", above=0, most=1)
    crop_max_scale: float = key(1.0, "Largest share of the image's area.", above=0, most=1)


@dataclass
class JitterConfig:
    """Color jitter strengths, as in torchvision's ColorJitter."""

    prob: float = key(0.0, "Probability of the jitter.", **SHARE)
    brightness: float = key(
        0.0, "The factor is drawn from 1 - x to 1 + x, not below 0.", **STRENGTH
    )
    contrast: float = key(0.0, "The factor is drawn from 1 - x to 1 + x, not below 0.", **STRENGTH)
    saturation: float = key(
        0.0, "The factor is drawn from 1 - x to 1 + x, not below 0.", **STRENGTH
    )
    hue: float = key(0.0, "The hue moves by -x to x of the colour circle.", least=0, most=0.5)


@dataclass
class ChanceConfig:
    """An operation applied with a probability."""

    prob: float = key(0.0, "Probability of the operation.", **SHARE)


@dataclass
class AugmentationConfig:
    """A list of augmentation pipelines; several make asymmetric or multi-crop views."""

    rrc: CropConfig = key(CropConfig, "Random crop, resized to crop_size.")
    color_jitter: JitterConfig = key(
        JitterConfig, "Change brightness, contrast, saturation and hue."
    )
    grayscale: ChanceConfig = key(ChanceConfig, "Turn the view grey.")
    gaussian_blur: ChanceConfig = key(ChanceConfig, "Blur by a sigma from 0.1 to 2 pixels.")
    solarization: ChanceConfig = key(ChanceConfig, "Invert pixels above the middle.")
    equalization: ChanceConfig = key(ChanceConfig, "Equalise the histogram.")
    horizontal_flip: ChanceConfig = key(ChanceConfig, "Mirror left and right.")
    crop_size: int | None = key(
        MISSING, "Height and width of a view in pixels; null: from the images.", least=2, most=4096
    )
    num_crops: int = key(1, "Views of each image that this pipeline makes.", least=1, most=64)
    mean: list[float] | None = key(
        None, "Mean of each channel of pixels in [0, 1]; null takes the data set's.", **SHARE
    )
    std: list[float] | None = key(
        None, "Standard deviation of each channel; null takes the data set's.", least=1e-6, most=1
    )

    @property
    def size(self) -> int:
        """The crop_size, which `data.from_images` has filled in where it was null."""
        assert self.crop_size is not None
        return self.crop_size
