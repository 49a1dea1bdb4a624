"""Finds the widths and groups of a trace's stages; where pruning left channels that follow from no
width, also what there may have been before it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from resnetgen.lower.attention import eca_kernel
from resnetgen.spec.blocks import BOTTLENECK_EXPANSION
from resnetgen.weights.infer.not_inferred import not_inferred
from resnetgen.weights.infer.trace import BlockTrace, Trace
from resnetgen.weights.infer.widths import MainPath, Widths, solve

Pruned = tuple[tuple[int, ...], ...]
"""Output channels of each block's convolutions."""
_MOST_DOUBLINGS = 4
"""Up to how many times less than half of a stage's channels may be left."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A trace, and the same with channels that follow from its stages' widths."""

    found: Trace
    restored: Trace
    widths: Widths
    groups: tuple[int, ...]
    """Of each stage."""
    pruned: tuple[Pruned | None, ...]
    """What was found of each stage that has other channels."""


def whole(trace: Trace) -> Whole:
    """The trace as it was before any pruning, with as few stages pruned as can be."""
    each = _groups(trace)
    groups = each[0] if len(set(each)) == 1 else None
    stages = range(len(trace.stages))
    uneven = {index for index in stages if _is_uneven(trace.stages[index], groups)}
    for pruned in (uneven, set(stages)):
        restored = _restored(trace, pruned)
        paths = [_path(stage[0]) for stage in restored.stages]
        if widths := solve(paths, groups=groups):
            rows = (_channels(trace.stages[index]) if index in pruned else None for index in stages)
            return Whole(trace, restored, widths, each, tuple(rows))
    raise AssertionError("blocks that all have one width have none")


def _groups(trace: Trace) -> tuple[int, ...]:
    """Of each stage's first convolution that can have several: its others must have the same."""
    before = trace.stem[-1].out_channels
    found: list[int | None] = []
    for stage in trace.stages:
        found.append(_stage_groups(stage, before))
        before = stage[0].main[-1].out_channels
    others = next((groups for groups in found if groups is not None), 1)
    return tuple(others if groups is None else groups for groups in found)


def _stage_groups(stage: Sequence[BlockTrace], before: int) -> int | None:
    for block in stage:
        for convolution in block.main:
            groups, rest = divmod(before, convolution.in_channels)
            if rest or groups == 0:
                message = f"`{convolution.name}.weight` takes {convolution.in_channels:,} channels"
                message += f" in each group, where {before:,} come in"
                raise not_inferred(message, "a number that divides them")
            if convolution.kernel > 1:
                return groups
            before = convolution.out_channels
    return None


def _is_uneven(stage: Sequence[BlockTrace], groups: int | None) -> bool:
    """Whether its blocks differ in channels alone, or have such as no width gives."""
    paths = {_path(block) for block in stage}
    if len({path.kernels for path in paths}) > 1 or not all(map(_holds_together, stage)):
        return False
    return len(paths) > 1 or solve([*paths], groups=groups) is None


def _holds_together(block: BlockTrace) -> bool:
    """Whether each convolution reads what the one before it gives."""
    return all(
        before.out_channels % convolution.in_channels == 0
        if convolution.kernel > 1
        else before.out_channels == convolution.in_channels
        for before, convolution in pairwise(block.main)
    )


def _path(block: BlockTrace) -> MainPath:
    kernels = tuple(convolution.kernel for convolution in block.main)
    return MainPath(kernels, tuple(convolution.out_channels for convolution in block.main))


def _channels(stage: Sequence[BlockTrace]) -> Pruned:
    return tuple(_path(block).channels for block in stage)


def _restored(trace: Trace, pruned: Collection[int]) -> Trace:
    stages = tuple(
        _unpruned(stage) if index in pruned else stage for index, stage in enumerate(trace.stages)
    )
    return replace(trace, stages=stages)


def _unpruned(stage: Sequence[BlockTrace]) -> tuple[BlockTrace, ...]:
    if len({_path(block).kernels for block in stage}) > 1:
        message = f"the blocks beside `{stage[0].name}` have convolutions of other kernels"
        raise not_inferred(message, "the same in all blocks of a stage")
    multiples = [1] * len(stage[0].main)
    if _path(stage[0]).name == "bottleneck":
        multiples[-1] = BOTTLENECK_EXPANSION
    width = _width(stage, multiples)
    return tuple(
        replace(
            block,
            main=tuple(
                replace(convolution, out_channels=width * multiple)
                for convolution, multiple in zip(block.main, multiples, strict=True)
            ),
        )
        for block in stage
    )


def _width(stage: Sequence[BlockTrace], multiples: Sequence[int]) -> int:
    """The least power of two that may have lost channels to become these.

    The kernel of an ECA is still that of the channels before, if it has one.
    """
    kernels = {block.eca_kernel for block in stage} - {None}
    most = max(
        -(-channels // multiple)
        for path in _channels(stage)
        for channels, multiple in zip(path, multiples, strict=True)
    )
    least = 1 << (most - 1).bit_length()
    for width in (least << doublings for doublings in range(_MOST_DOUBLINGS)):
        if kernels <= {eca_kernel(width * multiple) for multiple in multiples[-2:]}:
            return width
    return least
