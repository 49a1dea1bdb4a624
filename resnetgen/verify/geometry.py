"""The strides and paddings with which a window gives a value of some size."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from resnetgen.ir.ops import Conv2d, MaxPool2d, Padding, Same
from resnetgen.verify.reference import Array

_STRIDES = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Geometry:
    """A stride and padding of a window, and how many rows and columns they must give."""

    stride: int
    padding: Padding
    height: int
    width: int

    def cut(self, value: Array) -> Array:
        return value[:, :, : self.height, : self.width]

    def cause(self, op: Conv2d | MaxPool2d, own: Padding, *, shape_kept: bool) -> str | None:
        """How it differs from the op's stride and from its `own` padding, if it does."""
        padding = self.padding
        if self.stride != op.stride:
            return f"its stride is {self.stride}, not {op.stride} (padding {_sides(padding)})"
        if padding == own:
            return None
        cause = f"its padding is {_sides(padding)}, not {_sides(own)}"
        if isinstance(op.padding, Same):
            symmetric = padding == Padding.symmetric(op.extent // 2)
            return f"{cause}: symmetric, not SAME" if symmetric else cause
        shifted = padding.top == own.top - 1 and padding.left == own.left - 1
        same = 0 <= padding.bottom - padding.top <= 1 and 0 <= padding.right - padding.left <= 1
        if shape_kept and shifted and same:
            return f"{cause}: a pixel's shift, as SAME padding makes"
        return cause


def geometries(
    kernel: int, op: Conv2d | MaxPool2d, value: Array, target: Array
) -> Iterator[Geometry]:
    """Every stride and padding with which a window gives the target's size, the op's stride first.

    What is padded at the bottom and right follows from the size, but for what no window reaches:
    that is taken to be padded alike on all sides, where it may be.
    """
    if target.ndim != 4:
        return
    height, width = target.shape[2:]
    for stride in (op.stride, *(each for each in _STRIDES if each != op.stride)):
        for top, left in itertools.product(range(kernel), repeat=2):
            bottom = (height - 1) * stride + kernel - top - value.shape[2]
            right = (width - 1) * stride + kernel - left - value.shape[3]
            if -stride < bottom < kernel and -stride < right < kernel:
                # Pixels that no window reaches may be there as well, which one number says shorter.
                if (
                    top == left
                    and bottom <= top < bottom + stride
                    and right <= top < right + stride
                ):
                    padding = Padding.symmetric(top)
                else:
                    padding = Padding(top, left, max(bottom, 0), max(right, 0))
                yield Geometry(stride, padding, height, width)


def _sides(padding: Padding) -> str:
    sides = (padding.top, padding.left, padding.bottom, padding.right)
    return f"{sides[0]}" if len(set(sides)) == 1 else f"{sides} (top, left, bottom, right)"
