"""Runs a network's ops in NumPy and float64: the meaning of the IR, and so the judge.

Written to be checked by reading. Values are NCHW; weights are as `model.safetensors` holds them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import assert_never

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from resnetgen.ir.ops import (
    BLUR_KERNEL,
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
    Function,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Input,
    Linear,
    MaxPool2d,
    Mean,
    Op,
    PadChannels,
    Padding,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)
from resnetgen.ir.rules import explicit_padding

Array = NDArray[np.float64]
Tensors = Mapping[str, Array]
"""One op's own tensors by their last name: weight, bias, running_mean, running_var."""
Inputs = tuple[Array, ...]
Received = Callable[[Op, Inputs], Inputs]
"""What becomes of an op's inputs on their way to it."""
error_function = np.vectorize(math.erf, otypes=[np.float64])


def unchanged(_: Op, inputs: Inputs) -> Inputs:
    """The inputs as they are."""
    return inputs


def run(
    ops: Iterable[Op],
    given: Mapping[str, Array],
    *,
    tensors: Callable[[Op, Inputs], Tensors],
    received: Received = unchanged,
) -> Iterator[tuple[Op, Array]]:
    """Yields each op and its value in order, starting from the values in `given`.

    `tensors` is asked for an op's tensors when its inputs are known, and `received` for what
    becomes of these on their way. A value is dropped behind its last use, so memory holds what is
    still to be read and no more.
    """
    todo = tuple(ops)
    last_reader = {name: op.name for op in todo for name in op.inputs}
    values = dict(given)
    for op in todo:
        if isinstance(op, Input):
            value = values[op.name]
        else:
            inputs = received(op, tuple(values[name] for name in op.inputs))
            value = evaluate(op, inputs, tensors=tensors(op, inputs))
            values[op.name] = value
        yield op, value
        for name in op.inputs:
            if last_reader[name] == op.name:
                values.pop(name, None)


def evaluate(op: Op, inputs: tuple[Array, ...], *, tensors: Tensors) -> Array:
    """The value of one op, given its inputs' values and its own tensors."""
    match op:
        case Input():
            raise AssertionError(f"{op.name}: the image is given, not computed")
        case Conv2d():
            value = convolve(
                inputs[0],
                tensors["weight"],
                stride=op.stride,
                dilation=op.dilation,
                padding=pads(op, inputs[0]),
                groups=op.groups,
            )
            return value + tensors["bias"][:, None, None] if op.bias else value
        case BatchNorm2d():
            return normalize(
                inputs[0],
                mean=tensors["running_mean"],
                variance=tensors["running_var"],
                gamma=tensors["weight"],
                beta=tensors["bias"],
                epsilon=op.epsilon,
            )
        case GroupNorm():
            return normalize_groups(
                inputs[0],
                gamma=tensors["weight"],
                beta=tensors["bias"],
                groups=op.groups,
                epsilon=op.epsilon,
            )
        case Activation():
            return activate(op.function, inputs[0])
        case Sigmoid():
            return sigmoid(inputs[0])
        case ChannelConv():
            return convolve_channels(inputs[0], tensors["weight"])
        case Scale():
            return inputs[0] * inputs[1]
        case MaxPool2d():
            fill = 0.0 if op.pads_zeros else -math.inf
            padding = pads(op, inputs[0])
            return windows(inputs[0], op.kernel, op.stride, padding, fill).max(axis=(4, 5))
        case AvgPool2d():
            seen = windows(inputs[0], op.kernel, op.stride, op.padding, 0.0)
            if op.counts_padding:
                return seen.mean(axis=(4, 5))
            inside = windows(np.ones_like(inputs[0]), op.kernel, op.stride, op.padding, 0.0)
            return seen.sum(axis=(4, 5)) / inside.sum(axis=(4, 5))
        case BlurPool():
            return blur(inputs[0], op.stride, op.padding)
        case Subsample():
            return inputs[0][:, :, :: op.stride, :: op.stride]
        case PadChannels():
            return np.pad(inputs[0], ((0, 0), (0, op.extra), (0, 0), (0, 0)))
        case Add():
            return inputs[0] + inputs[1]
        case Dropout() | DropPath():
            return inputs[0]
        case GlobalAvgPool():
            return inputs[0].mean(axis=(2, 3), keepdims=True)
        case GlobalMaxPool():
            return inputs[0].max(axis=(2, 3), keepdims=True)
        case Mean():
            return (inputs[0] + inputs[1]) / 2
        case Concat():
            return np.concatenate(inputs, axis=1)
        case Flatten():
            return inputs[0].reshape(len(inputs[0]), -1)
        case Linear():
            return inputs[0] @ tensors["weight"].T + tensors["bias"]
        case Softmax():
            return softmax(inputs[0])
        case _:
            assert_never(op)


