"""Decides where a network strides and what its shortcuts are: partly read, partly by convention."""

from collections.abc import Sequence
from dataclasses import dataclass

from resnetgen.spec.model import ModelSpec, Pool, Shortcut, StrideBlock
from resnetgen.spec.strides import reaches, stem_stride
from resnetgen.weights.infer.trace import BlockTrace, Trace

_IMAGENET_SIZE, _CIFAR_SIZE = 224, 32
_SMALL_KERNEL = 3


@dataclass(frozen=True, slots=True)
class StagePlace:
    """A stage's stride and shortcut."""

    stride: int
    shortcut: Shortcut
    dilates: bool = False
    """Whether it takes a dilation in place of its stride, and so needs no projection for that."""


@dataclass(frozen=True, slots=True)
class Places:
    """What decides the size of an image on its way."""

    size: int | tuple[int, int]
    stem_stride: int
    pool: Pool
    stride_block: StrideBlock
    stages: tuple[StagePlace, ...]


def places(trace: Trace, base: ModelSpec | None) -> Places:
    """Those of `base`, or what is usual for such a stem, where names and shapes leave it open.

    `base` has as many stages as the trace. A single convolution of at most 3x3 is the stem of the
    CIFAR networks, which keeps the size; any other is that of ImageNet's, which quarters it. Each
    stage but the first halves the size.
    """
    small = len(trace.stem) == 1 and trace.stem[0].kernel <= _SMALL_KERNEL
    small = small and trace.pool is None
    if base is not None:
        stride, pool = base.stem.stride, base.stem.pool
        stages = tuple(
            StagePlace(stage.stride, stage.shortcut, dilates=reach.stride != stage.stride)
            for stage, reach in zip(base.stages, reaches(base), strict=True)
        )
    else:
        stride, pool = (1, "none") if small else (2, "max")
        stages = _usual(trace)
    if trace.pool is not None:
        pool = "conv"
    elif pool == "conv":
        pool = "max"
    stride_block = _stride_block(trace, base)
    fitted = _fitted(trace, stages, stride_block)
    factor = stem_stride(stride, pool)
    for stage in fitted:
        factor *= stage.stride
    size = _size(base, _CIFAR_SIZE if small else _IMAGENET_SIZE, factor)
    return Places(size, stride, pool, stride_block, fitted)


def _size(base: ModelSpec | None, usual: int, factor: int) -> int | tuple[int, int]:
    if base is not None:
        height, width = base.input.height, base.input.width
        return height if height == width else (height, width)
    return -(-usual // factor) * factor


def _usual(trace: Trace) -> tuple[StagePlace, ...]:
    """Halved in each stage but the first; where nothing is projected, zeros are appended.

    A network that appends zeros nowhere, since its channels shrink, has no shortcuts at all.
    """
    shapes = _channels(trace)
    projects = any(block.projection for stage in trace.stages for block in stage)
    shortcut: Shortcut = "projection"
    if not projects and any(before > after for before, after in shapes):
        shortcut = "none"
    elif not projects and any(before < after for before, after in shapes):
        shortcut = "zero_pad"
    return tuple(StagePlace(2 if index else 1, shortcut) for index in range(len(trace.stages)))


def _stride_block(trace: Trace, base: ModelSpec | None) -> StrideBlock:
    """The first, unless the base says the last and no projection contradicts it.

    One that neither changes the channels nor is in each block is there for a stride.
    """
    if base is None:
        return "first"
    contradicted = any(
        before == after and stage[0].projection is not None and stage[1].projection is None
        for stage, (before, after) in zip(trace.stages, _channels(trace), strict=True)
        if len(stage) > 1
    )
    return "first" if contradicted else base.stride_block


def _fitted(
    trace: Trace, stages: Sequence[StagePlace], stride_block: StrideBlock
) -> tuple[StagePlace, ...]:
    """The stages with what their projections leave no choice about."""
    kernels = {
        stage[0].projection.kernel for stage in trace.stages if stage[0].projection is not None
    }
    rows = zip(trace.stages, stages, _channels(trace), strict=True)
    return tuple(
        _fit(
            stage,
            place,
            reshapes=before != after,
            grows=before < after,
            kernels=kernels,
            stride_block=stride_block,
        )
        for stage, place, (before, after) in rows
    )


def _fit(
    stage: Sequence[BlockTrace],
    place: StagePlace,
    *,
    reshapes: bool,
    grows: bool,
    kernels: set[int],
    stride_block: StrideBlock,
) -> StagePlace:
    first = stage[0].projection
    if first is None:
        if place.shortcut in ("none", "zero_pad"):
            return place
        if not reshapes:
            # In its last block a stage strides without a projection.
            keeps = place.dilates or stride_block == "last"
            return StagePlace(place.stride if keeps else 1, "projection")
        return StagePlace(place.stride, "zero_pad" if grows else "none")
    stride = place.stride
    if max(kernels) > 1:
        # Only stages with a stride have such a kernel.
        stride = 1 if first.kernel == 1 else max(stride, 2)
    everywhere = len(stage) > 1 and stage[1].projection is not None
    alone = len(stage) == 1 and place.shortcut == "projection_all"
    unexplained = len(stage) == 1 and not reshapes and (stride == 1 or stride_block == "last")
    if everywhere or alone or unexplained:
        return StagePlace(stride, "projection_all")
    if not reshapes:
        stride = max(stride, 2)
    return StagePlace(stride, "projection")


def _channels(trace: Trace) -> list[tuple[int, int]]:
    """Into and out of each stage."""
    out = [stage[0].main[-1].out_channels for stage in trace.stages]
    return list(zip([trace.stem[-1].out_channels, *out], out, strict=False))
