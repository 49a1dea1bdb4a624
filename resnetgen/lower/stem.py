"""Lowers the stem: the image, convolutions with norms and activations, and what pools them."""

from resnetgen.ir.ops import Input, MaxPool2d, Op, Padding, Same
from resnetgen.lower.parts import convolution, normalize_and_activate
from resnetgen.lower.pools import anti_alias
from resnetgen.spec.model import ModelSpec


def lower_stem(spec: ModelSpec) -> tuple[Op, ...]:
    """The ops from the image to the first stage's input.

    The convolutions of a deep stem are `conv1.0`, `conv1.3`, ... as in timm, where norms and
    activations have the numbers between; without norms there is one between.
    """
    stem = spec.stem
    ops: list[Op] = [Input("input", spec.input.channels)]
    channels = spec.input.channels
    names = _convolution_names(len(stem.hidden), has_norms=spec.norm.kind != "none")
    for index, width in enumerate((*stem.hidden, stem.width)):
        conv, norm, act = names[index]
        normalized = stem.norm or index < len(stem.hidden)
        ops.append(
            convolution(
                spec,
                conv,
                source=ops[-1].name,
                in_channels=channels,
                out_channels=width,
                kernel=stem.kernel,
                stride=stem.stride if index == 0 else 1,
                normalized=normalized,
                bias=stem.bias,
            )
        )
        if normalized:
            ops += normalize_and_activate(spec, norm=norm, act=act, source=conv, channels=width)
        channels = width
    return (*ops, *_pool(spec, source=ops[-1].name))


def _convolution_names(hidden: int, *, has_norms: bool) -> list[tuple[str, str, str]]:
    """Convolution, norm and activation of each of the stem's convolutions."""
    if hidden == 0:
        return [("conv1", "bn1", "act1")]
    step = 3 if has_norms else 2
    inner = [
        (f"conv1.{number}", f"conv1.{number + 1}", f"conv1.{number + step - 1}")
        for number in range(0, step * hidden, step)
    ]
    return [*inner, (f"conv1.{step * hidden}", "bn1", "act1")]


def _max_pool(spec: ModelSpec, *, source: str) -> tuple[Op, ...]:
    """A max pool with stride 2, or what anti-aliasing has in its place."""
    padding: Padding | Same = Padding.symmetric(1)
    zeros = spec.stem.pool_padding == "zeros"
    match spec.anti_alias:
        case "none":
            match spec.stem.pool_padding:
                case "ceil":
                    padding = Padding(0, 0, 1, 1)
                case "same":
                    padding = Same()
                case "symmetric" | "zeros":
                    pass
            return (MaxPool2d("maxpool", (source,), 3, 2, padding, zeros),)
        case "avg":
            return anti_alias(spec, "maxpool", source=source, stride=2)
        case "blur":
            pool = MaxPool2d("maxpool.0", (source,), 3, 1, padding, zeros)
            return (pool, *anti_alias(spec, "maxpool.1", source=pool.name, stride=2))


def _pool(spec: ModelSpec, *, source: str) -> tuple[Op, ...]:
    channels = spec.stem.width
    match spec.stem.pool:
        case "none":
            return ()
        case "max":
            return _max_pool(spec, source=source)
        case "conv":
            conv = convolution(
                spec,
                "maxpool.0",
                source=source,
                in_channels=channels,
                out_channels=channels,
                kernel=3,
                stride=2,
                bias=spec.stem.bias,
            )
            act = "maxpool.1" if spec.norm.kind == "none" else "maxpool.2"
            behind = normalize_and_activate(
                spec, norm="maxpool.1", act=act, source=conv.name, channels=channels
            )
            return (conv, *behind)