def pads(op: Conv2d | MaxPool2d, value: Array) -> Padding:
    """The pixels by which the op pads this value."""
    height, width = value.shape[2:]
    return explicit_padding(op, (height, width))


def sides(padding: Padding) -> tuple[tuple[int, int], ...]:
    """The pixels in front of and behind each axis of a value, as NumPy takes them."""
    return ((0, 0), (0, 0), (padding.top, padding.bottom), (padding.left, padding.right))


def windows(value: Array, kernel: int, stride: int, padding: Padding, fill: float) -> Array:
    """A view (N, C, H, W, kernel, kernel) of what each output pixel sees of the padded value."""
    padded = np.pad(value, sides(padding), constant_values=fill)
    return sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]


def convolve(
    value: Array,
    weight: Array,
    *,
    stride: int,
    padding: Padding,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Cross-correlation with an OIHW weight: im2col, then a matrix product per image and group."""
    out_channels, _, kernel, _ = weight.shape
    extent = dilation * (kernel - 1) + 1
    seen = windows(value, extent, stride, padding, 0.0)[..., ::dilation, ::dilation]
    batch, _, height, width, _, _ = seen.shape
    columns = seen.transpose(0, 1, 4, 5, 2, 3).reshape(batch, groups, -1, height * width)
    product = weight.reshape(groups, out_channels // groups, -1) @ columns
    return product.reshape(batch, out_channels, height, width)


def blur(value: Array, stride: int, padding: Padding) -> Array:
    """The filter of a BlurPool at every stride-th pixel of the value with reflected edges."""
    padded = np.pad(value, sides(padding), mode="reflect")
    return binomial(windows(padded, BLUR_KERNEL, stride, Padding.symmetric(0), 0.0))


def binomial(seen: Array) -> Array:
    """[1, 2, 1] / 4 in both directions of what each output pixel sees."""
    row = np.array([1.0, 2.0, 1.0]) / 4
    return np.einsum("nchwij,i,j->nchw", seen, row, row)


def convolve_channels(value: Array, weight: Array) -> Array:
    """Cross-correlation along the channels of (N, C, 1, 1) with a weight (1, 1, kernel)."""
    kernel = weight.shape[2]
    padded = np.pad(value[:, :, 0, 0], ((0, 0), (kernel // 2, kernel // 2)))
    return (sliding_window_view(padded, kernel, axis=1) @ weight[0, 0])[:, :, None, None]


def normalize(
    value: Array, *, mean: Array, variance: Array, gamma: Array, beta: Array, epsilon: float
) -> Array:
    """(value - mean) / sqrt(variance + epsilon) * gamma + beta, per channel."""
    scale = gamma / np.sqrt(variance + epsilon)
    return (value - mean[:, None, None]) * scale[:, None, None] + beta[:, None, None]


def normalize_groups(
    value: Array, *, gamma: Array, beta: Array, groups: int, epsilon: float
) -> Array:
    """Normalizes each group of channels of each image by its own mean and biased variance."""
    rows = value.reshape(len(value), groups, -1)
    centred = rows - rows.mean(axis=2, keepdims=True)
    variance = np.square(centred).mean(axis=2, keepdims=True)
    normal = (centred / np.sqrt(variance + epsilon)).reshape(value.shape)
    return normal * gamma[:, None, None] + beta[:, None, None]


def activate(function: Function, value: Array) -> Array:
    """An activation's function of each value."""
    match function:
        case "relu":
            return np.maximum(value, 0.0)
        case "silu":
            return value * sigmoid(value)
        case "gelu":
            return value * 0.5 * (1 + error_function(value / math.sqrt(2)))


def sigmoid(value: Array) -> Array:
    """1 / (1 + exp(-value)), so that nothing overflows and small ones keep their digits."""
    return np.exp(-np.logaddexp(0.0, -value))


def softmax(value: Array) -> Array:
    """exp(value) / sum(exp(value)) along the second axis."""
    exponential = np.exp(value - value.max(axis=1, keepdims=True))
    return exponential / exponential.sum(axis=1, keepdims=True)
