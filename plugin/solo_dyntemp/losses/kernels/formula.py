"""Translates a temperature's own PyTorch code into the source of a Triton function.

Temperature formulas exist only in `solo_dyntemp.temperature`. `write` runs a formula once on a
stand-in for the similarities that records each operation. The numbers of the formula become
arguments, so that a temperature which changes over training needs no new kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# sine and cosine are the functions in programs.py; a division and a root may err in the last two
# bits, since div_rn and sqrt_rn, which do not, are long sequences of instructions
OPERATIONS = {
    "abs": "tl.abs({})",
    "add": "{} + {}",
    "copysign": "tl.where({1} < 0, -tl.abs({0}), tl.abs({0}))",
    "cos": "cosine({})",
    "div": "{} / {}",
    "exp": "tl.exp({})",
    "expm1": "tl.exp({}) - 1.0",  # its error is one rounding of 1.0, small enough for a temperature
    "expand_as": "{}",
    "full_like": "{1}",
    "hardtanh_backward": "tl.where(({1} > {2}) & ({1} < {3}), {0}, 0.0)",
    "log": "tl.log({})",
    "mul": "{} * {}",
    "neg": "-{}",
    "sign": "tl.where({0} > 0, 1.0, 0.0) - tl.where({0} < 0, 1.0, 0.0)",
    "sin": "sine({})",
    "sqrt": "tl.sqrt({})",
    "sub": "{} - {}",
    "zeros_like": "0.0",
}


def _artanh(size: Any) -> Any:
    """Return artanh by operations above: log1p(x) / 2 with x = 2s / (1 - s), for s from 1e-6 on.

    log(u) x / (u - 1) with u = 1 + x as it is rounded is log1p(x) to the last bits.
    """
    x = torch.mul(size, 2).div(torch.sub(1, size))
    u = torch.add(x, 1)
    return torch.log(u).mul(x).div(torch.sub(u, 1)).mul(0.5)


COMPOSED = {"atanh": _artanh}


class UnknownOperation(TypeError):
    """A temperature uses an operation that cannot be translated."""


class _Notes:
    """The source lines so far and the numbers that they use."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.lines: list[str] = []
        self.numbers: list[float | Tensor] = []

    def operand(self, value: Any) -> str:
        """Return the name of an operand in a source line."""
        if isinstance(value, _Similarities):
            return value.name
        place = f"numbers[{len(self.numbers)}]"
        if isinstance(value, Tensor) and value.ndim == 0 and value.device == self.device:
            self.numbers.append(value.float())  # the kernel reads it on the device, without waiting
            return f"tl.load({place})"
        if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.ndim == 0):
            self.numbers.append(float(value))
            return place
        raise UnknownOperation(f"an operand {type(value).__name__}")

    def write(self, operation: str, *operands: Any, alpha: float = 1, **options: Any) -> str:
        """Add a source line and return the name of its result."""
        options = {key: value for key, value in options.items() if value is not None}
        if operation in COMPOSED and not options:
            return self.operand(COMPOSED[operation](*operands))
        names = [self.operand(operand) for operand in operands]
        if operation == "clamp" and len(names) == 1:
            text = names[0]
            for bound, function in (("min", "maximum"), ("max", "minimum")):
                if bound in options:
                    text = f"tl.{function}({text}, {self.operand(options[bound])})"
        elif operation not in OPERATIONS or options:
            raise UnknownOperation(f"{operation}({', '.join(options)})")
        else:
            if alpha != 1:
                names[-1] = f"{self.operand(alpha)} * {names[-1]}"
            text = OPERATIONS[operation].format(*names)
        result = f"t{len(self.lines)}"
        self.lines.append(f"    {result} = {text}\n")
        return result


class _Similarities:
    """Stands in for a float32 tensor of similarities, or for a result computed from it."""

    dtype = torch.float32

    def __init__(self, notes: _Notes, name: str = "s") -> None:
        self.notes, self.name = notes, name

    def __getattr__(self, method: str) -> Callable[..., _Similarities]:
        def call(*operands: Any, **options: Any) -> _Similarities:
            name = self.notes.write(method.removesuffix("_"), self, *operands, **options)
            if not method.endswith("_"):
                return _Similarities(self.notes, name)
            self.name = name  # in place
            return self

        return call

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> _Similarities:
        notes: _Notes = next(value.notes for value in args if isinstance(value, cls))
        return cls(notes, notes.write(function.__name__, *args, **(kwargs or {})))


def write(
    formula: Callable[[Any], Any], device: torch.device
) -> tuple[str, tuple[float | Tensor, ...]]:
    """Return the source of a function of similarities and numbers, and the numbers.

    Args:
        formula: a temperature, or its derivative; computed in float32.
        device: where the kernel runs. Only the kernel reads a scalar tensor on this device.

    Raises:
        UnknownOperation: the formula uses an operation that cannot be translated.

    >>> from solo_dyntemp.temperature import LinearTemperature
    >>> source, numbers = write(LinearTemperature(0.25, 0.75), torch.device("cuda"))
    >>> print(source, numbers)
    def formula(s, numbers):
        t0 = tl.abs(s)
        t1 = t0 * numbers[0]
        t2 = t1 + numbers[1]
        return t2
     (0.5, 0.25)
    """
    notes = _Notes(device)
    try:
        result = notes.operand(formula(_Similarities(notes)))
    except Exception as error:  # a user's formula may fail in any way
        raise UnknownOperation(str(error)) from error
    source = f"def formula(s, numbers):\n{''.join(notes.lines)}    return {result}\n"
    return source, tuple(notes.numbers) or (0.0,)  # Triton has no empty arguments
