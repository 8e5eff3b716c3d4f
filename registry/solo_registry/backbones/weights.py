"""Weights of a backbone from a file of another program: torch, timm, lightly, solo-learn, ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solo_registry.errors import UserError
from solo_registry.paths import is_file

if TYPE_CHECKING:
    from torch import Tensor, nn

INSIDE = ("state_dict", "model", "model_state", "student", "teacher", "net", "backbone")
"""Keys under which programs keep the weights in a checkpoint."""
SHOWN = 4


@dataclass(frozen=True)
class Fitted:
    """What `load_backbone` did with a file.

    Attributes:
        prefix: what stands before the backbone's names in the file, such as "backbone.".
        used: number of tensors that the backbone took.
        left: names in the file that are not the backbone's, such as a projector's.
    """

    prefix: str
    used: int
    left: tuple[str, ...]


def load_backbone(backbone: nn.Module, path: Path) -> Fitted:
    """Load the weights of a file into a backbone; every weight of the backbone must be in it.

    The file may hold more: a checkpoint's optimizer, a projector, a classifier. Of the prefixes
    that its names have ("module.", "backbone.", "module.encoder_q.", ...) the one is taken under
    which most of the backbone's names are found.

    Args:
        backbone: what takes the weights.
        path: a .safetensors file, or one that torch can read without running code.

    Raises:
        UserError: no such file, no weights in it, or weights of another architecture; the message
            names some that lack or differ in shape.
    """
    state = read_weights(path)
    wanted = backbone.state_dict()
    prefix = _prefix(state, wanted)
    found = {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
    lacking = [name for name in wanted if name not in found and not _counts(name)]
    shapes = [
        f"{name} is {tuple(found[name].shape)}, here {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if lacking or shapes:
        what = f"lacks {_some(lacking)}" if lacking else f"has other shapes: {_some(shapes)}"
        stem = (
            "; backbone.kwargs.low_resolution=false gives a ResNet its stem for large images"
            if "conv1.weight" in wanted
            and "conv1.weight" in found
            and wanted["conv1.weight"].shape[2:] != found["conv1.weight"].shape[2:] == (7, 7)
            else ""
        )
        raise UserError(
            f"{path} does not fit this backbone: it {what}. "
            f"Name the architecture that the file was trained with, and the same image size{stem}"
        )
    taken = {name: found[name] for name in wanted if name in found}
    backbone.load_state_dict(wanted | taken)
    left = tuple(name for name in state if name.removeprefix(prefix) not in taken)
    return Fitted(prefix, len(taken), left)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors by name of a file, without running any code that it may hold.

    Raises:
        UserError: no such file, a file that torch cannot read so, or one without tensors.
    """
    import torch
    from safetensors.torch import load_file

    path = path.expanduser()
    if not is_file(path):
        raise UserError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot read weights from {path}: {reason}. If it holds objects besides tensors, save "
            "its state_dict alone: torch.save(model.state_dict(), PATH)"
        ) from error
    inside = next((content[key] for key in INSIDE if _is_mapping(content, key)), content)
    state = {
        name: value
        for name, value in (inside.items() if isinstance(inside, Mapping) else ())
        if isinstance(value, torch.Tensor)
    }
    if not state:
        raise UserError(
            f"{path} holds no weights: a state_dict, or a checkpoint with one, is meant"
        )
    return state


def _is_mapping(content: Any, key: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(key), Mapping)


def _prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Return the prefix under which most of the wanted names are found; the shortest of equals."""
    ends = {name.rpartition(".")[2] for name in wanted}
    prefixes = {""}
    for name in state:
        parts = name.split(".")
        if parts[-1] in ends:
            prefixes |= {".".join(parts[:count]) + "." for count in range(1, len(parts))}
    return max(
        sorted(prefixes, key=len), key=lambda prefix: sum(prefix + name in state for name in wanted)
    )


def _counts(name: str) -> bool:
    """Whether a name is BatchNorm's count of batches, which some programs do not save."""
    return name.endswith("num_batches_tracked")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
