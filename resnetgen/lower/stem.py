"""Lowers the stem: the image, convolutions with norms and activations, and what pools them."""

from resnetgen.ir.ops import Input, MaxPool2d, Op, Padding, Relu
from resnetgen.lower.layers import batch_norm, convolution
from resnetgen.lower.pools import anti_alias
from resnetgen.spec.model import ModelSpec


def lower_stem(spec: ModelSpec) -> tuple[Op, ...]:
    """The ops from the image to the first stage's input.

    The convolutions of a deep stem are `conv1.0`, `conv1.3`, ... as in timm, where norms and
    activations have the numbers between.
    """
    ops: list[Op] = [Input("input", spec.input.channels)]
    channels = spec.input.channels
    names = _convolution_names(len(spec.stem.hidden))
    for index, width in enumerate((*spec.stem.hidden, spec.stem.width)):
        conv, norm, act = names[index]
        ops += [
            convolution(
                spec,
                conv,
                source=ops[-1].name,
                in_channels=channels,
                out_channels=width,
                kernel=spec.stem.kernel,
                stride=spec.stem.stride if index == 0 else 1,
            ),
            batch_norm(spec, norm, source=conv, channels=width),
            Relu(act, (norm,)),
        ]
        channels = width
    return (*ops, *_pool(spec))


def _convolution_names(hidden: int) -> list[tuple[str, str, str]]:
    """Convolution, norm and activation of each of the stem's convolutions."""
    if hidden == 0:
        return [("conv1", "bn1", "act1")]
    inner = [
        (f"conv1.{number}", f"conv1.{number + 1}", f"conv1.{number + 2}")
        for number in range(0, 3 * hidden, 3)
    ]
    return [*inner, (f"conv1.{3 * hidden}", "bn1", "act1")]


def _max_pool(spec: ModelSpec) -> tuple[Op, ...]:
    """A max pool with stride 2, or what anti-aliasing has in its place."""
    padding = Padding.symmetric(1)
    match spec.anti_alias:
        case "none":
            return (MaxPool2d("maxpool", ("act1",), kernel=3, stride=2, padding=padding),)
        case "avg":
            return anti_alias(spec, "maxpool", source="act1", stride=2)
        case "blur":
            pool = MaxPool2d("maxpool.0", ("act1",), kernel=3, stride=1, padding=padding)
            return (pool, *anti_alias(spec, "maxpool.1", source=pool.name, stride=2))


def _pool(spec: ModelSpec) -> tuple[Op, ...]:
    match spec.stem.pool:
        case "none":
            return ()
        case "max":
            return _max_pool(spec)
        case "conv":
            conv = convolution(
                spec,
                "maxpool.0",
                source="act1",
                in_channels=spec.stem.width,
                out_channels=spec.stem.width,
                kernel=3,
                stride=2,
            )
            norm = batch_norm(spec, "maxpool.1", source=conv.name, channels=spec.stem.width)
            return (conv, norm, Relu("maxpool.2", (norm.name,)))
