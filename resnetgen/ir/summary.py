"""A network's table as the paper prints it: one row each for the stem, the stages and the head."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.ir.network import Block, HeadPool, Network, Stage
from resnetgen.ir.ops import (
    BLUR_KERNEL,
    AvgPool2d,
    BlurPool,
    ChannelConv,
    Conv2d,
    Dropout,
    MaxPool2d,
    Op,
)
from resnetgen.ir.rules import Counts, Shape, count, shapes

_POOLS: Mapping[HeadPool, str] = {
    "avg": "global average pool",
    "max": "global max pool",
    "avgmax": "mean of both global pools",
    "catavgmax": "global average and max pools",
}
_SHORTCUTS = {
    "projection": "projected",
    "zero_pad": "padded",
    "subsample": "subsampled",
    "identity": "identity",
}


@dataclass(frozen=True, slots=True)
class BracketLine:
    """A convolution's kernel and what it gives, `3x3` and `256 (32 groups)`; or attention's name.

    Attention has no kernel here.
    """

    kernel: str | None
    gives: str

    @property
    def text(self) -> str:
        return self.gives if self.kernel is None else f"{self.kernel} {self.gives}"


@dataclass(frozen=True, slots=True)
class Bracket:
    """A stage's blocks as the paper writes them: what is stacked in each, and how many there are.

    `stride` is that of the block which has one, be it the first or the last; `dilation` is the
    stage's largest.
    """

    lines: tuple[BracketLine, ...]
    repeats: int
    stride: int
    dilation: int

    @property
    def text(self) -> str:
        """All of it on one line."""
        return f"[{_listed(self.lines)}] x {self.repeats}{self.ending}"

    @property
    def ending(self) -> str:
        """What stands behind the number of blocks."""
        stride = "" if self.stride == 1 else f", stride {self.stride}"
        dilation = "" if self.dilation == 1 else f", dilation {self.dilation}"
        return f"{stride}{dilation}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `output` has no batch, `counts` are for one image."""

    name: str
    title: str
    output: Shape
    content: str | Bracket
    """A bracket for a stage, and words for the stem and the head."""
    shortcuts: str
    counts: Counts

    @property
    def content_text(self) -> str:
        """The content on one line."""
        return self.content if isinstance(self.content, str) else self.content.text


def rows(network: Network) -> tuple[Row, ...]:
    """The table from the stem to the head."""
    known = shapes(network)

    def row(
        name: str, title: str, ops: tuple[Op, ...], content: str | Bracket, shortcuts: str = ""
    ) -> Row:
        return Row(name, title, known[ops[-1].name], content, shortcuts, count(ops, known))

    return (
        row("stem", "conv1", network.stem, _stem_content(network)),
        *(
            row(
                stage.name,
                stage.title,
                tuple(stage.ops),
                _bracket(stage),
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
    """The blocks' convolutions on one line, such as `1x1 64, 3x3 64, 1x1 256`."""
    return _listed(_lines(blocks))


def _listed(lines: Sequence[BracketLine]) -> str:
    return ", ".join(line.text for line in lines)


def _lines(blocks: Sequence[Block]) -> tuple[BracketLine, ...]:
    """What the paper stacks in a bracket for blocks that differ in their channels at most.

    Groups stand behind the channels, and attention where it is applied. Of pruned blocks, the least
    and the most channels are given.
    """
    layers = zip(*(block.convolutions for block in blocks), strict=True)
    lines = [_convolution(convolutions) for convolutions in layers]
    if attention := blocks[0].attention:
        before = blocks[0].main[: blocks[0].main.index(attention[0])]
        name = "ECA" if any(isinstance(op, ChannelConv) for op in attention) else "SE"
        lines.insert(sum(isinstance(op, Conv2d) for op in before), BracketLine(None, name))
    return tuple(lines)


def _convolution(convolutions: tuple[Conv2d, ...]) -> BracketLine:
    channels = sorted({conv.out_channels for conv in convolutions})
    extent = f"{channels[0]} to {channels[-1]}" if len(channels) > 1 else f"{channels[0]}"
    conv = convolutions[0]
    groups = "" if conv.groups == 1 else f" ({conv.groups} groups)"
    return BracketLine(f"{conv.kernel}x{conv.kernel}", f"{extent}{groups}")


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
    parts = [_POOLS[network.head_pool]]
    parts += [f"dropout {op.rate:g}" for op in network.head if isinstance(op, Dropout)]
    parts.append("linear")
    if network.gives_probabilities:
        parts.append("softmax")
    return ", ".join(parts)


def _window(kernel: int, stride: int) -> str:
    size = f"{kernel}x{kernel}"
    return size if stride == 1 else f"{size}/{stride}"


def _bracket(stage: Stage) -> Bracket:
    stride = math.prod(block.stride for block in stage.blocks)
    return Bracket(_lines(stage.blocks), len(stage.blocks), stride, stage.dilation)


def _stage_shortcuts(stage: Stage) -> str:
    uses = Counter(block.shortcut for block in stage.blocks)
    if uses["none"]:
        return "none"
    return ", ".join(f"{number} {_SHORTCUTS[kind]}" for kind, number in uses.items())
