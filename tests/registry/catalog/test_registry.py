from __future__ import annotations

import subprocess
import sys

import pytest

from solo_registry.catalog.registry import METHODS, Registry
from solo_registry.errors import UserError


def test_decorator_registers_and_returns_the_class() -> None:
    registry = Registry("method")

    @registry.register("mine", summary="does", paper="arXiv 1")
    class Mine:
        pass

    assert registry.get("mine") is Mine
    assert registry.entries() == registry.entries("m*")
    assert registry.entries()[0].paper == "arXiv 1"


def test_a_name_taken_is_refused_naming_both() -> None:
    registry = Registry("method")
    registry.add_lazy("mine", "one:A")
    registry.add_lazy("mine", "one:A")  # the same again is no conflict
    with pytest.raises(ValueError, match=r"'mine' is registered twice: by one:A and by two:B"):
        registry.add_lazy("mine", "two:B")


def test_unknown_names_give_the_nearest_and_all() -> None:
    with pytest.raises(UserError, match=r"unknown method 'simclrr'. Did you mean 'simclr'\? Known"):
        METHODS.get("simclrr")


def test_globs_sort() -> None:
    assert METHODS.names("simclr_d*") + METHODS.names("d*w") == ["simclr_dyntemp", "dclw"]
    assert len(METHODS) == len(list(METHODS)) and "simclr" in METHODS


def test_listing_imports_neither_torch_nor_hydra() -> None:
    program = (
        "import sys; from solo_registry.catalog.plugins import load_plugins; load_plugins();"
        "from solo_registry.catalog.registry import METHODS, TEMPERATURES, DATASETS, BACKBONES;"
        "assert len(METHODS) >= 4 and len(TEMPERATURES) >= 3 and len(DATASETS) >= 6;"
        "assert len(BACKBONES) >= 22;"
        "print([name for name in ('torch', 'hydra', 'timm', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("kind", ["METHODS", "LOSSES", "TEMPERATURES", "BACKBONES", "DATASETS"])
def test_every_entry_loads_and_says_what_it_is(kind: str) -> None:
    import solo_registry.catalog.registry

    registry = getattr(solo_registry.catalog.registry, kind)
    assert len(registry)
    for entry in registry.entries():
        assert callable(entry.load())
        assert entry.summary
        assert entry.provider in ("solo_registry", "solo_dyntemp", "solo")


def test_a_name_that_needs_something_else_says_what() -> None:
    registry = Registry("method")
    registry.add_absent("other/byol", "needs the package other")
    assert len(registry) == 0 and "other/byol" not in registry
    with pytest.raises(ValueError, match="method 'other/byol' needs the package other"):
        registry.get("other/byol")
    registry.add_lazy("other/byol", "collections:Counter", source="other")
    assert registry.get("other/byol").__name__ == "Counter"
    assert registry.entries()[0].provider == "other"
