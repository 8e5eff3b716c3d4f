"""The shapes of a run's JSON files; `read_shaped` refuses a file of another."""

from __future__ import annotations

from typing import Any

from typing_extensions import NotRequired, TypedDict

from solo_registry.config.json_file import MORE, Count, Number, Percent, Positive


class Measures(TypedDict):
    """The numbers of one row of a result; None is what was not measured."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    knn_acc1: Percent | None
    knn_balanced_acc1: NotRequired[Percent | None]  # not in results of older versions
    linear_acc1: Percent | None
    linear_acc5: Percent | None
    linear_balanced_acc1: NotRequired[Percent | None]
    uniformity: Number | None
    tolerance: Number | None
    alignment: Number | None
    inter_class_uniformity: Number | None
    rankme: Number | None


class Trained(TypedDict):
    """The row that every result has."""

    trained: Measures


class Rows(Trained, total=False):
    """The rows of a result."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    untrained: Measures
    raw_pixels: Measures


class Said(TypedDict):
    """What every result.json says, as far as others than its writer read it."""

    schema_version: int
    evaluation: dict[str, Any]
    name: str
    method: str
    method_kwargs: dict[str, Any]
    dataset: str
    backbone: str
    seed: int
    config_hash: str
    split: str
    protocols: dict[str, str]
    results: Rows


class Result(Said, total=False):
    """result.json."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    epochs: Count
    train_images: Count
    test_images: Count


class Cost(TypedDict, total=False):
    """cost.json."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    device: str
    epochs: Count
    train_seconds: Positive | None
    peak_host_bytes: Positive | None
    peak_gpu_bytes: Positive | None


class Environment(TypedDict, total=False):
    """environment.json."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    blas: str
    cpu: str
    gpus: list[str]
    instructions: str
    threads: Count
    versions: dict[str, str]


class Failure(TypedDict):
    """error.json."""

    __pydantic_config__ = MORE  # type: ignore[misc]
    error: str
