"""Three pull requests to solo-learn: SimCLR's temperature as a function, and two methods."""

from __future__ import annotations

from solo_dyntemp.upstream.changes import Edit, Host, Kit, after, at_end, in_place_of, template
from solo_dyntemp.upstream.formula import filled

HOST = Host(
    name="solo-learn",
    url="https://github.com/vturrisi/solo-learn",
    version_file="setup.py",
    version_line=r'name="solo-learn",[\s\S]*?\bversion="([^"]+)"',
    version="1.0.6",
    commit="9187ea3",
    licence_of="solo/losses/simclr.py",
)
PARTS = "solo_learn/parts"
METHOD = "solo_learn/method"
FUNCTION = "temperature: Union[float, Callable[[torch.Tensor], torch.Tensor]] = 0.1,"
TYPES = "from typing import Callable, Union\n\nimport torch\n"
IMPORT = "from solo.losses.temperature import dynamic_temperature"
MESSAGE = filled(
    """
The temperature is then a function of each pair's cosine similarity (PAPER).
Nothing changes where the temperature is a number.
"""
)


def loss_edits(name: str, arguments: str, typed: str) -> tuple[Edit, ...]:
    """Return the edits of a loss function and its tests, and of what exports the temperature.

    Args:
        name: the loss function's file.
        arguments: a line of its signature, the temperature among it.
        typed: the same with a temperature that may be a function.
    """
    source, tests = f"solo/losses/{name}.py", f"tests/losses/test_{name}.py"
    return (
        Edit(source, r"(?<=\n\n)import torch\n", TYPES, TYPES),
        in_place_of(source, arguments, *typed.split("\n")),
        after("solo/losses/__init__.py", "from solo.losses.swav import swav_loss_func", IMPORT),
        after("solo/losses/__init__.py", '    "swav_loss_func",', '    "dynamic_temperature",'),
        Edit(tests, r"(?<=\n\n)import torch\n", "from functools import partial\n\nimport torch\n",
             "from functools import partial\n"),
        in_place_of(tests, f"from solo.losses import {name}_loss_func",
                    f"from solo.losses import dynamic_temperature, {name}_loss_func"),
        at_end(tests, template(f"{PARTS}/test_{name}_loss.txt")),
        at_end(f"docs/source/solo/losses/{name}.rst",
               "\n.. autofunction:: solo.losses.temperature.dynamic_temperature\n   :noindex:\n"),
    )  # fmt: skip


SIMCLR_LOSS = (
    *loss_edits(
        "simclr",
        "    z: torch.Tensor, indexes: torch.Tensor, temperature: float = 0.1",
        f"    z: torch.Tensor,\n    indexes: torch.Tensor,\n    {FUNCTION}",
    ),
    after(
        "solo/losses/simclr.py",
        "            or targets of each crop (supervised).",
        "        temperature (Union[float, Callable], optional): temperature of the softmax, or a",
        "            function that returns the temperature of each pair from the similarities.",
        "            Defaults to 0.1.",
    ),
    Edit(
        "solo/losses/simclr.py",
        r"^    sim = torch\.exp\((torch\.einsum\(.*\)) / temperature\)$",
        r"    sim = \1"
        "\n"
        "    if callable(temperature):\n"
        "        temperature = temperature(sim.detach())\n"
        "    sim = torch.exp(sim / temperature)",
        "    sim = torch.exp(sim / temperature)",
    ),
)
MOCO_LOSS = (
    *loss_edits(
        "mocov2plus",
        "    query: torch.Tensor, key: torch.Tensor, queue: torch.Tensor, temperature=0.1",
        "    query: torch.Tensor,\n    key: torch.Tensor,\n    queue: torch.Tensor,\n"
        f"    {FUNCTION}",
    ),
    after(
        "solo/losses/mocov2plus.py",
        "            loss. Defaults to 0.1.",
        "            A function returns the temperature of each pair from the similarities.",
    ),
    Edit(
        "solo/losses/mocov2plus.py",
        r"^    logits /= temperature$",
        "    if callable(temperature):\n"
        "        temperature = temperature(logits.detach())\n"
        "    logits /= temperature",
        "        temperature = temperature(logits.detach())\n",
    ),
)
SIMCLR_METHOD = (
    Edit(
        "solo/methods/simclr.py",
        r"(?<=\n\n)from typing import Any",
        "from functools import partial\nfrom typing import Any",
        "from functools import partial\n",
    ),
    after("solo/methods/simclr.py", "from solo.losses.simclr import simclr_loss_func", IMPORT),
    after(  # no deeper: Sphinx takes this part of the docstring for a block quote
        "solo/methods/simclr.py",
        "                temperature (float): temperature for the softmax in the contrastive loss.",
        "                With tau_min and tau_max in place of a number it is a function.",
    ),
    after(
        "solo/methods/simclr.py",
        "        self.temperature: float = cfg.method_kwargs.temperature",
        "        if isinstance(self.temperature, omegaconf.DictConfig):",
        "            self.temperature = partial(dynamic_temperature, **self.temperature)",
    ),
    at_end("tests/methods/test_simclr.py", template(f"{PARTS}/test_simclr_method.txt")),
    in_place_of(
        "scripts/pretrain/cifar/simclr.yaml",
        "  temperature: 0.2",
        "  temperature: 0.2 # or {tau_min: 0.1, tau_max: 0.2} for one temperature per pair",
    ),
)
# SupCon has SimCLR's loss
SIMCLR_TESTS = "tests/methods/test_simclr.py tests/methods/test_supcon.py"
NEW_LOSS = {"solo/losses/temperature.py": "solo_learn/every/solo/losses/temperature.py"}


