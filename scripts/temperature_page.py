"""Make docs/temperature.html, the page with sliders for tau_min and tau_max, from a run.

dyntemp pretrain method=simclr_dyntemp data=digits
python scripts/temperature_page.py runs/simclr_dyntemp-digits/HASH/5

The page is scripts/temperature_page.html with the similarities of one batch of the run in it:
before and after training, in training mode, as a training step computes them.
"""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from solo_dyntemp.temperature import CosineTemperature, monotone_bound
from solo_registry.data.sampling import PretrainSet
from solo_registry.errors import UserError
from solo_registry.methods.base import BaseMethod
from solo_registry.plots.style import BLUE, GREEN, ORANGE, RED
from solo_registry.runs.loaded_run import LoadedRun

TEMPLATE = Path(__file__).with_suffix(".html")
PAGE = Path(__file__).parents[1] / "docs" / "temperature.html"
MARK = "/*DATA*/null/*END*/"
IMAGES = 128  # of the batch; all pairs of their views are in the page
STEP = 32767  # a cosine is stored as a 16-bit integer


def similarities(model: BaseMethod, views: list[Tensor]) -> str:
    """Return the upper triangle of the cosines of two views' projections, base64 of int16."""
    torch.manual_seed(0)  # for methods that draw in a step
    model.train()
    with torch.no_grad():
        outs = model.embed(views)
    z = F.normalize(torch.cat(outs.get("z", outs["feats"])[:2]).double(), dim=1)
    above = torch.triu_indices(len(z), len(z), 1)
    cosines = (z @ z.T)[above[0], above[1]].clamp(-1, 1)
    return base64.b64encode((cosines * STEP).round().numpy().astype("<i2").tobytes()).decode()


def unpacked(text: str, images: int) -> Tensor:
    """Return the symmetric matrix of cosines, (2 images, 2 images), that `similarities` stored."""
    values = np.frombuffer(base64.b64decode(text), "<i2").astype(np.float64) / STEP
    matrix = torch.zeros(2 * images, 2 * images, dtype=torch.float64)
    above = torch.triu_indices(2 * images, 2 * images, 1)
    matrix[above[0], above[1]] = torch.from_numpy(values)
    return matrix + matrix.T


def contents(path: Path) -> dict[str, Any]:
    """Return what the page shows of a run.

    Raises:
        UserError: no run is there, or its loss has no range of temperatures.
    """
    run = LoadedRun(path)
    cfg, data, model = run.cfg, run.data(), run.untrained()
    kwargs = cfg.method_kwargs
    if kwargs.get("temperature") != "cosine":
        raise UserError(f"{path}: the page shows a run with method_kwargs.temperature=cosine")
    cosine = CosineTemperature(kwargs.tau_min or 0.1, kwargs.tau_max or 0.2)
    images = PretrainSet(data.train_set, data.views, data.seed)
    generator = torch.Generator().manual_seed(cfg.seed)
    chosen = torch.randperm(len(images), generator=generator)[:IMAGES].tolist()
    _, views, targets = default_collate(images.__getitems__([(0, index) for index in chosen]))
    before = similarities(model, views)
    run.load_weights(model)
    return {
        "about": f"{len(chosen)} training images of {data.info.name}, two views each, embedded by "
        f"{cfg.method} (seed {cfg.seed}) before training and after {cfg.max_epochs} epochs with "
        f"τ_min = {cosine.tau_min} and τ_max = {cosine.tau_max}",
        "tau_min": cosine.tau_min,
        "tau_max": cosine.tau_max,
        "targets": targets.tolist(),
        "before": before,
        "after": similarities(model, views),
    }


def page(run: dict[str, Any]) -> str:
    """Return the page that shows a run's `contents`."""
    colours = {"blue": BLUE, "green": GREEN, "orange": ORANGE, "red": RED}
    bound = monotone_bound(CosineTemperature(0.1, 0.2))
    data = json.dumps({**run, "bound": bound, "colours": colours}, ensure_ascii=False, indent=0)
    return TEMPLATE.read_text(encoding="utf-8").replace(MARK, data)


def read(text: str) -> dict[str, Any]:
    """Return the data in a page."""
    before, after = TEMPLATE.read_text(encoding="utf-8").split(MARK)
    found: dict[str, Any] = json.loads(text.removeprefix(before).removesuffix(after))
    return found


def main() -> None:
    """Read the command line and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    try:
        options.out.write_text(page(contents(options.run)), encoding="utf-8")
    except UserError as error:
        parser.error(str(error))
    print(options.out)


if __name__ == "__main__":
    main()
