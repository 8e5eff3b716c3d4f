"""A backbone as an ONNX file, for programs without PyTorch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from importlib.util import find_spec

import torch
from torch import nn

from solo_registry.errors import UserError

PACKAGES = ("onnx", "onnxscript")  # what torch needs to write the file


def require_onnx() -> None:
    """Ask for the packages that write ONNX.

    Raises:
        UserError: one is not installed.
    """
    if absent := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"--to onnx needs {' and '.join(absent)}: pip install 'solo-dyntemp[onnx]'")


def onnx_bytes(backbone: nn.Module, channels: int, size: int) -> bytes:
    """Return the content of an ONNX file: `images` (N, C, size, size) -> `features` (N, D).

    N is free. The backbone is exported in evaluation mode, in float32.

    Raises:
        UserError: torch cannot express the backbone in ONNX.
    """
    require_onnx()
    backbone = backbone.eval()
    images = torch.zeros(2, channels, size, size)
    quiet = contextlib.redirect_stdout(io.StringIO())  # torch prints its progress
    with warnings.catch_warnings(), quiet:
        warnings.simplefilter("ignore")  # of torch's own parts
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                backbone,
                (images,),
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
            )
        except Exception as error:  # the exporter raises many kinds
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"torch cannot write this backbone as ONNX: {reason}") from error
    content: bytes = program.model_proto.SerializeToString()  # type: ignore[union-attr]
    return content
