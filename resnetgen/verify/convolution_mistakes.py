"""The mistakes that convolutions are known to suffer, and the value that each of them gives."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np

from resnetgen.ir.ops import Conv2d, Padding
from resnetgen.verify.geometry import geometries
from resnetgen.verify.mistake import SMALLEST, Mistake
from resnetgen.verify.reference import Array, Tensors, convolve, pads, sides

_DILATIONS = (1, 2, 3, 4)
_EDGES: Mapping[Literal["reflect", "edge", "wrap"], str] = {
    "reflect": "reflected edges",
    "edge": "repeated edges",
    "wrap": "the opposite edges",
}


def of_convolution(
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
    for geometry in geometries(op.extent, op, value, target):
        cause = geometry.cause(op, own, shape_kept=target.shape == right.shape)
        if cause is not None:
            moved = convolved(stride=geometry.stride, padding=geometry.padding)
            yield Mistake(cause, geometry.cut(moved))
    if op.bias:
        yield Mistake("has no bias", right - bias)
        yield Mistake(
            "gives its channels in reverse, but for their biases", convolved(weight[::-1])
        )
    if op.groups > 1:
        order = np.arange(op.in_channels).reshape(op.groups, -1).T.ravel()
        yield Mistake("takes its groups' channels alternately", convolved(image=value[:, order]))
        order = np.arange(op.out_channels).reshape(op.groups, -1).T.ravel()
        yield Mistake("gives its groups' channels alternately", convolved()[:, order])
        turned = weight.reshape(op.groups, -1, *weight.shape[1:])[::-1].reshape(weight.shape)
        yield Mistake("takes its groups' kernels in reverse", convolved(turned))
    if op.kernel > 1:
        yield Mistake("its kernel is transposed", convolved(weight.swapaxes(2, 3)))
        yield Mistake("its kernel is flipped", convolved(weight[:, :, ::-1, ::-1]))
        yield Mistake("its kernel is mirrored", convolved(weight[:, :, :, ::-1]))
        for mode, words in _EDGES.items():
            if max(own.top, own.bottom) < min(value.shape[2:]):
                padded = np.pad(value, sides(own), mode=mode)
                without = convolved(image=padded, padding=Padding.symmetric(0))
                yield Mistake(f"pads with {words}, not with zeros", without)
    if op.in_channels == op.out_channels and op.groups == 1:
        yield Mistake(
            "its kernel's input and output channels are swapped", convolved(weight.swapaxes(0, 1))
        )
    yield from _of_input(value, convolved)
    if seen is not None and seen.shape == right.shape:
        yield from _of_scaled_input(value, right - bias, convolved, seen - bias)
        offset = (seen - right).mean(axis=(0, 2, 3), keepdims=True)
        yield Mistake("adds a bias that the spec does not have", right + offset)


def _of_input(value: Array, convolved: Callable[..., Array]) -> Iterator[Mistake]:
    """The input, laid out in another way."""
    yield Mistake("takes its channels in reverse", convolved(image=value[:, ::-1]))
    yield Mistake("takes its input transposed", convolved(image=value.swapaxes(2, 3)))
    yield Mistake("takes its input mirrored", convolved(image=value[:, :, :, ::-1]))
    yield Mistake("takes its input upside down", convolved(image=value[:, :, ::-1]))


def _of_scaled_input(
    value: Array, product: Array, convolved: Callable[..., Array], seen: Array
) -> Iterator[Mistake]:
    """The input times a factor and plus a summand, which what was seen decides.

    `product` and `seen` are without the bias, and so linear in both.
    """
    bias = convolved(image=np.zeros_like(value))
    of_ones = convolved(image=np.ones_like(value)) - bias
    factor = float((seen * product).sum() / max(np.square(product).sum(), SMALLEST))
    yield Mistake(f"takes its input times {factor:.4g}", bias + factor * product)
    columns = np.stack((product.ravel(), of_ones.ravel()), axis=1)
    (factor, summand), *_ = np.linalg.lstsq(columns, seen.ravel(), rcond=None)
    cause = f"takes its input times {factor:.4g} and plus {summand:.4g}"
    yield Mistake(cause, bias + factor * product + summand * of_ones)


def _fits(value: Array, extent: int, pixels: int) -> bool:
    """Whether a window that reaches so far fits into an image that is padded so."""
    return min(value.shape[2:]) + 2 * pixels >= extent
