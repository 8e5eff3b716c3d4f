"""The losses alone, as installed without the extra `bench`: torch and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import solo_dyntemp
from solo_dyntemp import losses, temperature
from solo_registry import __main__ as command
from solo_registry import errors

# hides what setup.py lists for the bench, then does with the losses what users do
PROGRAM = """
import json, sys
import torch
before = set(sys.modules)
import solo_dyntemp.losses
imported = set(sys.modules) - before

hidden = set(sys.argv[1:])
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())

from solo_dyntemp import DynTempNTXentLoss
z = torch.randn(4, 3, requires_grad=True)
DynTempNTXentLoss("cosine")(z, z.cos()).backward()
try:
    DynTempNTXentLoss("cosin")
except ValueError as error:
    text = str(error)
print(json.dumps({
    "imported": sorted(imported), "text": text, "gradient": bool(z.grad.any()),
    "heavy": sorted(hidden & set(sys.modules)),
}))
"""
BENCH_MODULES = (
    "torchvision", "lightning", "timm", "hydra", "omegaconf", "torchmetrics", "lightly", "sklearn",
    "scipy", "pandas", "matplotlib", "pyarrow", "safetensors", "rich", "typer",
)  # fmt: skip


@pytest.mark.distributed
def test_the_losses_import_torch_alone_and_work_without_the_bench() -> None:
    run = [sys.executable, "-c", PROGRAM, *BENCH_MODULES]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    tops = {name.partition(".")[0] for name in found["imported"]}
    assert tops - sys.stdlib_module_names <= {"solo_dyntemp", "solo_registry", "torch"}
    ours = {name for name in found["imported"] if name.startswith("solo_registry.")}
    assert ours == {"solo_registry.metrics", "solo_registry.metrics.pair_mask"}
    assert not [name for name in found["imported"] if name.startswith(("torch._", "triton"))]
    assert found["heavy"] == [] and found["gradient"]
    assert "Did you mean 'cosine'? Known: adnce, arctanh, " in found["text"]


def test_what_is_missing_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "_installed", lambda name: name != "typer")
    monkeypatch.setitem(sys.modules, "solo_registry.cli.main", None)  # its import fails
    if not errors.bench_packages():
        pytest.skip("installed before there was an extra `bench`: pip install again")
    with pytest.raises(SystemExit) as stopped:
        command.main()
    line = capsys.readouterr().err
    assert stopped.value.code == 2 and line.count("\n") == 1
    assert "pip install 'solo-dyntemp[bench]' (1 missing: typer)" in line
    with pytest.raises(ImportError, match=r"^import dyntemp needs .*\[bench\]"):
        errors.require_bench("import dyntemp")


def test_solo_learn_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra_plugins.solo_dyntemp import SoloDynTemp

    monkeypatch.setattr(errors, "bench_packages", lambda: ["nothing-of-this-name"])
    monkeypatch.setitem(sys.modules, "solo.methods", sys)  # as in solo-learn's scripts
    monkeypatch.setitem(sys.modules, "solo_dyntemp.hosts.solo_learn", None)
    with pytest.raises(errors.MissingBench, match="solo-dyntemp in solo-learn needs more"):
        SoloDynTemp().manipulate_search_path(None)


def test_another_missing_module_keeps_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "solo_registry.cli.main", None)
    with pytest.raises(ModuleNotFoundError, match=r"solo_registry\.cli\.main"):
        command.main()


def test_the_top_of_the_package_has_what_its_parts_export() -> None:
    for part in (losses, temperature):
        for name in part.__all__:
            assert getattr(solo_dyntemp, name) is getattr(part, name)
            assert name in dir(solo_dyntemp)
    assert solo_dyntemp.__version__
    with pytest.raises(AttributeError, match="no attribute 'DynTempNothing'"):
        _ = solo_dyntemp.DynTempNothing
