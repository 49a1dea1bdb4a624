"""One row of a network's table, op by op: a stage's distinct blocks, the stem or the head."""

from collections.abc import Sequence
from itertools import groupby
from types import UnionType

from resnetgen.ir.network import Block, Network, Stage
from resnetgen.ir.ops import (
    FUNCTIONS,
    Activation,
    Add,
    AvgPool2d,
    BatchNorm2d,
    BlurPool,
    ChannelConv,
    Concat,
    Conv2d,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Input,
    Linear,
    MaxPool2d,
    Mean,
    Norm,
    Op,
    PadChannels,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)
from resnetgen.ir.rules import Shape, count, pads_same, shapes
from resnetgen.ir.summary import Row, main_path
from resnetgen.report.cells import COUNTS, counted, sized
from resnetgen.report.grid import Column, Grid

_SHORTCUTS = {
    "identity": "identity shortcut",
    "projection": "projected shortcut",
    "zero_pad": "padded shortcut",
    "subsample": "subsampled shortcut",
    "none": "no shortcut",
}


def row_grids(row: Row, network: Network) -> tuple[Grid, ...]:
    """A table for each distinct block of a stage, or one for all of the stem or the head."""
    known = shapes(network)
    stage = stage_of(row, network)
    if stage is None:
        title = f"{label(row)}: {row.content_text}"
        return (_grid(title, ops_outside(row, network), known, prefix="", whole=row.name),)
    return tuple(_block_grid(stage, blocks, known) for blocks in distinct_blocks(stage))


def label(row: Row) -> str:
    """What the row is called in tables."""
    return row.title or row.name


def stage_of(row: Row, network: Network) -> Stage | None:
    """The stage that the row is about, or None for the stem and the head."""
    return next((stage for stage in network.stages if stage.name == row.name), None)


def ops_outside(row: Row, network: Network) -> tuple[Op, ...]:
    """The ops of a row that is about no stage."""
    return {"stem": network.stem, "head": network.head}[row.name]


def distinct_blocks(stage: Stage) -> tuple[tuple[Block, ...], ...]:
    """Runs of blocks that have the same shape inside; usually the first and the rest."""

    def shape(block: Block) -> tuple[object, ...]:
        dilations = tuple(conv.dilation for conv in block.convolutions)
        # In the order `pre` a first block may have no norm of its own.
        inside = (len(block.ops), dilations, main_path(block))
        return (block.shortcut, block.in_channels, block.stride, *inside)

    return tuple(tuple(blocks) for _, blocks in groupby(stage.blocks, key=shape))


def of_kind(ops: Sequence[Op], kind: type[Op] | UnionType) -> tuple[Op, ...]:
    """Those of the ops that are convolutions, or norms."""
    return tuple(op for op in ops if isinstance(op, kind))


def operation(op: Op) -> str:
    """What an op does, in a few words."""
    match op:
        case Input():
            return "image"
        case Conv2d():
            groups = "" if op.groups == 1 else f" in {op.groups} groups"
            stride = "" if op.stride == 1 else f", stride {op.stride}"
            dilation = "" if op.dilation == 1 else f", dilation {op.dilation}"
            how = f"{groups}{stride}{dilation}{_same(op)}"
            return f"{op.kernel}x{op.kernel} conv, {op.out_channels}{how}"
        case BatchNorm2d():
            return "batch norm"
        case GroupNorm():
            return f"group norm, {op.groups} groups"
        case Activation():
            return FUNCTIONS[op.function]
        case Sigmoid():
            return "sigmoid"
        case ChannelConv():
            return f"conv along the channels, kernel {op.kernel}"
        case Scale():
            return "multiply by the gates"
        case MaxPool2d():
            return f"{op.kernel}x{op.kernel} max pool, stride {op.stride}{_same(op)}"
        case AvgPool2d():
            return f"{op.kernel}x{op.kernel} average pool, stride {op.stride}"
        case BlurPool():
            return f"[1, 2, 1] filter, stride {op.stride}"
        case Subsample():
            return f"one pixel in {op.stride}, each way"
        case PadChannels():
            return f"{op.extra} channels of zeros"
        case Add():
            return "add the shortcut"
        case Dropout():
            return f"in training, dropout {op.rate:g}"
        case DropPath():
            return "in training, drop whole images"
        case GlobalAvgPool():
            return "global average pool"
        case GlobalMaxPool():
            return "global max pool"
        case Mean():
            return "mean of both"
        case Concat():
            return "one behind the other"
        case Flatten():
            return "flatten"
        case Linear():
            return f"linear, {op.out_features}"
        case Softmax():
            return "softmax"


def _same(op: Op) -> str:
    return ", SAME" if pads_same(op) else ""


def _block_grid(stage: Stage, blocks: Sequence[Block], known: dict[str, Shape]) -> Grid:
    block = blocks[0]
    title = (
        f"{stage.title}, {_which(stage, blocks)}: {block.title},"
        f" {_SHORTCUTS[block.shortcut]}, {block.in_channels} to {block.out_channels} channels"
        f"{_drop_paths(blocks)}"
    )
    return _grid(title, block.ops, known, prefix=f"{block.name}.", whole="block")


def _drop_paths(blocks: Sequence[Block]) -> str:
    """The rates of stochastic depth, if the blocks have any."""
    rates = dict.fromkeys(f"{op.rate:.4g}" for block in blocks if (op := block.drop_path))
    if not rates:
        return ""
    first, *_, last = (*rates, *rates)
    return f", drop path {first}" if len(rates) == 1 else f", drop path {first} to {last}"


def _which(stage: Stage, blocks: Sequence[Block]) -> str:
    first = stage.blocks.index(blocks[0]) + 1
    if len(blocks) == 1:
        return f"block {first} of {len(stage.blocks)}"
    return f"blocks {first} to {first + len(blocks) - 1} of {len(stage.blocks)}"


def _grid(
    title: str, ops: tuple[Op, ...], known: dict[str, Shape], *, prefix: str, whole: str
) -> Grid:
    """A row for each op, named without `prefix`, and what they add up to."""
    parts = {"convolutions": of_kind(ops, Conv2d), "norms": of_kind(ops, Norm), whole: ops}
    return Grid(
        title=title,
        columns=(Column("op"), Column("does"), Column("output", "right"), *COUNTS),
        rows=tuple(
            (op.name.removeprefix(prefix), operation(op), sized(known[op.name]), *_own(op, known))
            for op in ops
        ),
        totals=tuple(
            (name, "", "", *counted(count(part, known))) for name, part in parts.items() if part
        ),
    )


def _own(op: Op, known: dict[str, Shape]) -> tuple[str, ...]:
    """An op's own counts; most ops have none, and a column of zeros is hard to read."""
    return tuple("" if cell == "0" else cell for cell in counted(count((op,), known)))
