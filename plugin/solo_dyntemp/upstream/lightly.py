"""The pull request to lightly: `NTXentLoss` takes a function as its temperature."""

from __future__ import annotations

from solo_dyntemp.upstream.changes import Edit, Host, Kit, after, before, in_place_of, template
from solo_dyntemp.upstream.formula import filled

HOST = Host(
    name="lightly",
    url="https://github.com/lightly-ai/lightly",
    version_file="lightly/__init__.py",
    version_line=r'__version__ = "([^"]+)"',
    version="1.5.26",
    commit="e8d317f",
)
LOSS = "lightly/loss/ntx_ent_loss.py"
TESTS = "tests/loss/test_ntx_ent_loss.py"
# of the argument, in both docstrings
ABOUT = (
    "Can also be a function that takes a tensor with cosine similarities and",
    "returns a tensor with their temperatures. No gradient flows through the",
    "similarities that are passed to the function.",
)


def kits() -> tuple[Kit, ...]:
    """Return the pull request."""
    bullet = template("lightly/simclr_rst.txt")
    temperature = Kit(
        host=HOST,
        feature="temperature",
        branch="ntxent-temperature-function",
        title="feat(loss): accept a temperature function in NTXentLoss",
        message=filled(
            """
The function gets the cosine similarities and returns the temperature of each pair, for example
dynamic_temperature from Dynamically Scaled Temperature (PAPER).
Nothing changes where the temperature is a number.
"""
        ),
        tests="tests/loss/test_ntx_ent_loss.py tests/loss/test_directclr_loss.py "
        "tests/loss/test_co2.py",
        tested="326 passed and 40 skipped, 10 of them new (before: 316 and 40)",
        edits=(
            in_place_of(LOSS, "from typing import Sequence, Union",
                        "from typing import Callable, Sequence, Union"),
            before(LOSS, "class NTXentLoss(nn.Module):", template("lightly/function.txt")),
            # in the class's docstring, then in that of __init__
            after(LOSS, "            Scale logits by the inverse of the temperature.",
                  *(f"            {line}" for line in ABOUT)),
            after(LOSS, "                 Scale logits by the inverse of the temperature.",
                  *(f"                 {line}" for line in ABOUT)),
            in_place_of(LOSS, "        temperature: float = 0.5,",
                        "        temperature: Union[float, Callable[[Tensor], Tensor]] = 0.5,"),
            Edit(LOSS, r"^        if abs\(self\.temperature\) < self\.eps:$",
                 "        if not callable(temperature) and abs(temperature) < self.eps:",
                 "        if not callable(temperature) and abs(temperature) < self.eps:"),
            Edit(LOSS, r" = (torch\.(?:cat|einsum)\(.*\)) / self\.temperature$",
                 r" = self._scale(\1)", " = self._scale(", times=5),
            before(LOSS, "    def forward(self, out0: Tensor, out1: Tensor) -> Tensor:",
                   template("lightly/method.txt")),
            in_place_of("lightly/loss/__init__.py",
                        "from lightly.loss.ntx_ent_loss import NTXentLoss",
                        "from lightly.loss.ntx_ent_loss import NTXentLoss, dynamic_temperature"),
            before("docs/source/lightly.loss.rst",
                   ".. autoclass:: lightly.loss.ntx_ent_loss.NTXentLoss",
                   ".. autofunction:: lightly.loss.ntx_ent_loss.dynamic_temperature\n\n"),
            Edit("docs/source/examples/simclr.rst", r"\n\nReference:\n",
                 f"\n{bullet}\nReference:\n", bullet),
            Edit(TESTS, r"\A", "import functools\nfrom typing import Callable, Tuple, Union\n\n",
                 "import functools\n"),
            in_place_of(TESTS, "from lightly.loss import NTXentLoss",
                        "from lightly.loss import NTXentLoss, dynamic_temperature"),
            before(TESTS, "def _calc_ntxent_loss_manual(", template("lightly/tests.txt")),
        ),
    )  # fmt: skip
    return (temperature,)
