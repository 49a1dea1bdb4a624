"""Runs a network's ops backwards in NumPy and float64: gradients of inputs and of tensors.

Written to be checked by reading, beside `reference`, whose layouts it shares. Batch norm is that of
training, which normalizes by its batch; dropout is off, as in inference.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import assert_never

import numpy as np
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
from resnetgen.verify.reference import (
    Array,
    Inputs,
    Tensors,
    error_function,
    pads,
    sides,
    sigmoid,
    softmax,
    windows,
)

Slices = tuple[slice, slice, slice, slice]


def backward(
    ops: Iterable[Op],
    received: Callable[[Op], Inputs],
    given: Mapping[str, Array],
    *,
    tensors: Callable[[Op], Tensors],
) -> Iterator[tuple[Op, Tensors, tuple[Array, ...]]]:
    """Yields each op from the last to the first, with the gradients of its tensors and inputs.

    `received` gives what an op was evaluated on; `given` are gradients of some ops' values, to
    which what the ops' readers contribute is added. An op of which there is no gradient is left
    out.
    """
    sums = dict(given)
    for op in reversed(tuple(ops)):
        if isinstance(op, Input) or op.name not in sums:
            continue
        gradient = sums.pop(op.name)
        of_inputs, of_tensors = gradients(op, received(op), gradient, tensors=tensors(op))
        for name, gradient in zip(op.inputs, of_inputs, strict=True):
            sums[name] = sums[name] + gradient if name in sums else gradient
        yield op, of_tensors, of_inputs


def cross_entropy(
    output: Array, labels: NDArray[np.int64], *, probabilities: bool
) -> tuple[float, Array]:
    """The mean over the images of -log(probability of the label), and its gradient.

    `output` are the logits, or else the probabilities that a softmax made of them.
    """
    batch = np.arange(len(output))
    if probabilities:
        likely = output[batch, labels]
        gradient = np.zeros_like(output)
        gradient[batch, labels] = -1 / likely / len(output)
        return -float(np.log(likely).mean()), gradient
    # The logarithm is taken of the sum, since what is unlikely enough has a probability of 0.
    largest = output.max(axis=1)
    sums = np.exp(output - largest[:, None]).sum(axis=1)
    loss = float((largest + np.log(sums) - output[batch, labels]).mean())
    gradient = softmax(output) / len(output)
    gradient[batch, labels] -= 1 / len(output)
    return loss, gradient


def gradients(
    op: Op, inputs: tuple[Array, ...], gradient: Array, *, tensors: Tensors
) -> tuple[tuple[Array, ...], Tensors]:
    """The gradients of the op's inputs, and of its trainable tensors, given that of its value."""
    match op:
        case Input():
            raise AssertionError(f"{op.name}: the image has no inputs")
        case Conv2d():
            return _of_convolution(op, inputs[0], gradient, tensors["weight"])
        case BatchNorm2d():
            # Per channel, over the batch and all pixels.
            rows = inputs[0].swapaxes(0, 1).reshape(op.channels, -1)
            scaled = gradient * tensors["weight"][:, None, None]
            of_rows, normal = _of_normalization(
                rows, scaled.swapaxes(0, 1).reshape(rows.shape), epsilon=op.epsilon
            )
            batch, _, height, width = inputs[0].shape
            shape = (op.channels, batch, height, width)
            of_value = of_rows.reshape(shape).swapaxes(0, 1)
            return (of_value,), _of_affine(gradient, normal.reshape(shape).swapaxes(0, 1))
        case GroupNorm():
            # Per group of channels, over all pixels of one image.
            rows = inputs[0].reshape(len(inputs[0]), op.groups, -1)
            scaled = gradient * tensors["weight"][:, None, None]
            of_rows, normal = _of_normalization(
                rows, scaled.reshape(rows.shape), epsilon=op.epsilon
            )
            of_value = of_rows.reshape(gradient.shape)
            return (of_value,), _of_affine(gradient, normal.reshape(gradient.shape))
        case Activation():
            return (gradient * _slope(op.function, inputs[0]),), {}
        case Sigmoid():
            opened = sigmoid(inputs[0])
            return (gradient * opened * (1 - opened),), {}
        case ChannelConv():
            return _of_channel_convolution(op, inputs[0], gradient, tensors["weight"])
        case Scale():
            value, gates = inputs
            return (gradient * gates, (gradient * value).sum(axis=(2, 3), keepdims=True)), {}
        case MaxPool2d():
            return (_of_max_pool(op, inputs[0], gradient),), {}
        case AvgPool2d():
            return (_of_average_pool(op, inputs[0], gradient),), {}
        case BlurPool():
            return (_of_blur(op, inputs[0], gradient),), {}
        case Subsample():
            of_value = np.zeros_like(inputs[0])
            of_value[:, :, :: op.stride, :: op.stride] = gradient
            return (of_value,), {}
        case PadChannels():
            return (gradient[:, : inputs[0].shape[1]],), {}
        case Add():
            return (gradient, gradient), {}
        case GlobalAvgPool():
            pixels = math.prod(inputs[0].shape[2:])
            return (np.broadcast_to(gradient / pixels, inputs[0].shape),), {}
        case GlobalMaxPool():
            return (_of_global_max_pool(inputs[0], gradient),), {}
        case Mean():
            return (gradient / 2, gradient / 2), {}
        case Concat():
            channels = inputs[0].shape[1]
            return (gradient[:, :channels], gradient[:, channels:]), {}
        case Dropout() | DropPath():
            return (gradient,), {}
        case Flatten():
            return (gradient.reshape(inputs[0].shape),), {}
        case Linear():
            of_tensors = {"weight": gradient.T @ inputs[0], "bias": gradient.sum(axis=0)}
            return (gradient @ tensors["weight"],), of_tensors
        case Softmax():
            likely = softmax(inputs[0])
            mean = (gradient * likely).sum(axis=1, keepdims=True)
            return (likely * (gradient - mean),), {}
        case _:
            assert_never(op)


