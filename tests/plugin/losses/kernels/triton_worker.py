"""Runs the Triton kernels in Triton's interpreter, which a process must choose before its start.

Called as: TRITON_INTERPRET=1 triton_worker.py FILE. The test computes the same by other kernels.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch
from triton.runtime import interpreter

from solo_dyntemp.losses import (
    dyntemp_dcl,
    dyntemp_infonce,
    dyntemp_infonce_queue,
    dyntemp_paired,
)
from solo_dyntemp.losses.contrast import log_sums
from solo_dyntemp.losses.kernels.settings import KernelSettings
from solo_dyntemp.temperature import (
    CosineScheduleTemperature,
    CosineTemperature,
    DualTemperature,
    MACLTemperature,
    StabilisedTemperature,
)

spec = importlib.util.spec_from_file_location(
    "loss_conftest", Path(__file__).parents[1] / "conftest.py"
)
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)

SHAPES = ((1, 2, 3), (2, 2, 16), (11, 6, 24), (33, 2, 130), (16, 2, 300))  # images, views, width
CURVES = {name: curve for name, curve in shared.CURVES.items() if name != "function"}
MOVING = {
    "macl": MACLTemperature(),
    "dual_temperature": DualTemperature(),
    "cosine_schedule": CosineScheduleTemperature(),
    "stabilised": StabilisedTemperature(),
}
for schedule in ("cosine_schedule", "stabilised"):
    MOVING[schedule].set_progress(0.3)
GRID = torch.linspace(-1, 1, 4096)


def rows(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def infonce(temperature, detach, images=37, views=2, width=24, dtype=torch.float32):
    """Duplicates, zero rows and a random order, where there are enough rows."""
    z = rows(images * views, width, dtype=dtype)
    if len(z) > 8:
        z[3] = z[5]
        z[8] = 0
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(2))
    options = {"temperature": temperature, "detach_temperature": detach}
    return (
        lambda implementation, z: dyntemp_infonce(
            z[order],
            torch.arange(images).repeat(views)[order].to(z.device),
            implementation=implementation,
            **options,
        ),
        [z],
    )


def of_other_rows(settings, count):
    """Anchors that are some of the candidates, as in a distributed run."""
    z = rows(90, 24)

    def loss(implementation, own, everyone):
        units = [torch.nn.functional.normalize(x) for x in (own, everyone)]
        sums = log_sums("tiled" if implementation == "dense" else implementation, *units, settings)
        return sums @ torch.linspace(-1, 2, count).to(own)

    return loss, [z[settings.offset : settings.offset + count], z]


def cases():
    """Return name -> (loss(implementation, *inputs), inputs)."""
    cosine, sharp = CURVES["cosine"], CURVES["sharp_cosine"]
    table = {}
    for detach in (True, False):
        kind = "detached" if detach else "flow"
        for name, curve in CURVES.items():
            table[f"{name} {kind}"] = infonce(curve, detach)
        for images, views, width in (
            (1, 2, 3),
            (2, 2, 16),
            (11, 6, 24),
            (33, 2, 130),
            (16, 2, 300),
        ):
            table[f"{images} x {views} x {width} {kind}"] = infonce(
                cosine, detach, images, views, width
            )
        table[f"six views sharp {kind}"] = infonce(sharp, detach, 11, 6)
        for dtype in (torch.float16, torch.bfloat16):
            table[f"{dtype} {kind}"] = infonce(CosineTemperature(0.05, 0.1), detach, dtype=dtype)
        options = {"temperature": cosine, "detach_temperature": detach}
        a, b = rows(80, 12).chunk(2)
        table[f"dcl {kind}"] = (
            lambda i, a, b, o=options: dyntemp_dcl(a, b, sigma=0.5, implementation=i, **o),
            [a, b],
        )
        table[f"paired {kind}"] = (
            lambda i, a, b, o=options: dyntemp_paired(a, b, symmetric=True, implementation=i, **o),
            [a, b],
        )
        table[f"queue {kind}"] = (
            lambda i, a, b, o=options: dyntemp_infonce_queue(
                a, b, rows(12, 70).to(a), implementation=i, **o
            ),
            [a, b],
        )
        table[f"share {kind}"] = of_other_rows(
            KernelSettings(sharp, detach, block=1, offset=30), 30
        )
        table[f"share decoupled {kind}"] = of_other_rows(KernelSettings(cosine, detach, 2, 60), 30)
    for name, temperature in MOVING.items():
        table[name] = infonce(temperature, False)
    return table


def gradients(case, implementation, dtype=None):
    """Return the loss and the gradients of its inputs."""
    loss, inputs = case
    leaves = [x.to(dtype or x.dtype).requires_grad_() for x in inputs]
    value = loss(implementation, *leaves)
    return [value.detach(), *torch.autograd.grad(value, leaves)]


def special():
    """Return results that are checked by themselves."""
    z = rows(8, 5)
    z[2, 3] = torch.inf
    loss, _ = infonce(CURVES["cosine"], True, 4, 2)
    once, twice = (gradients(infonce(CURVES["cosine"], False), "triton") for _ in range(2))
    try:
        leaf = rows(8, 5).requires_grad_()
        torch.autograd.grad(loss("triton", leaf), leaf, create_graph=True)
        second = "was computed"
    except RuntimeError as error:
        second = str(error)
    return {
        "infinite": loss("triton", z),
        "repeats": all(torch.equal(a, b) for a, b in zip(once, twice, strict=True)),
        "second derivative": second,
    }


def on_grid(function):
    """Return a temperature's formula, as Triton computes it, at every point of the grid."""
    import triton
    import triton.language as tl

    from solo_dyntemp.losses.kernels import formula, programs

    @triton.jit
    def evaluate(s, result, numbers, FORMULA: tl.constexpr, SIZE: tl.constexpr):
        at = tl.arange(0, SIZE)
        tl.store(result + at, tl.zeros((SIZE,), tl.float32) + FORMULA(tl.load(s + at), numbers))

    source, numbers = formula.write(function, GRID.device)
    result = torch.empty_like(GRID)
    evaluate[(1,)](GRID, result, numbers, programs.compiled(source), len(GRID))
    return result


