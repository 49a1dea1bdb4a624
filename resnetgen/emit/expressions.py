"""Writes the layers of a kind's blocks: what in them is a literal, and what an expression in the
parameters that the kind then needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.layers import Layer
from resnetgen.ir.network import Block
from resnetgen.ir.ops import (
    AvgPool2d,
    BatchNorm2d,
    BlurPool,
    ChannelConv,
    Conv2d,
    DropPath,
    GroupNorm,
    Op,
    Subsample,
)


@dataclass(frozen=True, slots=True)
class Extra:
    """A parameter for what does not follow from the channels, and its value in each block."""

    name: str
    values: Mapping[str, int]


def takes_stride(op: Op) -> bool:
    """Whether this is a pool or a filter that stands where the block's stride is."""
    return isinstance(op, AvgPool2d | BlurPool) and op.stride != 1


def local_name(name: str, block: Block) -> str:
    """An op's name in its block."""
    stage, _, rest = name.partition(f"{block.name.rpartition('.')[0]}.")
    assert not stage, f"{name} is no op of {block.name}"
    return rest.partition(".")[2]


def preactivation_layers(sample: Block) -> tuple[Layer, ...]:
    """What normalizes and activates the input of the main path."""
    return tuple(
        Layer(local_name(op.name, sample), op, _expressions(op, "in_channels", "", stride="1"))
        for op in sample.preactivation
    )


def main_layers(
    blocks: Sequence[Block],
    sample: Block,
    width_name: str,
    dilations: Mapping[str, Extra],
    *,
    strided: tuple[str, ...] | None,
    stride: str,
    rate: str | None,
) -> tuple[tuple[Layer, ...], tuple[Extra, ...]]:
    """The main path, and the parameters that it needs besides the width."""
    channels = "in_channels"
    layers: list[Layer] = []
    extras: list[Extra] = []
    attention = set(sample.attention)
    widths = [block.width for block in blocks]
    convolutions = [
        {local_name(conv.name, block): conv for conv in block.convolutions} for block in blocks
    ]
    for op in sample.main:
        if op in attention:
            if op == sample.attention[-1]:
                layers.append(_attention(blocks, width_name, channels, extras))
            continue
        if isinstance(op, DropPath) and rate is None and op.rate == 0:
            # Only the network's first block is of this kind.
            continue
        name, out_channels, optional = local_name(op.name, sample), channels, False
        own_stride, alike = stride, list[Conv2d]()
        match op:
            case Conv2d():
                alike = [found[name] for found in convolutions]
                values = [conv.out_channels for conv in alike]
                out_channels = _in_widths(values, widths, width_name) or _stated(
                    f"{name}_channels", values, blocks, extras
                )
                own_stride = stride if strided == (name,) else "1"
            case AvgPool2d() | BlurPool() if op.stride != 1:
                optional = stride == "stride"
            case _:
                pass
        expressions = _expressions(op, channels, out_channels, stride=own_stride)
        if alike and (groups := _groups(alike, blocks, out_channels, extras)):
            expressions["groups"] = groups
        if name in dilations:
            expressions["dilation"] = dilations[name].name
        if isinstance(op, DropPath):
            expressions["rate"] = rate or rate_of(op)
        layers.append(Layer(name, op, expressions, optional))
        channels = out_channels
    return tuple(layers), tuple(extras)


def _expressions(op: Op, channels: str, out_channels: str, *, stride: str) -> dict[str, str]:
    """The attributes of an op that blocks of its kind may differ in."""
    match op:
        case Conv2d():
            return {"in_channels": channels, "out_channels": out_channels, "stride": stride}
        case BatchNorm2d() | GroupNorm():
            return {"channels": channels}
        case Subsample():
            return {"stride": stride}
        case AvgPool2d() | BlurPool() if op.stride != 1:
            return {"kernel": stride, "stride": stride}
        case _:
            return {}


def varying_dilations(blocks: Sequence[Block]) -> dict[str, Extra]:
    """The parameter for each convolution that has not the same dilation in all blocks."""
    found: dict[str, dict[str, int]] = {}
    for block in blocks:
        for op in (*block.main, *block.side):
            if isinstance(op, Conv2d):
                found.setdefault(local_name(op.name, block), {})[block.name] = op.dilation
    varying = {name: values for name, values in found.items() if len(set(values.values())) > 1}
    main = [name for name in varying if not name.startswith("downsample")]
    named: dict[str, Extra] = {}
    # Of the last convolution first, since it has the dilation that the block leaves behind.
    for name in (*reversed(main), *(name for name in varying if name not in main)):
        values = varying[name]
        known = (extra for extra in named.values() if values.items() <= extra.values.items())
        own = f"{name.partition('.')[0]}_dilation" if named else "dilation"
        named[name] = next(known, None) or Extra(own, values)
    return {name: named[name] for name in varying}


