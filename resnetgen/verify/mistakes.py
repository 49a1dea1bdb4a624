"""The mistakes that each op is known to suffer, and the value that each of them gives."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

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
    Same,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)
from resnetgen.verify.mistake import Mistake
from resnetgen.verify.norm_mistakes import of_batch_norm, of_group_norm
from resnetgen.verify.reference import (
    Array,
    Tensors,
    activate,
    binomial,
    convolve,
    convolve_channels,
    evaluate,
    pads,
    sigmoid,
    softmax,
    windows,
)

_STRIDES = (1, 2, 3, 4)
_DILATIONS = (1, 2, 3, 4)
_FUNCTIONS: Mapping[Function, str] = {
    "relu": "ReLU",
    "silu": "SiLU",
    "gelu": "GELU",
}


def mistakes(
    op: Op, inputs: tuple[Array, ...], *, tensors: Tensors, right: Array, seen: Array | None
) -> Iterator[Mistake]:
    """All that is known to go wrong with the op, likely causes first.

    `right` is its correct value; `seen` the recorded one, where the op is the last before it, to
    solve for constants.
    """
    match op:
        case Conv2d():
            yield from _of_convolution(op, inputs[0], tensors, right, seen)
        case BatchNorm2d():
            yield from of_batch_norm(op, inputs[0], tensors, seen)
        case GroupNorm():
            yield from of_group_norm(op, inputs[0], tensors, seen)
        case Activation():
            yield from _of_activation(op, inputs[0], seen)
        case Sigmoid():
            yield from _of_sigmoid(inputs[0])
        case ChannelConv():
            yield from _of_channel_convolution(inputs[0], tensors["weight"])
        case Scale():
            yield from _of_scaling(inputs[0], inputs[1])
        case MaxPool2d():
            yield from _of_pool(op, inputs[0], right, right if seen is None else seen)
        case AvgPool2d():
            yield from _of_average_pool(op, inputs[0])
        case BlurPool():
            yield from _of_blur(op, inputs[0])
        case Subsample():
            yield from _of_subsample(op, inputs[0])
        case PadChannels():
            yield from _of_channel_padding(op, inputs[0])
        case Add():
            yield from _of_addition(inputs[0], inputs[1])
        case Dropout() | DropPath():
            yield from _of_dropping(op, inputs[0], seen)
        case GlobalAvgPool():
            yield Mistake("takes the maximum, not the mean", inputs[0].max((2, 3), keepdims=True))
            yield Mistake("takes the sum, not the mean", inputs[0].sum((2, 3), keepdims=True))
        case GlobalMaxPool():
            yield Mistake("takes the mean, not the maximum", inputs[0].mean((2, 3), keepdims=True))
        case Mean():
            yield Mistake("takes the sum, not the mean", inputs[0] + inputs[1])
            yield Mistake("leaves out the maxima", inputs[0])
            yield Mistake("leaves out the means", inputs[1])
        case Concat():
            yield Mistake("has its halves in reverse", np.concatenate(inputs[::-1], axis=1))
        case Linear():
            yield from _of_linear(inputs[0], tensors)
        case Softmax():
            yield from _of_softmax(inputs[0])
        case Input() | Flatten():
            pass
        case _:
            assert_never(op)
    if seen is not None:
        yield from aftermaths(right, seen)


def _of_convolution(
    op: Conv2d, value: Array, tensors: Tensors, right: Array, seen: Array | None
) -> Iterator[Mistake]:
    weight = tensors["weight"]
    bias = tensors["bias"][:, None, None] if op.bias else np.zeros((1, 1, 1))
    target = right if seen is None else seen
    own = pads(op, value)

    def convolved(
        kernel: Array = weight,
        *,
        image: Array = value,
        stride: int = op.stride,
        padding: Padding = own,
        dilation: int = op.dilation,
    ) -> Array:
        product = convolve(
            image, kernel, stride=stride, dilation=dilation, padding=padding, groups=op.groups
        )
        return product + bias

    if op.kernel > 1:
        for dilation in (each for each in _DILATIONS if each != op.dilation):
            for pixels in {own.top, dilation * (op.kernel // 2)}:
                cause = f"its dilation is {dilation}, not {op.dilation} (padding {pixels})"
                if _fits(value, dilation * (op.kernel - 1) + 1, pixels):
                    padding = Padding.symmetric(pixels)
                    yield Mistake(cause, convolved(dilation=dilation, padding=padding))
    for geometry in _geometries(op.extent, op, value, target):
        cause = geometry.cause(op, own, shape_kept=target.shape == right.shape)
        if cause is not None:
            moved = convolved(stride=geometry.stride, padding=geometry.padding)
            yield Mistake(cause, geometry.cut(moved))
    if op.bias:
        yield Mistake("has no bias", right - bias)
    if op.groups > 1:
        order = np.arange(op.in_channels).reshape(op.groups, -1).T.ravel()
        yield Mistake("takes its groups' channels alternately", convolved(image=value[:, order]))
        order = np.arange(op.out_channels).reshape(op.groups, -1).T.ravel()
        yield Mistake("gives its groups' channels alternately", convolved()[:, order])
        yield Mistake("takes its groups in reverse", convolved(weight[::-1]))
    if op.kernel > 1:
        yield Mistake("its kernel is transposed", convolved(weight.swapaxes(2, 3)))
        yield Mistake("its kernel is flipped", convolved(weight[:, :, ::-1, ::-1]))
    if op.in_channels == op.out_channels and op.groups == 1:
        yield Mistake(
            "its kernel's input and output channels are swapped", convolved(weight.swapaxes(0, 1))
        )
    if seen is not None and seen.shape == right.shape:
        offset = (seen - right).mean(axis=(0, 2, 3), keepdims=True)
        yield Mistake("adds a bias that the spec does not have", right + offset)


def _fits(value: Array, extent: int, pixels: int) -> bool:
    """Whether a window that reaches so far fits into an image that is padded so."""
    return min(value.shape[2:]) + 2 * pixels >= extent


def _of_activation(op: Activation, value: Array, seen: Array | None) -> Iterator[Mistake]:
    yield Mistake("is missing", value)
    for function, name in _FUNCTIONS.items():
        if function != op.function:
            yield Mistake(f"is {name}", activate(function, value))
    if seen is not None and seen.shape == value.shape and (value < 0).any():
        negative = np.minimum(value, 0.0)
        slope = float((negative * seen).sum() / np.square(negative).sum())
        leaky = np.where(value > 0, value, slope * value)
        yield Mistake(f"is leaky, with a slope of {slope:.4g}", leaky)
    yield Mistake("is ReLU6", np.clip(value, 0.0, 6.0))
    exponential = np.exp(np.minimum(value, 0.0))
    yield Mistake("is ELU", np.where(value > 0, value, exponential - 1))
    yield Mistake("is a sigmoid", sigmoid(value))
    yield Mistake("is tanh", np.tanh(value))
    cube = value + 0.044715 * value**3
    approximation = value * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * cube))
    yield Mistake("is GELU's approximation by a tanh", approximation)


def _of_sigmoid(value: Array) -> Iterator[Mistake]:
    yield Mistake("is missing", value)
    yield Mistake("is a hard sigmoid", np.clip(value / 6 + 0.5, 0.0, 1.0))
    yield Mistake("is tanh", np.tanh(value))
    yield Mistake("is ReLU", np.maximum(value, 0.0))
    yield Mistake("is a softmax", softmax(value))


def _of_channel_convolution(value: Array, weight: Array) -> Iterator[Mistake]:
    yield Mistake("is missing", value)
    yield Mistake("its kernel is flipped", convolve_channels(value, weight[:, :, ::-1]))
    for shift in (-1, 1):
        moved = np.roll(convolve_channels(value, weight), shift, axis=1)
        yield Mistake("its channels are shifted by one", moved)


def _of_scaling(value: Array, gates: Array) -> Iterator[Mistake]:
    yield Mistake("leaves out the gates", value)
    yield Mistake("adds the gates instead of multiplying", value + gates)
    yield Mistake("adds what it scales once more", value + value * gates)


def _of_pool(op: MaxPool2d, value: Array, right: Array, target: Array) -> Iterator[Mistake]:
    fill, other = (0.0, -math.inf) if op.pads_zeros else (-math.inf, 0.0)
    own = pads(op, value)
    otherwise = windows(value, op.kernel, op.stride, own, other)
    cause = f"pads with {_number(other)}, not with {_number(fill)}"
    yield Mistake(cause, otherwise.max(axis=(4, 5)))
    for word, counts in (("counted", True), ("not counted", False)):
        mean = AvgPool2d(op.name, op.inputs, op.kernel, op.stride, own, counts)
        yield Mistake(f"averages, padding {word}", evaluate(mean, (value,), tensors={}))
    yield Mistake("is missing", value)
    for kernel in (op.kernel, *(k for k in range(1, op.kernel + 3) if k != op.kernel)):
        for geometry in _geometries(kernel, op, value, target):
            moved = geometry.cause(op, own, shape_kept=target.shape == right.shape)
            sized = f"its kernel is {kernel}, not {op.kernel}" if kernel != op.kernel else None
            causes = [each for each in (sized, moved) if each is not None]
            if causes:
                seen = windows(value, kernel, geometry.stride, geometry.padding, fill)
                yield Mistake("; ".join(causes), geometry.cut(seen.max(axis=(4, 5))))


def _number(fill: float) -> str:
    return "zeros" if fill == 0.0 else "minus infinity"


def _of_average_pool(op: AvgPool2d, value: Array) -> Iterator[Mistake]:
    cause = "does not count its padding" if op.counts_padding else "counts its padding"
    otherwise = replace(op, counts_padding=not op.counts_padding)
    yield Mistake(cause, evaluate(otherwise, (value,), tensors={}))
    infinite = windows(value, op.kernel, op.stride, op.padding, -math.inf)
    yield Mistake("takes the maximum, not the mean", infinite.max(axis=(4, 5)))
    inside = windows(value, op.kernel, op.stride, Padding.symmetric(0), 0.0)
    yield Mistake("leaves out the last pixels of an odd size", inside.mean(axis=(4, 5)))
    strided = value[:, :, :: op.stride, :: op.stride]
    yield Mistake("takes every stride-th pixel, not the mean", strided)
    yield Mistake("is missing", value)


def _of_blur(op: BlurPool, value: Array) -> Iterator[Mistake]:
    strided = value[:, :, :: op.stride, :: op.stride]
    yield Mistake("takes every stride-th pixel without a filter", strided)
    yield Mistake("is missing", value)
    zeros = windows(value, BLUR_KERNEL, op.stride, op.padding, 0.0)
    yield Mistake("pads with zeros, not reflected", binomial(zeros))
    yield Mistake("is a 3x3 mean", zeros.mean(axis=(4, 5)))
    repeated = np.pad(value, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    seen = windows(repeated, BLUR_KERNEL, op.stride, Padding.symmetric(0), 0.0)
    yield Mistake("repeats its edges instead of reflecting", binomial(seen))


def _of_subsample(op: Subsample, value: Array) -> Iterator[Mistake]:
    yield Mistake("is missing", value)
    for start in range(1, op.stride):
        yield Mistake(
            f"starts at pixel {start}, not 0", value[:, :, start :: op.stride, start :: op.stride]
        )
    blocks = windows(value, op.stride, op.stride, Padding.symmetric(0), 0.0)
    yield Mistake("averages over its stride", blocks.mean(axis=(4, 5)))
    yield Mistake("takes the maximum over its stride", blocks.max(axis=(4, 5)))


def _of_channel_padding(op: PadChannels, value: Array) -> Iterator[Mistake]:
    before = op.extra // 2
    for front, words in ((op.extra, "in front"), (before, "on both sides")):
        sides = ((0, 0), (front, op.extra - front), (0, 0), (0, 0))
        yield Mistake(f"puts the zero channels {words}, not behind", np.pad(value, sides))


def _of_addition(main: Array, shortcut: Array) -> Iterator[Mistake]:
    yield Mistake("leaves out the shortcut", main)
    yield Mistake("leaves out the main path", shortcut)
    yield Mistake("subtracts the shortcut", main - shortcut)
    yield Mistake("subtracts the main path", shortcut - main)
    yield Mistake("multiplies instead of adding", main * shortcut)
    yield Mistake("adds the shortcut twice", main + 2 * shortcut)
    yield Mistake("comes behind the activation of the main path", np.maximum(main, 0.0) + shortcut)


def _of_dropping(op: Dropout | DropPath, value: Array, seen: Array | None) -> Iterator[Mistake]:
    if seen is not None and seen.shape == value.shape:
        yield Mistake("drops values, as in training", (seen != 0) * value / (1 - op.rate))
    yield Mistake("scales by what training keeps", value * (1 - op.rate))


def _of_linear(value: Array, tensors: Tensors) -> Iterator[Mistake]:
    weight, bias = tensors["weight"], tensors["bias"]
    yield Mistake("has no bias", value @ weight.T)
    if weight.shape[0] == weight.shape[1]:
        yield Mistake("its weight is transposed", value @ weight + bias)


def _of_softmax(value: Array) -> Iterator[Mistake]:
    yield Mistake("is missing", value)
    yield Mistake("gives logarithms", np.log(softmax(value)))
    yield Mistake("is taken over the batch, not the classes", softmax(value.T).T)
    yield Mistake("is a sigmoid", sigmoid(value))


def aftermaths(right: Array, seen: Array) -> Iterator[Mistake]:
    """A correct value to which something was done afterwards."""
    yield Mistake("is followed by an activation (ReLU)", np.maximum(right, 0.0))
    if right.ndim == 2:
        yield Mistake("is followed by a softmax", softmax(right))
        yield Mistake("is followed by a sigmoid", sigmoid(right))
    if seen.shape == right.shape:
        factor = float((seen * right).sum() / max(np.square(right).sum(), 1e-300))
        yield Mistake(f"is multiplied by {factor:.6g}", right * factor)


@dataclass(frozen=True, slots=True)
class _Geometry:
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


def _geometries(
    kernel: int, op: Conv2d | MaxPool2d, value: Array, target: Array
) -> Iterator[_Geometry]:
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
                yield _Geometry(stride, padding, height, width)


def _sides(padding: Padding) -> str:
    sides = (padding.top, padding.left, padding.bottom, padding.right)
    return f"{sides[0]}" if len(set(sides)) == 1 else f"{sides} (top, left, bottom, right)"
