"""The log-sums of `tiled` by two Triton kernels, for CUDA: similarities stay on the chip."""

from __future__ import annotations

import importlib.util
import os
import warnings
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from solo_dyntemp.losses.kernels import formula, tiled
from solo_dyntemp.losses.kernels.settings import KernelSettings, refuse_double_backward
from solo_dyntemp.temperature import CosineTemperature, Temperature, largest_logit

# how torch.get_float32_matmul_precision() is called here: what tensor cores compute. Three products
# of TF32 are as exact as one of float32, whose units would take four times as long.
PRECISIONS = {"highest": "tf32x3", "high": "tf32", "medium": "bf16"}
# a wrong kernel misses these by far; docs/performance.md has the errors of right ones
TOLERANCE = {"tf32x3": 1e-4, "tf32": 2e-2, "bf16": 2e-1}


class Shape(NamedTuple):
    """The shape of a program's tiles.

    Attributes:
        own: rows that a program owns.
        other: rows of the other side that it visits at a time.
        warps: of 32 threads each.
        step: dimensions that it holds at once.
        stages: of the pipeline that loads the other rows.
    """

    own: int
    other: int
    warps: int
    step: int
    stages: int = 3

    def named(self, width: int) -> dict[str, int]:
        """Return it as arguments of a kernel, for rows padded to `width` dimensions."""
        return {
            "OWN": self.own,
            "OTHER": self.other,
            "STEP": min(self.step, width),
            "num_warps": self.warps,
            "num_stages": self.stages,
            "enable_fp_fusion": True,  # Triton 3.9 warns where nothing is said; 3.10 leaves it out
        }


# precision -> most dimensions -> shapes of both kernels: up to 128 dimensions the fastest on an
# H100, else by the registers that the compiler needs; none spills more than 72 bytes of a thread
# (88 with Triton 3.9)
SHAPES: dict[str, dict[int, tuple[Shape, Shape]]] = {
    "tf32x3": {
        128: (Shape(128, 32, 8, 32), Shape(128, 32, 8, 32)),
        256: (Shape(64, 32, 8, 32), Shape(64, 32, 8, 16)),
        512: (Shape(32, 16, 8, 32), Shape(32, 16, 8, 32)),
    },
    "tf32": {
        128: (Shape(128, 32, 8, 128), Shape(128, 64, 8, 32)),
        256: (Shape(64, 32, 8, 32), Shape(64, 32, 8, 32)),
        512: (Shape(32, 16, 8, 32), Shape(32, 16, 8, 32)),
    },
    "bf16": {
        128: (Shape(128, 64, 8, 128), Shape(64, 64, 4, 128)),
        256: (Shape(64, 32, 8, 256), Shape(64, 32, 8, 256)),
        512: (Shape(64, 16, 8, 64), Shape(64, 16, 8, 64)),
    },
}
# compute capabilities 9.x and 10.x; others, 12.x too, have less shared memory than these need
HOPPER = {"tf32x3": {128: (Shape(64, 64, 4, 64), Shape(128, 32, 8, 128))}}
# the oldest compute capability and the oldest Triton that the kernels were compiled for and with
CAPABILITY, TRITON = (8, 0), (3, 4)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def unsupported_reason(temperature: Temperature, rows: Tensor, columns: int) -> str | None:
    """Return why the kernels cannot compute this, as the end of "implementation='triton' ...".

    Args:
        temperature: the temperature of the batch.
        rows: anchors, shape (A, D).
        columns: number of candidates.
    """
    if problem := _device_problem(rows.device) or _package_problem():
        return problem
    if rows.dtype != torch.float32:
        return f"computes in float32, got {rows.dtype}"
    if rows.shape[1] > (most := max(SHAPES["tf32x3"])):
        return f"takes up to {most} dimensions, got shape {tuple(rows.shape)}"
    if max(len(rows), columns) * rows.shape[1] >= 2**31:
        return f"takes fewer than 2^31 numbers, got {columns} rows of {rows.shape[1]}"
    if not temperature.elementwise:
        return f"needs a temperature of the pair's similarity alone, got {temperature}"
    # only value objects are cached: the cache would keep a module alive, and its formula may change
    problem_of = _known_formula_problem if is_dataclass(temperature) else _formula_problem
    return problem_of(temperature, rows.device) or _trial_problem(rows.device, precision())


def precision() -> str:
    """Return how the kernels multiply, "tf32x3", "tf32" or "bf16": as PyTorch's own products.

    `torch.set_float32_matmul_precision` sets it: "highest" (the default), "high" or "medium".
    """
    try:
        return PRECISIONS[torch.get_float32_matmul_precision()]
    except RuntimeError:  # set by the newer torch.backends.cuda.matmul.fp32_precision
        return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "tf32x3"


