"""The Triton kernels, compiled to machine code for GPUs that need not be there."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import torch

from solo_dyntemp.losses.kernels import triton as launcher
from solo_dyntemp.losses.kernels.settings import KernelSettings
from solo_dyntemp.temperature import (
    ArctanhTemperature,
    BatchContext,
    ConstantTemperature,
    CosineTemperature,
    ExponentialTemperature,
    InvertedCosineTemperature,
    LinearTemperature,
    MACLTemperature,
    MonotoneCosineTemperature,
    ShiftedCosineTemperature,
)

triton = pytest.importorskip("triton", reason="triton is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") == "1", reason="TRITON_INTERPRET=1 compiles nothing"
    ),
]

COSINE = CosineTemperature(0.1, 0.2)
CURVES = [
    ConstantTemperature(0.2),
    ShiftedCosineTemperature(0.1, 0.2),
    LinearTemperature(0.1, 0.2),
    ExponentialTemperature(0.1, 0.2),
    MonotoneCosineTemperature(0.1, 0.2),
    InvertedCosineTemperature(0.15, 0.2),
    ArctanhTemperature(),
    MACLTemperature().for_batch(
        BatchContext(lambda: torch.tensor(0.5))
    ),  # its number is on the device
]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        yield


def compiled(
    name, capability, settings, dimensions=128, anchor=True, candidate=True, precision="tf32x3"
):
    """Return a kernel as it is compiled for a compute capability."""
    from solo_dyntemp.losses.kernels import programs

    kernel = getattr(programs, name)
    options = launcher.options(name, settings, dimensions, torch.device("cpu"), precision)
    shape = launcher.shape_of(name, dimensions, precision, divmod(capability, 10))
    options |= {"AS_ANCHOR": anchor, "AS_CANDIDATE": candidate, **shape.named(options["WIDTH"])}
    signature, constants, attributes = {}, {}, {}
    for place, argument in enumerate(kernel.arg_names):
        if argument.endswith("numbers"):
            signature[argument] = tuple(
                "*fp32" if isinstance(number, torch.Tensor) else "fp32"
                for number in options[argument]
            )
        elif argument in options:
            signature[argument] = "constexpr"
            constants[argument] = options[argument]
        elif argument.endswith(("count", "offset")):
            signature[argument] = "i32"
        else:
            rounded = precision == "bf16" and argument in ("own", "other")
            signature[argument] = "*bf16" if rounded else "*fp32"
            attributes[(place,)] = [["tt.divisibility", 16]]
    return triton.compile(
        triton.compiler.ASTSource(kernel, signature, constants, attributes),
        target=triton.backends.compiler.GPUTarget("cuda", capability, 32),
        options={key: options[key] for key in ("num_warps", "num_stages", "enable_fp_fusion")},
    )


# bytes of each thread that no register holds
SPILLED = 88 if triton.__version__.startswith("3.9") else 72


def check(kernel, capability, tmp_path, most=SPILLED):
    """Assert that it is machine code which the registers and the shared memory suffice for.

    `most` bytes of each thread may lie in memory.
    """
    assert kernel.asm["cubin"][:4] == b"\x7fELF"
    assert f".target sm_{capability}" in kernel.asm["ptx"]
    # of one program: on capability 8.6 and 8.9, and on 9.0
    assert kernel.metadata.shared <= (99 if capability == 80 else 227) * 1024
    path = tmp_path / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])
    tool = triton.knobs.nvidia.cuobjdump.path
    usage = subprocess.run(
        [tool, "--dump-resource-usage", path], capture_output=True, text=True, check=True
    ).stdout
    registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", usage).groups())
    assert 0 < registers <= 255
    assert stack <= most, f"{stack} bytes of each thread do not fit into the registers"


@pytest.mark.parametrize(
    ("capability", "dimensions"),
    [
        (80, 24), (90, 128), (80, 256), (90, 512),
        *(pytest.param(*pair, marks=pytest.mark.nightly)
          for pair in ((90, 24), (80, 128), (90, 256), (80, 512))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["log_sum_exp", "gradient"])
def test_compiles_for_every_shape(tmp_path, name, capability, dimensions):
    settings = KernelSettings(COSINE, detach=False, block=1)
    check(compiled(name, capability, settings, dimensions), capability, tmp_path)


@pytest.mark.parametrize("kernel", ["log_sum_exp", "gradient"])
def test_cards_with_little_shared_memory_get_shapes_that_fit(kernel):
    small = launcher.shape_of(kernel, 128, "tf32x3", (8, 0))
    large = launcher.shape_of(kernel, 128, "tf32x3", (9, 0))
    assert launcher.shape_of(kernel, 128, "tf32x3", (10, 0)) == large != small
    for capability in ((8, 6), (8, 9), (12, 0)):
        assert launcher.shape_of(kernel, 128, "tf32x3", capability) == small


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: type(curve).__name__)
def test_compiles_for_every_temperature(tmp_path, curve):
    check(compiled("gradient", 80, KernelSettings(curve, detach=False, block=1)), 80, tmp_path)


@pytest.mark.parametrize(("anchor", "candidate"), [(True, False), (False, True)])
def test_compiles_for_either_side(tmp_path, anchor, candidate):
    settings = KernelSettings(COSINE, detach=True)
    check(compiled("gradient", 80, settings, 64, anchor, candidate), 80, tmp_path)


@pytest.mark.parametrize(
    ("precision", "capability", "products"),
    [
        ("tf32x3", 80, r"mma\.sync\S+\.tf32"), ("tf32x3", 90, r"mma_async\S+\.tf32"),
        ("tf32", 80, r"mma\.sync\S+\.tf32"), ("tf32", 90, r"mma_async\S+\.tf32"),
        ("bf16", 80, r"mma\.sync\S+\.bf16"), ("bf16", 90, r"mma_async\S+\.bf16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["log_sum_exp", "gradient"])
def test_each_precision_multiplies_on_its_units(tmp_path, name, precision, capability, products):
    settings = KernelSettings(COSINE, detach=False, block=1)
    kernel = compiled(name, capability, settings, precision=precision)
    check(kernel, capability, tmp_path, most=0 if precision == "bf16" else SPILLED)
    text = kernel.asm["ptx"]
    assert re.search(products, text)


@pytest.mark.nightly
@pytest.mark.parametrize("precision", ["tf32x3", "tf32", "bf16"])
@pytest.mark.parametrize("dimensions", [24, 256, 512])
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("name", ["log_sum_exp", "gradient"])
def test_tensor_cores_compile_for_every_shape(tmp_path, name, capability, dimensions, precision):
    settings = KernelSettings(COSINE, detach=False, block=1)
    kernel = compiled(name, capability, settings, dimensions, precision=precision)
    check(kernel, capability, tmp_path)