def method(
    name: str, cls: str, title: str, row: str, available: str, loss: tuple[Edit, ...],
    old_tests: str, tested: str,
) -> Kit:  # fmt: skip
    """Return the pull request that adds a method with dynamic temperature.

    Args:
        name: the method whose temperature becomes dynamic.
        cls: its class.
        title: its name in headings.
        row: its line in the README.
        available: its line in the list of methods of the documentation.
        loss: the edits of its loss.
        old_tests: the clone's tests of what has this loss.
        tested: how many tests passed.
    """
    ours = f"{name}_dyntemp"
    cell = f"{title} with dynamic temperature"
    address = filled("PAPER")
    recipe = f"scripts/pretrain/cifar/{name}.yaml"
    return Kit(
        host=HOST,
        feature=name,
        branch=f"{name}-dyntemp",
        title=f"Add {title} with dynamic temperature (DySTreSS)",
        message=MESSAGE,
        tests=f"tests/losses {old_tests} tests/methods/test_{ours}.py tests/args",
        tested=tested,
        new_files={
            **NEW_LOSS,
            **{
                f"{path}{ours}{suffix}": f"{METHOD}/{path}NAME_dyntemp{suffix}"
                for path, suffix in (
                    ("solo/methods/", ".py"),
                    ("tests/methods/test_", ".py"),
                    ("docs/source/solo/methods/", ".rst"),
                )
            },
        },
        recipes={
            f"scripts/pretrain/cifar/{ours}.yaml": (
                recipe,
                {
                    f'name: "{name}-': f'name: "{ours}-',
                    f'method: "{name}"\n': f'method: "{ours}"\n',
                    "  temperature: 0.2\n": filled("  tau_min: TAU_MIN\n  tau_max: TAU_MAX\n"),
                },
            )
        },
        names={"CLASS": cls, "NAME": name, "RST_TITLE": title, "RST_LINE": "=" * len(title),
               "TITLE": title},
        edits=(
            *loss,
            after("solo/methods/__init__.py", f"from solo.methods.{name} import {cls}",
                  f"from solo.methods.{ours} import {cls}DynTemp"),
            after("solo/methods/__init__.py", f'    "{name}": {cls},',
                  f'    "{ours}": {cls}DynTemp,'),
            after("solo/methods/__init__.py", f'    "{cls}",', f'    "{cls}DynTemp",'),
            after("README.md", row, f"* [{cell} (DySTreSS)]({address})"),
            after("docs/source/index.rst", f"   solo/methods/{name}", f"   solo/methods/{ours}"),
            after("docs/source/start/available.rst", available,
                  f"* `{cell} (DySTreSS) <{address}>`_"),
        ),
    )  # fmt: skip


def kits() -> tuple[Kit, ...]:
    """Return the pull requests, the smallest first."""
    temperature = Kit(
        host=HOST,
        feature="temperature",
        branch="simclr-temperature-function",
        title="Let SimCLR's temperature be a function of the similarity",
        message=MESSAGE,
        tests=f"tests/losses {SIMCLR_TESTS} tests/args",
        tested="20 passed, 3 of them new (before: 17)",
        names={"CLASS": "SimCLR", "NAME": "simclr", "TITLE": "SimCLR"},
        new_files=NEW_LOSS,
        edits=(*SIMCLR_LOSS, *SIMCLR_METHOD),
    )
    simclr = method(
        "simclr",
        "SimCLR",
        "SimCLR",
        "* [SimCLR](https://arxiv.org/abs/2002.05709)",
        "* `SimCLR <https://arxiv.org/abs/2002.05709>`_ + `Supervised Contrastive Learning "
        "<https://arxiv.org/abs/2004.11362>`_",
        SIMCLR_LOSS,
        SIMCLR_TESTS,
        "22 passed, 5 of them new (before: 17)",
    )
    moco = method(
        "mocov2plus",
        "MoCoV2Plus",
        "MoCo V2+",
        "* [MoCo V2+](https://arxiv.org/abs/2003.04297)",
        "* `MoCo-V2 <https://arxiv.org/abs/2003.04297>`_",
        MOCO_LOSS,
        "tests/methods/test_mocov2plus.py",
        "21 passed, 5 of them new (before: 16)",
    )
    return temperature, simclr, moco