def to_tf32(data):
    """Round float32 to TF32: 13 bits fewer, to the nearest, ties away from zero."""
    bits = np.ascontiguousarray(data).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def rounding_dot(self, a, b, total, precision, *_):
    """Multiply as tensor cores do: exact products of rounded numbers, sums in float32.

    Triton's own interpreter knows no tf32, and takes the bits of a bfloat16 for an integer.
    """
    if a.dtype.name == "bf16":
        a, b = ((part.data.astype(np.uint32) << 16).view(np.float32) for part in (a, b))
        product = a @ b
    elif "TF32" in str(precision):
        (a, rest_of_a), (b, rest_of_b) = (
            (to_tf32(part.data), to_tf32(part.data - to_tf32(part.data))) for part in (a, b)
        )
        product = a @ b
        if "x3" in str(precision):
            product += a @ rest_of_b + rest_of_a @ b
    else:
        product = a.data @ b.data
    return interpreter.TensorHandle(product + total.data, total.dtype.scalar)


def views(images, width):
    """Two views of each image as a trained network has them: similar, and not orthogonal to all."""
    z = rows(images, width) + 0.5 * rows(1, width)
    return torch.cat([z, z + 0.5 * rows(images, width).flip(0)])


def precise(curve, detach, width, images=60):
    """A case of `cases` of embeddings as in training, for the three precisions."""
    return (
        lambda implementation, z: dyntemp_infonce(
            z,
            torch.arange(images).repeat(2),
            temperature=CURVES[curve],
            detach_temperature=detach,
            implementation=implementation,
        ),
        [views(images, width)],
    )


PRECISE = {
    f"{curve} {width} {'detached' if detach else 'flow'}": precise(curve, detach, width)
    for curve, width, detach in (
        ("cosine", 128, False), ("cosine", 128, True), ("cosine", 24, False),
        ("cosine", 300, False), ("constant", 128, True), ("sharp_cosine", 130, False),
    )
}  # fmt: skip


def at_precision(name, cases=PRECISE):
    """Return the gradients of the cases at torch's float32 matmul precision `name`."""
    torch.set_float32_matmul_precision(name)
    found = {case: gradients(loss, "triton") for case, loss in cases.items()}
    torch.set_float32_matmul_precision("highest")
    return found


def main():
    torch.set_num_threads(1)
    interpreter.InterpreterBuilder.create_dot = rounding_dot
    results = {name: gradients(case, "triton") for name, case in cases().items()}
    grid = {name: (on_grid(t), on_grid(t.derivative)) for name, t in CURVES.items()}
    grid["odds"] = tuple(map(on_grid, (CURVES["arctanh"].odds, CURVES["arctanh"].odds_slope)))
    precisions = {name: at_precision(name) for name in ("highest", "high", "medium")}
    saved = {"cases": results, "grid": grid, "special": special(), "precisions": precisions}
    torch.save(saved, sys.argv[1])


if __name__ == "__main__":
    main()