def _formula_problem(temperature: Temperature, device: torch.device) -> str | None:
    try:
        _functions(KernelSettings(temperature, detach=False), device)
    except formula.UnknownOperation as error:
        return f"cannot write {temperature} as a kernel ({error})"
    return None


_known_formula_problem = lru_cache(maxsize=64)(_formula_problem)


def _device_problem(device: torch.device) -> str | None:
    if device.type == "cuda" and torch.version.hip is None:
        return _capability_problem(device)
    # Triton's interpreter can run the kernels on the CPU, for tests
    if device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1":
        return None
    return f"needs an NVIDIA GPU, got embeddings on {device}"


@lru_cache
def _capability_problem(device: torch.device) -> str | None:
    found = _capability(device)
    if found >= CAPABILITY:
        return None
    return f"needs compute capability {CAPABILITY[0]}.{CAPABILITY[1]}, got {found[0]}.{found[1]}"


def _package_problem() -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "needs the package triton, which comes with torch for CUDA on Linux"
    import triton

    found = tuple(int(part) for part in triton.__version__.split(".")[:2])
    if found >= TRITON:
        return None
    return f"needs triton {TRITON[0]}.{TRITON[1]}, got {triton.__version__}"


@lru_cache
def _trial_problem(device: torch.device, precision: str) -> str | None:
    """Run the kernels once on few rows. If that fails, warn the user and return the reason."""
    z = torch.arange(70.0 * 16, device=device).sin().view(70, 16)
    settings = KernelSettings(CosineTemperature(), detach=False, block=1)
    problem = None
    try:
        expected = _trial(tiled.logsumexp, z.double(), settings)
        actual = _trial(logsumexp, z, settings)
        tolerance = TOLERANCE[precision]
        if not torch.allclose(actual.double(), expected, rtol=tolerance, atol=tolerance):
            problem = f"gives wrong results on {device}"
    except Exception as error:  # no C compiler, a driver too old, ...
        problem = f"fails on {device} ({type(error).__name__}: {error})"
    if problem:
        warnings.warn(f"implementation='triton' {problem}", stacklevel=2)
    return problem


def _trial(log_sums: Any, z: Tensor, settings: KernelSettings) -> Tensor:
    """Return log-sums and gradient in one tensor."""
    with torch.inference_mode(False), torch.enable_grad():
        z = torch.nn.functional.normalize(z.clone()).requires_grad_()
        sums = log_sums(z, z, settings)
        (gradient,) = torch.autograd.grad(sums.sum(), z)
        return torch.cat([sums.detach(), gradient.flatten()])


def _functions(settings: KernelSettings, device: torch.device) -> dict[str, Any]:
    """Return τ and, unless it is detached, τ' as arguments of the kernels, or `odds` and its slope.

    The formulas of a value object are translated once, not at each launch.
    """
    write = _known_functions if is_dataclass(settings.temperature) else _write_functions
    return dict(write(settings.temperature, settings.detach, device))


def _write_functions(
    temperature: Temperature, detach: bool, device: torch.device
) -> dict[str, Any]:
    rational = temperature.rational
    tau, numbers = formula.write(temperature.odds if rational else temperature, device)
    found = {"TAU": tau, "numbers": numbers, "ODDS": rational}
    if detach and not rational:
        return {**found, "SLOPE": None, "slope_numbers": numbers}
    derivative = temperature.odds_slope if rational else temperature.derivative
    slope, slope_numbers = formula.write(derivative, device)
    return {**found, "SLOPE": slope, "slope_numbers": slope_numbers}


_known_functions = lru_cache(maxsize=64)(_write_functions)


def shape_of(kernel: str, dimensions: int, precision: str, capability: tuple[int, int]) -> Shape:
    """Return the shape of a kernel's tiles, for embeddings of this width on this kind of card."""
    shapes = SHAPES[precision] | (HOPPER.get(precision, {}) if capability[0] in (9, 10) else {})
    log_sums, gradient = next(both for most, both in shapes.items() if dimensions <= most)
    return gradient if kernel == "gradient" else log_sums


@lru_cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else CAPABILITY