def varying_drop_paths(blocks: Sequence[Block]) -> dict[str, DropPath]:
    """The stochastic depth of each block, unless all have the same rate."""
    found = {block.name: op for block in blocks if (op := block.drop_path) is not None}
    return found if len({op.rate for op in found.values()}) > 1 else {}


def rate_of(op: DropPath, index: str | None = None) -> str:
    """The rate as the source writes it, with an expression that gives the block's index."""
    return f"{op.highest!r} * {index or op.index} / {op.last_index}"


def _stated(name: str, values: Sequence[int], blocks: Sequence[Block], extras: list[Extra]) -> str:
    """A parameter that every block states, since nothing else decides its value."""
    names = (block.name for block in blocks)
    extras.append(Extra(name, dict(zip(names, values, strict=True))))
    return name


def _groups(
    alike: Sequence[Conv2d], blocks: Sequence[Block], out_channels: str, extras: list[Extra]
) -> str | None:
    """The groups of a convolution where its blocks have different ones."""
    values = [conv.groups for conv in alike]
    if len(set(values)) == 1:
        return None
    channels = {conv.out_channels / conv.groups for conv in alike}
    if len(channels) == 1:
        return _divided(out_channels, int(channels.pop()))
    # All convolutions of a block that have groups have as many.
    known = any(extra.name == "groups" for extra in extras)
    return "groups" if known else _stated("groups", values, blocks, extras)


def _attention(
    blocks: Sequence[Block], width_name: str, channels: str, extras: list[Extra]
) -> Layer:
    """All of attention as one layer, whose sizes may need more parameters."""
    first = [block.attention[1] for block in blocks]
    if isinstance(first[0], ChannelConv):
        size = "kernel_size"
        values = [op.kernel for op in first if isinstance(op, ChannelConv)]
        found = str(values[0]) if len(set(values)) == 1 else None
    else:
        size, values = "squeezed", [_out_channels(op) for op in first]
        found = _in_widths(values, [block.width for block in blocks], width_name)
        found = found or _in_widths(values, [block.in_channels for block in blocks], "in_channels")
    expression = found or _stated(size, values, blocks, extras)
    return Layer("se", blocks[0].attention[-1], {"channels": channels, size: expression})


def _out_channels(op: Op) -> int:
    assert isinstance(op, Conv2d), f"{op.name}: {type(op).__name__}"
    return op.out_channels


def _in_widths(values: Sequence[int], widths: Sequence[int], name: str) -> str | None:
    """The expression in the width that gives each value, if one does."""
    pairs = list(zip(values, widths, strict=True))
    value, width = pairs[0]
    factor, divisor = value // width, width // value
    if all(value == factor * width for value, width in pairs):
        return name if factor == 1 else f"{factor} * {name}"
    if divisor and all(value == width // divisor for value, width in pairs):
        return _divided(name, divisor)
    return None


def _divided(name: str, divisor: int) -> str:
    return name if divisor == 1 else f"{name} // {divisor}"


def last_channels(layers: Sequence[Layer]) -> str:
    convolutions = [layer for layer in layers if isinstance(layer.op, Conv2d)]
    return convolutions[-1].text("out_channels")


def side_layers(
    block: Block,
    out_channels: str,
    dilations: Mapping[str, Extra],
    *,
    stride: str,
    sometimes_strided: bool,
) -> tuple[Layer, ...]:
    channels = "in_channels"
    layers: list[Layer] = []
    for op in block.side:
        name, pools = local_name(op.name, block), isinstance(op, AvgPool2d)
        expressions = _expressions(op, channels, out_channels, stride=stride)
        if name in dilations:
            expressions["dilation"] = dilations[name].name
        optional = takes_stride(op) and sometimes_strided
        layers.append(Layer(name, op, expressions, optional))
        if pools:
            # It strides in place of the convolution.
            stride = "1"
        else:
            channels = out_channels
    return tuple(layers)
