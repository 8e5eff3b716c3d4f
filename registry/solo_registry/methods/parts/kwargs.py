"""Declarations of `method_kwargs` that several methods share."""

from __future__ import annotations

from solo_registry.catalog.kwargs import COUNT, TAU, WIDTH, Kwarg

QUEUE_SIZE = Kwarg(
    None,
    "Keys in the queue, a multiple of the batch over all devices; null is the largest such "
    "multiple up to half the training images and 65,536.",
    kind=int,
    **COUNT,
    null=True,
)


def projector_widths(
    hidden: int, output: int, output_help: str = "Width of the projections."
) -> dict[str, Kwarg]:
    """Declare the two widths of a projector."""
    return {
        "proj_hidden_dim": Kwarg(hidden, "Width of the projector's hidden layers.", **WIDTH),
        "proj_output_dim": Kwarg(output, output_help, **WIDTH),
    }


def predictor_width(hidden: int) -> dict[str, Kwarg]:
    """Declare the width of a predictor."""
    return {"pred_hidden_dim": Kwarg(hidden, "Width of the predictor's hidden layer.", **WIDTH)}


def softmax_temperature(default: float) -> dict[str, Kwarg]:
    """Declare the temperature of a softmax."""
    help_line = "Temperature that divides the similarities before the softmax."
    return {"temperature": Kwarg(default, help_line, **TAU)}
