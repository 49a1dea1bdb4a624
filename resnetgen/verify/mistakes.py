"""The mistakes that each op is known to suffer, and the value that each of them gives."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

import numpy as np

from resnetgen.ir.ops import (
    BLUR_KERNEL,
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
    Op,
    PadChannels,
    Padding,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)
from resnetgen.verify.convolution_mistakes import of_convolution
from resnetgen.verify.dtypes import FORMATS, Dtype
from resnetgen.verify.geometry import geometries
from resnetgen.verify.mistake import SMALLEST, Mistake
from resnetgen.verify.norm_mistakes import of_batch_norm, of_group_norm
from resnetgen.verify.reference import (
    Array,
    Tensors,
    activate,
    binomial,
    convolve_channels,
    evaluate,
    pads,
    sigmoid,
    softmax,
    windows,
)
from resnetgen.verify.rounding import rounded

_SHORTER: tuple[Dtype, ...] = ("bfloat16", "float16", "float32")
"""The types that a value may have been rounded to, the one with the fewest digits first."""
_SLOPES = (0.01, 0.1, 0.2, 0.3)
"""Of leaky ReLUs: PyTorch's and Flax's, Darknet's, TensorFlow's and Keras's."""
_RESIDUAL_FACTORS = (0.1, 0.17, 0.2, 0.3, 0.5, 2.0)
"""By what residual branches are scaled elsewhere."""


def mistakes(
    op: Op, inputs: tuple[Array, ...], *, tensors: Tensors, right: Array, seen: Array | None
) -> Iterator[Mistake]:
    """All that is known to go wrong with the op, likely causes first.

    `right` is its correct value; `seen` the recorded one, where the op is the last before it, to
    solve for constants.
    """
    match op:
        case Conv2d():
            yield from of_convolution(op, inputs[0], tensors, right, seen)
        case BatchNorm2d():
            yield from of_batch_norm(op, inputs[0], tensors, seen)
        case GroupNorm():
            yield from of_group_norm(op, inputs[0], tensors, seen)
        case Activation():
            yield from _of_activation(op, inputs[0], seen)
        case Sigmoid():
            yield from _of_sigmoid(inputs[0], seen)
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
            yield from _of_addition(inputs[0], inputs[1], seen)
        case Dropout() | DropPath():
            yield from _of_dropping(op, inputs[0], seen)
        case GlobalAvgPool():
            yield Mistake("takes the maximum, not the mean", inputs[0].max((2, 3), keepdims=True))
            yield Mistake("takes the sum, not the mean", inputs[0].sum((2, 3), keepdims=True))
            yield Mistake("takes the first pixel, not the mean", inputs[0][:, :, :1, :1])
            corner = inputs[0][:, :, :7, :7].mean((2, 3), keepdims=True)
            yield Mistake("takes the mean of the first 7x7 pixels, not of all", corner)
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


def _of_activation(op: Activation, value: Array, seen: Array | None) -> Iterator[Mistake]:
    yield Mistake("is missing", value)
    for function, name in FUNCTIONS.items():
        if function != op.function:
            yield Mistake(f"is {name}", activate(function, value))
    yield Mistake("is the absolute value", np.abs(value))
    if seen is not None and seen.shape == value.shape and (value < 0).any():
        negative = np.minimum(value, 0.0)
        slope = float((negative * seen).sum() / np.square(negative).sum())
        yield _leaky(value, slope)
    yield from (_leaky(value, slope) for slope in _SLOPES)
    yield Mistake("is ReLU6", np.clip(value, 0.0, 6.0))
    exponential = np.exp(np.minimum(value, 0.0))
    yield Mistake("is ELU", np.where(value > 0, value, exponential - 1))
    yield Mistake("is a sigmoid", sigmoid(value))
    yield Mistake("is tanh", np.tanh(value))
    yield Mistake("is softplus", np.logaddexp(value, 0.0))
    yield Mistake("is a hard swish", value * np.clip(value / 6 + 0.5, 0.0, 1.0))
    if seen is not None and seen.shape == value.shape:
        slope = _slope(value, seen / value)
        hard = value * np.clip(slope * value + 0.5, 0.0, 1.0)
        yield Mistake(f"is a hard swish, with a slope of {slope:.4g}", hard)
    yield Mistake("keeps the negative part", np.minimum(value, 0.0))
    cube = value + 0.044715 * value**3
    approximation = value * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * cube))
    yield Mistake("is GELU's approximation by a tanh", approximation)


