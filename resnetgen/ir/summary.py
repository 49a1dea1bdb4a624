"""A network's table as the paper prints it: one row each for the stem, the stages and the head."""

from collections import Counter
from dataclasses import dataclass

from resnetgen.ir.network import Block, Network, Stage
from resnetgen.ir.ops import (
    BLUR_KERNEL,
    AvgPool2d,
    BlurPool,
    ChannelConv,
    Conv2d,
    MaxPool2d,
    Op,
    Softmax,
)
from resnetgen.ir.rules import Counts, Shape, count, shapes

_SHORTCUTS = {
    "projection": "projected",
    "zero_pad": "padded",
    "subsample": "subsampled",
    "identity": "identity",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `output` has no batch, `counts` are for one image."""

    name: str
    title: str
    output: Shape
    content: str
    shortcuts: str
    counts: Counts


def rows(network: Network) -> tuple[Row, ...]:
    """The table from the stem to the head."""
    known = shapes(network)

    def row(name: str, title: str, ops: tuple[Op, ...], content: str, shortcuts: str = "") -> Row:
        return Row(name, title, known[ops[-1].name], content, shortcuts, count(ops, known))

    return (
        row("stem", "conv1", network.stem, _stem_content(network)),
        *(
            row(
                stage.name,
                stage.title,
                tuple(stage.ops),
                _stage_content(stage),
                _stage_shortcuts(stage),
            )
            for stage in network.stages
        ),
        row("head", "", network.head, _head_content(network)),
    )


def total(network: Network) -> Counts:
    """The whole network's parameters, buffers and MACs."""
    return count(network.ops, shapes(network))


def main_path(*blocks: Block) -> str:
    """The blocks' convolutions as the paper brackets them, such as `1x1 64, 3x3 64, 1x1 256`.

    Groups stand behind the channels, and attention where it is applied. Of pruned blocks, the least
    and the most channels are given.
    """
    layers = zip(*(block.convolutions for block in blocks), strict=True)
    parts = [_convolution(convolutions) for convolutions in layers]
    if attention := blocks[0].attention:
        before = blocks[0].main[: blocks[0].main.index(attention[0])]
        name = "ECA" if any(isinstance(op, ChannelConv) for op in attention) else "SE"
        parts.insert(sum(isinstance(op, Conv2d) for op in before), name)
    return ", ".join(parts)


def _convolution(convolutions: tuple[Conv2d, ...]) -> str:
    channels = sorted({conv.out_channels for conv in convolutions})
    extent = f"{channels[0]} to {channels[-1]}" if len(channels) > 1 else f"{channels[0]}"
    conv = convolutions[0]
    groups = "" if conv.groups == 1 else f" ({conv.groups} groups)"
    return f"{conv.kernel}x{conv.kernel} {extent}{groups}"


def _stem_content(network: Network) -> str:
    parts: list[str] = []
    for op in network.stem:
        match op:
            case Conv2d():
                parts.append(f"{_window(op.kernel, op.stride)} conv {op.out_channels}")
            case MaxPool2d():
                parts.append(f"{_window(op.kernel, op.stride)} max pool")
            case AvgPool2d():
                parts.append(f"{_window(op.kernel, op.stride)} average pool")
            case BlurPool():
                parts.append(f"{_window(BLUR_KERNEL, op.stride)} blur pool")
            case _:
                pass
    return ", ".join(parts)


def _head_content(network: Network) -> str:
    softmax = ", softmax" if isinstance(network.head[-1], Softmax) else ""
    return f"global average pool, linear{softmax}"


def _window(kernel: int, stride: int) -> str:
    size = f"{kernel}x{kernel}"
    return size if stride == 1 else f"{size}/{stride}"


def _stage_content(stage: Stage) -> str:
    strides = {block.stride for block in stage.blocks} - {1}
    stride = "".join(f", stride {stride}" for stride in strides)
    dilation = "" if stage.dilation == 1 else f", dilation {stage.dilation}"
    return f"[{main_path(*stage.blocks)}] x {len(stage.blocks)}{stride}{dilation}"


def _stage_shortcuts(stage: Stage) -> str:
    uses = Counter(block.shortcut for block in stage.blocks)
    if uses["none"]:
        return "none"
    return ", ".join(f"{number} {_SHORTCUTS[kind]}" for kind, number in uses.items())
