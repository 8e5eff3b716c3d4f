"""The page with the sliders: its formulas are the losses', its data a run's; it needs no net."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from solo_dyntemp.temperature import CosineTemperature
from solo_registry.console import terminal
from solo_registry.errors import UserError
from solo_registry.training.pretrain import train

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "temperature_page.py"))
TEXT = SCRIPT["PAGE"].read_text(encoding="utf-8")
DATA = SCRIPT["read"](TEXT)
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
CASES = [  # tau_min, tau_max, s, batch; what is set last moves the other end of the range
    (0.1, 0.2, 0.5, "after"),
    (0.07, 0.2, 0.9, "before"),
    (0.05, 0.6, 0.55, "after"),
    (0.3, 0.3, -0.4, "after"),
    (0.02, 1.0, -1.0, "before"),
    (0.5, 0.1, 0.0, "before"),
]
# moves the sliders as a hand does, and writes what the page shows
HAND = """<script>
const shown = CASES.map(([min, max, s, when]) => {
  for (const [id, value] of Object.entries({ min, max, s })) {
    const number = document.getElementById(id).nextElementSibling;
    number.value = value;
    number.dispatchEvent(new Event("change"));
  }
  document.querySelector(`[value=${when}]`).click();
  const values = [...document.querySelectorAll("data")].map(
    (cell) => [cell.id.slice(2), [Number(cell.value), cell.textContent]]);
  return { ...Object.fromEntries(values), warning: document.getElementById("warning").textContent };
});
const slider = document.getElementById("max");
slider.value = 0.4;
slider.dispatchEvent(new Event("input"));
const moved = [document.getElementById("tau").querySelectorAll("path").length,
               slider.nextElementSibling.value, document.documentElement.scrollWidth];
document.body.innerHTML = `<pre id="out">${JSON.stringify({ shown, moved })}</pre>`;
</script>"""


def temperature(tau_min: float, tau_max: float) -> CosineTemperature:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases are not monotone, on purpose
        return CosineTemperature(min(tau_min, tau_max), tau_max)


def slope(tau: CosineTemperature, s: float, detach: bool) -> float:
    """Return the derivative of the logit by autograd."""
    at = torch.tensor(s, dtype=torch.float64, requires_grad=True)
    (at / tau(at.detach() if detach else at)).backward()
    assert at.grad is not None
    return at.grad.item()


def batch(tau: CosineTemperature, cosines: Tensor, detach: bool) -> tuple[float, Tensor]:
    """Return the mean loss of the batch's anchors, and its gradient by the cosines."""
    s = cosines.clone().requires_grad_()
    logits = (s / tau(s.detach() if detach else s)).fill_diagonal_(-torch.inf)
    anchors = torch.arange(len(s))
    loss = torch.nn.functional.cross_entropy(logits, anchors.roll(len(s) // 2))
    loss.backward()
    assert s.grad is not None
    return loss.item(), s.grad.fill_diagonal_(0)


def expected(tau_min: float, tau_max: float, s: float, when: str) -> dict[str, float]:
    """Return what the page must show, from the temperatures of solo_dyntemp and autograd."""
    tau, at = temperature(tau_min, tau_max), torch.tensor(s, dtype=torch.float64)
    targets = torch.tensor(DATA["targets"]).repeat(2)
    image = torch.arange(len(targets) // 2).repeat(2)
    negative = image[:, None] != image
    same = (targets[:, None] == targets) & negative
    values = {
        "tau": float(tau(at)), "dtau": float(tau.derivative(at)), "logit": float(at / tau(at)),
        "pairs": 100 * float(same.sum() / negative.sum()),
    }  # fmt: skip
    for name, detach in (("held", True), ("flowing", False)):
        loss, gradient = batch(tau, SCRIPT["unpacked"](DATA[when], len(DATA["targets"])), detach)
        push = float(gradient[negative].sum())
        values |= {name: slope(tau, s, detach), "loss": loss, f"total_{name}": push}
        values[f"push_{name}"] = 100 * float(gradient[same].sum()) / push
    return values


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_the_page_shows_what_the_losses_compute(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    hand = HAND.replace("CASES", json.dumps(CASES))
    file.write_text(TEXT.replace("</body>", hand + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,800",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="out">(.*)</pre>', done.stdout)
    assert found, done.stderr
    out = json.loads(found[1].replace("&amp;", "&"))
    for case, shown in zip(CASES, out["shown"], strict=True):
        warning, wanted = shown.pop("warning"), expected(*case)
        values = {name: value for name, (value, _) in shown.items()}
        assert values == pytest.approx(wanted, rel=1e-6, abs=1e-6)
        for value, text in shown.values():
            assert float(text) == pytest.approx(
                value, abs=0.51 * 10 ** -len(text.partition(".")[2])
            )
        assert ("smaller logit" in warning) == (case[1] / case[0] > DATA["bound"])
    paths, number, width = out["moved"]
    assert (paths, float(number)) == (1, 0.4) and width <= 500  # Chromium's narrowest window


def test_the_page_is_what_the_script_makes_of_its_data() -> None:
    assert SCRIPT["page"](DATA) == TEXT
    assert len(TEXT.encode()) < 1_000_000
    assert not re.search(r"https?://|src=|@import|url\(|fetch\(|XMLHttp", TEXT)


@pytest.mark.nightly
@pytest.mark.slow
def test_a_page_is_made_from_a_run(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    for words in (("simclr_dyntemp", "method_kwargs.tau_max=0.3"), ("simclr",)):
        train(tiny(*words, "max_epochs=1"), terminal(), ExitStack())
    (run,) = (tmp_path / "runs").glob("simclr_*/*/*/checkpoints")
    made = SCRIPT["contents"](run.parent)
    assert SCRIPT["read"](SCRIPT["page"](made)) == {**DATA, **made} and made["tau_max"] == 0.3
    before, after = (SCRIPT["unpacked"](made[name], 128) for name in ("before", "after"))
    assert not before.equal(after)
    for matrix in (before, after):  # views i and i + 128 show one image
        positives = matrix.diagonal(128).mean()
        assert matrix.equal(matrix.T) and matrix.min() >= -1 and positives > matrix.mean()
    (other,) = (tmp_path / "runs").glob("simclr-*/*/*/checkpoints")
    with pytest.raises(UserError, match="temperature=cosine"):
        SCRIPT["contents"](other.parent)