def _of_global_max_pool(value: Array, gradient: Array) -> Array:
    """To the first pixel that is the largest: where several are, a ReLU made all of them 0."""
    rows = value.reshape(*value.shape[:2], -1)
    first: NDArray[np.intp] = np.argmax(rows, axis=2, keepdims=True)
    of_rows = np.zeros_like(rows)
    np.put_along_axis(of_rows, first, gradient.reshape(*rows.shape[:2], 1), axis=2)
    return of_rows.reshape(value.shape)


def _of_convolution(
    op: Conv2d, value: Array, gradient: Array, weight: Array
) -> tuple[tuple[Array, ...], Tensors]:
    """At each position of the kernel, the convolution is a matrix product over the channels."""
    batch, _, height, width = gradient.shape
    padding = pads(op, value)
    padded = np.pad(value, sides(padding))
    of_padded, of_weight = np.zeros_like(padded), np.zeros(weight.shape)
    outer = _columns(gradient, op.groups)
    kernels = weight.reshape(op.groups, op.out_channels // op.groups, -1, op.kernel, op.kernel)
    of_kernels = of_weight.reshape(kernels.shape)
    positions = _positions(op.kernel, op.stride, gradient, dilation=op.dilation)
    for (row, column), seen in positions:
        inner = _columns(padded[seen], op.groups)
        of_kernels[..., row, column] = outer @ inner.swapaxes(1, 2)
        of_inner = kernels[..., row, column].swapaxes(1, 2) @ outer
        shape = (op.in_channels, batch, height, width)
        of_padded[seen] += of_inner.reshape(shape).swapaxes(0, 1)
    of_tensors = {"weight": of_weight}
    if op.bias:
        of_tensors["bias"] = gradient.sum(axis=(0, 2, 3))
    return (_unpadded(of_padded, padding),), of_tensors


def _columns(value: Array, groups: int) -> Array:
    """NCHW as (groups, channels of a group, pixels of all images)."""
    return value.swapaxes(0, 1).reshape(groups, value.shape[1] // groups, -1)


def _of_channel_convolution(
    op: ChannelConv, value: Array, gradient: Array, weight: Array
) -> tuple[tuple[Array, ...], Tensors]:
    reach, channels = op.kernel // 2, value.shape[1]
    padded = np.pad(value[:, :, 0, 0], ((0, 0), (reach, reach)))
    outer = gradient[:, :, 0, 0]
    of_padded, of_weight = np.zeros_like(padded), np.zeros(weight.shape)
    for position in range(op.kernel):
        seen = slice(position, position + channels)
        of_weight[0, 0, position] = (outer * padded[:, seen]).sum()
        of_padded[:, seen] += outer * weight[0, 0, position]
    return (of_padded[:, reach : reach + channels, None, None],), {"weight": of_weight}


def _of_normalization(rows: Array, gradient: Array, *, epsilon: float) -> tuple[Array, Array]:
    """The gradient of rows that are normalized by their own mean and biased variance, along the
    last axis, given that of the normalized ones; and these.

    Ioffe and Szegedy, "Batch Normalization", 2015, section 3, with the sums over a row joined.
    """
    centred = rows - rows.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + epsilon)
    normal = centred / deviation
    mean = gradient.mean(axis=-1, keepdims=True)
    slope = (gradient * normal).mean(axis=-1, keepdims=True)
    return (gradient - mean - slope * normal) / deviation, normal


def _of_affine(gradient: Array, normal: Array) -> Tensors:
    """Gamma's and beta's, of normal * gamma + beta per channel."""
    return {
        "weight": (gradient * normal).sum(axis=(0, 2, 3)),
        "bias": gradient.sum(axis=(0, 2, 3)),
    }


def _slope(function: Function, value: Array) -> Array:
    """An activation's derivative at each value; that of ReLU at 0 is 0, as in every framework."""
    match function:
        case "relu":
            return (value > 0).astype(np.float64)
        case "silu":
            opened = sigmoid(value)
            return opened + value * opened * (1 - opened)
        case "gelu":
            below = 0.5 * (1 + error_function(value / math.sqrt(2)))
            return below + value * np.exp(-np.square(value) / 2) / math.sqrt(2 * math.pi)


def _of_max_pool(op: MaxPool2d, value: Array, gradient: Array) -> Array:
    """The whole of it to the largest value of each window, the first of equal ones.

    Equal ones have come out of a ReLU as zeros, whose own inputs get no gradient anyway.
    """
    fill = 0.0 if op.pads_zeros else -math.inf
    padding = pads(op, value)
    seen = windows(value, op.kernel, op.stride, padding, fill)
    largest = seen.reshape(*gradient.shape, -1).argmax(axis=-1)
    of_padded = np.zeros_like(np.pad(value, sides(padding)))
    for (row, column), place in _positions(op.kernel, op.stride, gradient):
        of_padded[place] += gradient * (largest == row * op.kernel + column)
    return _unpadded(of_padded, padding)


def _of_average_pool(op: AvgPool2d, value: Array, gradient: Array) -> Array:
    if op.counts_padding:
        share = gradient / op.kernel**2
    else:
        inside = windows(np.ones_like(value), op.kernel, op.stride, op.padding, 0.0)
        share = gradient / inside.sum(axis=(4, 5))
    of_padded = np.zeros_like(np.pad(value, sides(op.padding)))
    for _, place in _positions(op.kernel, op.stride, gradient):
        of_padded[place] += share
    return _unpadded(of_padded, op.padding)


def _of_blur(op: BlurPool, value: Array, gradient: Array) -> Array:
    """Through the filter to the value with reflected edges, and from there to where they lie."""
    padding, row_weights = op.padding, (0.25, 0.5, 0.25)
    of_padded = np.zeros_like(np.pad(value, sides(padding)))
    for (row, column), place in _positions(BLUR_KERNEL, op.stride, gradient):
        of_padded[place] += gradient * row_weights[row] * row_weights[column]
    # Reflecting is a product with matrices of zeros and ones, and so is its reverse.
    height, width = value.shape[2:]
    rows = np.pad(np.eye(height), ((padding.top, padding.bottom), (0, 0)), mode="reflect")
    columns = np.pad(np.eye(width), ((padding.left, padding.right), (0, 0)), mode="reflect")
    return rows.T @ of_padded @ columns


def _positions(
    kernel: int, stride: int, output: Array, *, dilation: int = 1
) -> Iterator[tuple[tuple[int, int], Slices]]:
    """Each row and column of a kernel, and the pixels of the padded value that it sees there."""
    height, width = output.shape[2:]
    every = slice(None)
    for row, column in itertools.product(range(kernel), repeat=2):
        top, left = row * dilation, column * dilation
        rows = slice(top, top + (height - 1) * stride + 1, stride)
        columns = slice(left, left + (width - 1) * stride + 1, stride)
        yield (row, column), (every, every, rows, columns)


def _unpadded(value: Array, padding: Padding) -> Array:
    height, width = value.shape[2:]
    rows = slice(padding.top, height - padding.bottom)
    return value[:, :, rows, padding.left : width - padding.right]
