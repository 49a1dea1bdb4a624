"""Where a network strides and where it dilates instead: arithmetic on the spec."""

from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import get_args

from resnetgen.spec.model import ModelSpec, OutputStride, Pool

_POOL_STRIDE = 2


@dataclass(frozen=True, slots=True)
class Reach:
    """What a stage has of its stride: that, or a dilation of all that stands behind it."""

    stride: int
    before: int
    """The dilation up to and with the convolution that the spec gives the stride to."""
    behind: int
    """The dilation of what comes after it."""


def reaches(spec: ModelSpec) -> tuple[Reach, ...]:
    """One for each stage: where the network has its `output_stride`, stages dilate.

    A kernel behind a stride that is not taken reads every so many pixels, and so the pixels that it
    would have read, as in timm and in torchvision's `replace_stride_with_dilation`.
    """
    found: list[Reach] = []
    so_far, dilation = stem_stride(spec.stem.stride, spec.stem.pool), 1
    for stage in spec.stages:
        if spec.output_stride is not None and so_far >= spec.output_stride:
            found.append(Reach(1, dilation, dilation * stage.stride))
            dilation *= stage.stride
        else:
            found.append(Reach(stage.stride, 1, 1))
            so_far *= stage.stride
    return tuple(found)


def reached(spec: ModelSpec) -> tuple[int, ...]:
    """What strides multiply to behind the stem and behind each stage, were all of them taken."""
    factors = (
        stem_stride(spec.stem.stride, spec.stem.pool),
        *(stage.stride for stage in spec.stages),
    )
    return tuple(accumulate(factors, mul))


def possible(spec: ModelSpec) -> tuple[OutputStride, ...]:
    """The output strides that the network can have."""
    found = reached(spec)
    return tuple(each for each in get_args(OutputStride) if each in found)


def may_dilate(spec: ModelSpec) -> bool:
    """Whether any output stride would dilate the network."""
    return any(each < reached(spec)[-1] for each in possible(spec))


def stem_stride(stride: int, pool: Pool) -> int:
    """The stride of the stem's convolutions and of what pools them."""
    return stride if pool == "none" else stride * _POOL_STRIDE
