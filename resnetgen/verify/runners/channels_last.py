"""Turns shapes and arrays of channels-last frameworks into the canonical ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A kernel's shape as PyTorch has it: OIHW for HWIO, (out, in) for (in, out)."""
    if len(shape) == 4:
        height, width, inputs, outputs = shape
        return (outputs, inputs, height, width)
    return shape[::-1]


def torch_array(array: NDArray[Any]) -> NDArray[Any]:
    """A kernel, or its gradient, laid out as PyTorch has it."""
    order = (3, 2, 0, 1) if array.ndim == 4 else tuple(reversed(range(array.ndim)))
    return np.ascontiguousarray(array.transpose(order))


def nchw_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """NCHW for NHWC; a shape of other rank stays."""
    if len(shape) != 4:
        return shape
    batch, height, width, channels = shape
    return (batch, channels, height, width)


def nchw_array(array: NDArray[Any]) -> NDArray[Any]:
    """NCHW for NHWC; an array of other rank stays."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if array.ndim == 4 else array
