"""Lowers the stem: image, first convolution, norm, activation and, where asked for, the pool."""

from resnetgen.ir.ops import Input, MaxPool2d, Op, Padding, Relu
from resnetgen.lower.layers import batch_norm, convolution
from resnetgen.spec.model import ModelSpec


def lower_stem(spec: ModelSpec) -> tuple[Op, ...]:
    """The ops from the image to the first stage's input."""
    ops: tuple[Op, ...] = (
        Input("input", spec.input.channels),
        convolution(
            spec,
            "conv1",
            source="input",
            in_channels=spec.input.channels,
            out_channels=spec.stem.width,
            kernel=spec.stem.kernel,
            stride=spec.stem.stride,
        ),
        batch_norm(spec, "bn1", source="conv1", channels=spec.stem.width),
        Relu("act1", ("bn1",)),
    )
    if spec.stem.pool == "none":
        return ops
    pool = MaxPool2d("maxpool", ("act1",), kernel=3, stride=2, padding=Padding.symmetric(1))
    return (*ops, pool)
