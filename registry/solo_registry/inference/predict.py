"""Classes of image files, by the run's linear probe or by the nearest training images."""

from __future__ import annotations

from typing import Literal, get_args

import pandas as pd
from rich.console import Console
from torch import Tensor

from solo_registry.errors import UserError, nearest
from solo_registry.evaluation.linear_head import LinearHead, read_head, save_head
from solo_registry.inference.bank import training_bank
from solo_registry.inference.encoder import Embedded, Encoder
from solo_registry.metrics.knn import knn_predict
from solo_registry.metrics.linear_probe import linear_probe

By = Literal["probe", "knn"]
BY = get_args(By)


def classify_files(
    encoder: Encoder, embedded: Embedded, console: Console, by: str = "probe", k: int | None = None
) -> pd.DataFrame:
    """Predict the class of each file.

    Args:
        encoder: the run's backbone.
        embedded: the features of the files.
        console: where progress is printed.
        by: "probe" takes the linear probe that the run's evaluation fitted, and needs no training
            images; "knn" takes the vote of the nearest training images.
        k: number of neighbours; the run's `evaluation.knn_k` by default.

    Returns:
        A row per file, named by its path: `predicted`, `probability`, and for each class
        `p_<class>`. A kNN's probabilities are shares of the vote. Neither is calibrated.

    Raises:
        UserError: another way, a run without labels, or training images that are not there.
    """
    if by not in BY:
        raise UserError(f"--by is '{by}'.{nearest(by, BY)} Allowed: {', '.join(BY)}")
    if not encoder.info.num_classes:
        raise UserError(
            f"the images of {encoder.run.folder.path} have no labels, so it knows no classes: "
            "dyntemp neighbours and dyntemp embed need none"
        )
    if by == "probe":
        head = read_head(encoder.run.folder) or _fit_head(encoder, console)
        probabilities, classes = head.probabilities(embedded.feats), head.classes
    else:
        probabilities, classes = _vote(encoder, embedded.feats, console, k)
    best = probabilities.max(dim=1)
    named = {f"p_{name}": probabilities[:, column].numpy() for column, name in enumerate(classes)}
    found = {
        "predicted": [classes[index] for index in best.indices.tolist()],
        "probability": best.values.numpy(),
    }
    return pd.DataFrame(found | named, index=pd.Index(embedded.files.texts, name="path"))


def _fit_head(encoder: Encoder, console: Console) -> LinearHead:
    """Fit the probe of a run that was measured without one, and keep it in the run."""
    bank = training_bank(encoder, console)
    if not bank.features.labelled:
        raise UserError(f"no training image of {encoder.run.folder.path} has a label")
    data = (bank.features.feats, bank.features.targets)
    probe = linear_probe(*data, *data, num_classes=encoder.info.num_classes)
    head = LinearHead.of(probe, encoder.info.class_names)
    save_head(encoder.run.folder, head)
    return head


def _vote(
    encoder: Encoder, feats: Tensor, console: Console, k: int | None
) -> tuple[Tensor, tuple[str, ...]]:
    evaluation = encoder.run.cfg.evaluation
    bank = training_bank(encoder, console).features
    k = k or min(evaluation.knn_k, max(1, bank.labelled))
    if not 1 <= k <= bank.labelled:
        raise UserError(f"k={k} must be from 1 to the {bank.labelled} labelled training images")
    shares = knn_predict(
        bank.feats,
        bank.targets,
        feats,
        k=k,
        temperature=evaluation.knn_temperature,
        num_classes=encoder.info.num_classes,
    )
    return shares, encoder.info.class_names