def _leaky(value: Array, slope: float) -> Mistake:
    leaky = np.where(value > 0, value, slope * value)
    return Mistake(f"is leaky, with a slope of {slope:.4g}", leaky)


def _of_sigmoid(value: Array, seen: Array | None) -> Iterator[Mistake]:
    yield Mistake("is missing", value)
    yield Mistake("is a hard sigmoid", np.clip(value / 6 + 0.5, 0.0, 1.0))
    if seen is not None and seen.shape == value.shape:
        slope = _slope(value, seen)
        hard = np.clip(slope * value + 0.5, 0.0, 1.0)
        yield Mistake(f"is a hard sigmoid, with a slope of {slope:.4g}", hard)
    yield Mistake("is tanh", np.tanh(value))
    yield Mistake("is ReLU", np.maximum(value, 0.0))
    yield Mistake("is a softmax", softmax(value))


def _slope(value: Array, opened: Array) -> float:
    """That of the line through (0, 1/2) on which a hard sigmoid lies where it is not 0 or 1."""
    inside = (opened > 0.0) & (opened < 1.0)
    steps = value[inside]
    return float((steps * (opened[inside] - 0.5)).sum() / max(np.square(steps).sum(), SMALLEST))


def _of_channel_convolution(value: Array, weight: Array) -> Iterator[Mistake]:
    yield Mistake("is missing", value)
    yield Mistake("its kernel is flipped", convolve_channels(value, weight[:, :, ::-1]))
    wide = np.pad(value, ((0, 0), (1, 1), (0, 0), (0, 0)))
    for start in (0, 2):
        moved = convolve_channels(wide, weight)[:, start : start + value.shape[1]]
        yield Mistake("its channels are shifted by one", moved)


def _of_scaling(value: Array, gates: Array) -> Iterator[Mistake]:
    yield Mistake("leaves out the gates", value)
    yield Mistake("adds the gates instead of multiplying", value + gates)
    yield Mistake("adds what it scales once more", value + value * gates)
    yield Mistake("divides by the gates", value / gates)


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
        for geometry in geometries(kernel, op, value, target):
            shape_kept = kernel == op.kernel and target.shape == right.shape
            moved = geometry.cause(op, own, shape_kept=shape_kept)
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


def _of_addition(main: Array, shortcut: Array, seen: Array | None) -> Iterator[Mistake]:
    yield Mistake("leaves out the shortcut", main)
    yield Mistake("leaves out the main path", shortcut)
    yield Mistake("subtracts the shortcut", main - shortcut)
    yield Mistake("subtracts the main path", shortcut - main)
    yield Mistake("multiplies instead of adding", main * shortcut)
    yield Mistake("adds the shortcut twice", main + 2 * shortcut)
    yield Mistake("averages instead of adding", (main + shortcut) / 2)
    for factor in _RESIDUAL_FACTORS:
        yield Mistake(f"takes {factor:g} times the main path", factor * main + shortcut)
    yield Mistake("takes the larger of both", np.maximum(main, shortcut))
    yield Mistake("comes behind the activation of the main path", np.maximum(main, 0.0) + shortcut)
    if seen is not None and seen.shape == main.shape:
        rest = seen - shortcut
        factor = float((rest * main).sum() / max(np.square(main).sum(), SMALLEST))
        yield Mistake(f"takes {factor:.6g} times the main path", factor * main + shortcut)


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
        factor = float((seen * right).sum() / max(np.square(right).sum(), SMALLEST))
        yield Mistake(f"is multiplied by {factor:.6g}", right * factor)
        yield Mistake("gives its channels in reverse", right[:, ::-1])
        kept = np.where(seen == 0, 0.0, right)
        factor = float((seen * kept).sum() / max(np.square(kept).sum(), SMALLEST))
        yield Mistake("loses some of its values: they are 0", kept)
        if factor > 1.0:
            others = f"the others {factor:.6g} times theirs"
            yield Mistake(f"is followed by dropout: some values are 0, {others}", kept * factor)
        yield from _of_rounding(right, seen)


def _of_rounding(right: Array, seen: Array) -> Iterator[Mistake]:
    """What was seen, if it is the correct value in a shorter floating-point type.

    It is not rounded anew here: of two neighbours, rounding of what is slightly off takes either.
    """
    if not np.isfinite(seen).all():
        return
    scale = float(np.abs(right).max())
    distance = float(np.abs(seen - right).max())
    for dtype in _SHORTER:
        near = distance <= scale * 2.0 ** -FORMATS[dtype].digits
        if near and np.array_equal(rounded(seen, dtype), seen):
            yield Mistake(f"is rounded to {dtype}", seen)