def options(
    kernel: str, settings: KernelSettings, dimensions: int, device: torch.device, precision: str
) -> dict[str, Any]:
    """Return the arguments of a kernel other than rows: τ, τ' and sizes.

    Args:
        kernel: "log_sum_exp" or "gradient".
        settings: the temperature, the gradient mode and the excluded pairs.
        dimensions: D.
        device: where the kernel runs.
        precision: "tf32x3", "tf32" or "bf16".
    """
    from solo_dyntemp.losses.kernels import programs

    functions = _functions(settings, device)
    for name in ("TAU", "SLOPE"):
        if functions[name] is not None:
            functions[name] = programs.compiled(functions[name])
    shape = shape_of(kernel, dimensions, precision, _capability(device))
    if kernel == "log_sum_exp":
        del functions["SLOPE"], functions["slope_numbers"]
    width = max(16, 1 << (dimensions - 1).bit_length())  # a power of two
    return {
        **functions,
        "BLOCK": settings.block,
        "PLAIN": _is_plain(settings.temperature),
        "PRECISION": "ieee" if precision == "bf16" else precision,  # rows that are bf16 need none
        "D": dimensions,
        "WIDTH": width,
        **shape.named(width),
    }


def _is_plain(temperature: Temperature) -> bool:
    """Whether exp of no logit needs a shift; found without a look at a number on the device."""
    is_value = is_dataclass(temperature)
    return is_value and largest_logit(temperature) <= tiled.PLAIN_EXP[torch.float32]


def _launch(kernel: Any, own: Tensor, arguments: tuple[Any, ...], how: dict[str, Any]) -> None:
    """Run a kernel, one program for each OWN rows."""
    with torch.cuda.device_of(own):  # type: ignore[no-untyped-call]
        kernel[(-(-len(own) // how["OWN"]),)](*arguments, **how)


def _log_sums(rows: Tensor, columns: Tensor, settings: KernelSettings, precision: str) -> Tensor:
    from solo_dyntemp.losses.kernels import programs

    result = rows.new_empty(len(rows), dtype=torch.float32)
    how = options("log_sum_exp", settings, rows.shape[1], rows.device, precision)
    arguments = (rows, columns, result, len(rows), len(columns), settings.offset, 0)
    _launch(programs.log_sum_exp, rows, arguments, how)
    return result


def _gradient(
    own: Tensor,
    other: Tensor,
    sums: Tensor,
    upstream: Tensor,
    settings: KernelSettings,
    precision: str,
    *parts: str,
) -> Tensor:
    """Return the gradient of `own` as "anchor", as "candidate", or both, as `parts` says."""
    from solo_dyntemp.losses.kernels import programs

    result = torch.empty_like(own, dtype=torch.float32)
    how = options("gradient", settings, own.shape[1], own.device, precision)
    how |= {"AS_ANCHOR": "anchor" in parts, "AS_CANDIDATE": "candidate" in parts}
    if how["PLAIN"]:
        upstream = upstream * (-sums).exp()
    # log-sums and upstream belong to the anchors, whether these are `own` or `other`
    offsets = (settings.offset, 0) if "anchor" in parts else (0, settings.offset)
    arguments = (own, other, result, sums, sums, upstream, upstream, len(own), len(other), *offsets)
    _launch(programs.gradient, own, arguments, how)
    return result


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, columns: Tensor, settings: KernelSettings, symmetric: bool
    ) -> Tensor:
        ctx.precision = precision()  # the backward pass must find the same similarities
        dtype = torch.bfloat16 if ctx.precision == "bf16" else torch.float32
        rows = rows.to(dtype).contiguous()
        columns = rows if symmetric else columns.to(dtype).contiguous()
        sums = _log_sums(rows, columns, settings, ctx.precision)
        ctx.save_for_backward(rows, columns, sums)
        ctx.settings, ctx.symmetric = settings, symmetric
        return sums

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        refuse_double_backward()
        rows, columns, sums = ctx.saved_tensors
        known = (sums, upstream.contiguous(), ctx.settings, ctx.precision)
        if ctx.symmetric:
            return _gradient(rows, rows, *known, "anchor", "candidate"), None, None, None
        for_rows, for_columns, *_ = ctx.needs_input_grad
        return (
            _gradient(rows, columns, *known, "anchor") if for_rows else None,
            _gradient(columns, rows, *known, "candidate") if for_columns else None,
            None,
            None,
        )


@torch.compiler.disable  # type: ignore[untyped-decorator]  # nothing in Triton's launcher to compile
def logsumexp(rows: Tensor, columns: Tensor, settings: KernelSettings) -> Tensor:
    """Return log Σ_j exp(s_ij / τ(s_ij)) over the candidates j that are not excluded, shape (A,).

    Does the same as `tiled.logsumexp`, for arguments without an `unsupported_reason`.

    Args:
        rows: anchors at unit length, shape (A, D), float32.
        columns: candidates at unit length, shape (B, D); the tensor `rows` itself if anchors and
            candidates are the same.
        settings: the temperature, the gradient mode and the excluded pairs.

    Raises:
        RuntimeError: a second derivative is requested.
    """
    return _LogSumExp.apply(rows, columns, settings, rows is columns)  # type: ignore[no-any-return]
