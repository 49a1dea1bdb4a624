"""Tables of a network: the paper's, stage by stage, and that of one stage's distinct blocks."""

from collections.abc import Sequence
from itertools import groupby

from resnetgen.ir.network import Block, Network, Stage
from resnetgen.ir.ops import (
    Add,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Input,
    Linear,
    MaxPool2d,
    Op,
    PadChannels,
    Relu,
    Subsample,
)
from resnetgen.ir.rules import Shape, count, shapes
from resnetgen.ir.summary import Row, rows, total
from resnetgen.report.grid import Bracket, Column, Grid

_COUNTS = (Column("params", "right"), Column("MACs", "right"))
_SHORTCUTS = {
    "identity": "identity shortcut",
    "projection": "projected shortcut",
    "zero_pad": "padded shortcut",
    "none": "no shortcut",
}


def network_grid(network: Network) -> Grid:
    """The table of the paper: a row for the stem, each stage and the head."""
    stages = {stage.name: stage for stage in network.stages}
    counts = total(network)
    return Grid(
        title=(
            f"{network.name}: {network.depth} layers, {counts.trainable:,} parameters,"
            f" {counts.macs:,} MACs at {_input(network)}"
        ),
        columns=(
            Column("stage"),
            Column("output", "right"),
            Column("blocks"),
            Column("shortcuts"),
            *_COUNTS,
        ),
        rows=tuple(_row(row, stages.get(row.name)) for row in rows(network)),
        totals=(("total", "", "", "", f"{counts.trainable:,}", f"{counts.macs:,}"),),
    )


def block_grids(network: Network, stage: Stage) -> tuple[Grid, ...]:
    """One table for each distinct block of a stage, with its ops and what they add up to."""
    known = shapes(network)
    return tuple(_block_grid(stage, blocks, known) for blocks in distinct_blocks(stage))


def distinct_blocks(stage: Stage) -> tuple[tuple[Block, ...], ...]:
    """Runs of blocks that have the same shape inside; usually the first and the rest."""

    def shape(block: Block) -> tuple[str, int, int, int]:
        return (block.shortcut, block.in_channels, block.out_channels, block.stride)

    return tuple(tuple(blocks) for _, blocks in groupby(stage.blocks, key=shape))


def operation(op: Op) -> str:
    """What an op does, in a few words."""
    match op:
        case Input():
            return "image"
        case Conv2d():
            stride = "" if op.stride == 1 else f", stride {op.stride}"
            return f"{op.kernel}x{op.kernel} conv, {op.out_channels}{stride}"
        case BatchNorm2d():
            return "batch norm"
        case Relu():
            return "ReLU"
        case MaxPool2d():
            return f"{op.kernel}x{op.kernel} max pool, stride {op.stride}"
        case Subsample():
            return f"one pixel in {op.stride}, each way"
        case PadChannels():
            return f"{op.extra} channels of zeros"
        case Add():
            return "add the shortcut"
        case GlobalAvgPool():
            return "global average pool"
        case Flatten():
            return "flatten"
        case Linear():
            return f"linear, {op.out_features}"


def _row(row: Row, stage: Stage | None) -> tuple[str | Bracket, ...]:
    content: str | Bracket = row.content
    if stage is not None:
        content = Bracket(row.content, _convolutions(stage.blocks[0]), len(stage.blocks))
    counts = (f"{row.counts.trainable:,}", f"{row.counts.macs:,}")
    return (row.title or row.name, _size(row.output), content, row.shortcuts, *counts)


def _convolutions(block: Block) -> tuple[str, ...]:
    return tuple(
        f"{layer.kernel}x{layer.kernel}, {block.width * layer.expansion}"
        for layer in block.kind.convolutions
    )


def _block_grid(stage: Stage, blocks: Sequence[Block], known: dict[str, Shape]) -> Grid:
    block = blocks[0]
    return Grid(
        title=(
            f"{stage.title}, {_which(stage, blocks)}: {block.kind.title},"
            f" {_SHORTCUTS[block.shortcut]}, {block.in_channels} to {block.out_channels} channels"
        ),
        columns=(Column("op"), Column("does"), Column("output", "right"), *_COUNTS),
        rows=tuple(_op_row(op, block, known) for op in block.ops),
        totals=(
            _sum("convolutions", [op for op in block.ops if isinstance(op, Conv2d)], known),
            _sum("norms", [op for op in block.ops if isinstance(op, BatchNorm2d)], known),
            _sum("block", block.ops, known),
        ),
    )


def _which(stage: Stage, blocks: Sequence[Block]) -> str:
    first = stage.blocks.index(blocks[0]) + 1
    if len(blocks) == 1:
        return f"block {first} of {len(stage.blocks)}"
    return f"blocks {first} to {first + len(blocks) - 1} of {len(stage.blocks)}"


def _op_row(op: Op, block: Block, known: dict[str, Shape]) -> tuple[str, ...]:
    counts = count((op,), known)
    return (
        op.name.removeprefix(f"{block.name}."),
        operation(op),
        "x".join(str(size) for size in known[op.name]),
        f"{counts.trainable:,}" if counts.trainable else "",
        f"{counts.macs:,}" if counts.macs else "",
    )


def _sum(title: str, ops: Sequence[Op], known: dict[str, Shape]) -> tuple[str, ...]:
    counts = count(tuple(ops), known)
    return (title, "", "", f"{counts.trainable:,}", f"{counts.macs:,}")


def _size(output: Shape) -> str:
    """Height and width, or the number of classes behind the flatten."""
    return "x".join(str(size) for size in output[1:] or output)


def _input(network: Network) -> str:
    height, width = network.input_size
    return f"{network.input_channels}x{height}x{width}"
