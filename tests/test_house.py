"""The rooms of the house and the one direction of their imports, as ARCHITECTURE.md draws them."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
# from the ground up; a room imports rooms before it, never one after it
ROOMS = (
    "errors", "console", "paths", "processes", "catalog", "config", "optimizers", "metrics",
    "plots", "losses", "backbones", "data", "methods", "verify_ddp", "runs", "training",
    "evaluation", "inference", "jobs", "leaderboard", "sweep", "export", "api", "cli", "__main__",
)  # fmt: skip
APART = {("leaderboard", "sweep"), ("leaderboard", "export"), ("sweep", "export")}
MOVED = {"registry", "contract"}  # names of before, which only other packages use


def modules(source: Path, package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    files = sorted((source / package).rglob("*.py"))
    names = {path: ".".join(path.relative_to(source).with_suffix("").parts) for path in files}
    return {name.removesuffix(".__init__"): path for path, name in names.items()
            if "templates" not in path.parts}  # fmt: skip


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules among `known` that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]
            found.add(name)
    return found - {""}


REGISTRY = modules(ROOT / "registry", "solo_registry")
PLUGIN = modules(ROOT / "plugin", "solo_dyntemp")
ARROWS = {
    name: imports(path, REGISTRY | PLUGIN) - {name} for name, path in (REGISTRY | PLUGIN).items()
}


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_module_has_a_room() -> None:
    rooms = {room(name) for name in REGISTRY if "." in name}
    assert rooms == {*ROOMS, *MOVED}


def test_arrows_point_down() -> None:
    wrong = []
    for name in REGISTRY:
        for target in ARROWS[name] - {"solo_registry"}:
            if "." not in name or room(name) in MOVED:
                continue
            here, there = room(name), room(target)
            up = here != there and (there in MOVED or ROOMS.index(there) > ROOMS.index(here))
            if up or {(here, there), (there, here)} & APART:
                wrong.append(f"{name} imports {target}")
    assert not wrong


def test_the_registry_does_not_know_the_plugin() -> None:
    assert not [name for name in REGISTRY for target in ARROWS[name] if target in PLUGIN]


def test_the_losses_import_the_registry_only_when_they_must() -> None:
    """Not at the head of a module: `import solo_dyntemp.losses` costs what torch costs."""
    light = ("solo_dyntemp", "solo_dyntemp.gather", "solo_dyntemp.names")
    for name, path in PLUGIN.items():
        if name in light or name.startswith(("solo_dyntemp.losses", "solo_dyntemp.temperature")):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            heads = [ast.unparse(node) for node in body
                     if isinstance(node, ast.Import | ast.ImportFrom)]  # fmt: skip
            own = "from solo_registry.metrics.pair_mask import PairMask"
            assert not [head for head in heads if "solo_registry" in head and head != own], name


def test_the_pairs_import_nothing_of_ours() -> None:
    path = REGISTRY["solo_registry.metrics.pair_mask"]
    assert not imports(path, REGISTRY | PLUGIN)


def test_no_circle_of_imports() -> None:
    TopologicalSorter(ARROWS).prepare()  # raises CycleError, which names the circle


def test_nobody_asks_pathlib_what_is_there() -> None:
    """From Python 3.14 on it says no where it may not look; solo_registry.paths raises an error."""
    # entries of os.scandir, which raise it too, and files inside packages
    others = {"solo_registry.data.files", "solo_registry.config.hints"}
    calls = [
        f"{name}: {ast.unparse(node)}"
        for name, path in REGISTRY.items() if name not in others
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args
        and node.func.attr in ("exists", "is_file", "is_dir")
    ]  # fmt: skip
    assert not calls


def test_files_have_the_same_bytes_on_each_system() -> None:
    """Windows would end the lines in its own way: `write_text` of run_folder does not."""
    calls = [
        f"{name}: {ast.unparse(node)}"
        for name, path in (REGISTRY | PLUGIN).items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("write_text", "to_csv")
        and "lineterminator" not in [word.arg for word in node.keywords]
    ]  # fmt: skip
    assert not calls


def test_names_of_before_still_lead_to_the_same_objects() -> None:
    from solo_registry import contract, registry
    from solo_registry.catalog import registry as catalog
    from solo_registry.methods import base

    assert all(getattr(registry, name) is getattr(catalog, name) for name in registry.__all__)
    assert all(getattr(contract, name) is getattr(base, name) for name in contract.__all__)
