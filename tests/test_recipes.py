"""Every program of docs/recipes.md runs as it stands, and its loss falls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)^```", PAGE, re.M | re.S))
LIBRARIES = r"^(?:from|import) (lightly|pytorch_metric_learning|sentence_transformers|tokenizers)\b"


def run(name: str) -> dict[str, Any]:
    """Run a program, or skip if a library that it shows is not installed."""
    for library in re.findall(LIBRARIES, PROGRAMS[name], re.M):
        pytest.importorskip(library, reason=f"the recipe for {name} needs {library}")
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(PROGRAMS[name], f"docs/recipes.md, {name}", "exec"), names)
    return names


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # other libraries' own
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_recipe_trains(name: str) -> None:
    losses = run(name)["losses"]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_ranking_loss_at_one_temperature_is_sentence_transformers() -> None:
    names = run("sentence-transformers")
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = names["model"]
    columns = [model.preprocess(names[column]) for column in ("anchors", "positives")]
    ours = names["DynTempRankingLoss"](model, temperature=1 / 20)(columns)
    theirs = MultipleNegativesRankingLoss(model, scale=20.0)(columns, None)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_the_page_has_a_program_for_each_library() -> None:
    assert list(PROGRAMS) == [
        "Plain PyTorch", "lightly", "pytorch-metric-learning", "sentence-transformers", "open_clip",
    ]  # fmt: skip
    assert PAGE.count("```python") == len(PROGRAMS)
