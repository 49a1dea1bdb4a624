"""The one law of tolerance: how far a value may lie from the reference, and how far it does."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.verify.dtypes import FORMATS, Dtype

_WIDE, _NARROW = 100, 8
TOLERANCES: dict[Dtype, float] = {
    "float64": _WIDE * FORMATS["float64"].epsilon,
    "float32": _WIDE * FORMATS["float32"].epsilon,
    "float16": _NARROW * FORMATS["float16"].epsilon,
    "bfloat16": _NARROW * FORMATS["bfloat16"].epsilon,
}
"""The law's constant: what one op may lose, relative to the largest entry of its value.

A value's bound is this times the growth of rounding up to it, which `conditioning` measures.
Measured on an x86-64 CPU in PyTorch and ONNX's evaluator in float64 and in ONNX Runtime in float32,
with shipped and with drawn weights: the constant that would just have passed was at most 3 eps for
resnet18, 20 and 110, 5 eps for plain34 and 56, 11 eps for 300 residual blocks in one stage and for
192 convolutions in six blocks, and 25 eps for a plain network of 110 layers; in Keras on TensorFlow
at most 6 eps, and for resnet1202 in float32 8 eps, over all bundled specs.

In a narrow type a convolution adds up in a wider one and rounds once, and the growth comes of
rounding itself, so less is needed. Measured on an x86-64 CPU in bfloat16 and float16, with shipped
and with drawn weights, for resnet18, 20, 50 and 110 and plain34: at most 1.6 eps in PyTorch and 2.3
eps in Flax, whose norms round each of their steps; for a small network of grouped bottlenecks with
squeeze-and-excitation 3.0 eps in Keras, 4.3 eps in Flax, and 1.4 eps in ONNX's evaluator.

To find any of these again, build the network and run `resnetgen verify DIR --dtype DTYPE --json`:
it is a target's `minimum_tolerance`, of all images and both kinds of weights, divided by eps.
"""
_LOOSEST: dict[Dtype, float] = {
    "float64": 1e-10,
    "float32": 1e-2,
    "float16": 0.5,
    "bfloat16": 0.5,
}
"""Beyond this nothing would be proven, however much a network amplifies rounding: what has nothing
to do with a value is off by about its scale."""
_LOOSEST_GRADIENT = 1e-3
"""So for gradients, which a wrong op changes by far more."""
GRADIENT_TOLERANCE = 1e-9
"""What a gradient may be off by in float64, relative to its scale: one bound for all gradients of
a network, since backwards rounding grows along other paths than forwards.

Measured on an x86-64 CPU in PyTorch, Flax and Keras on each backend, gradients were off by 5e-15 in
resnet20 and 3e-13 in resnet50, as far as the conditioning moves them. That is up to 1e-12 in
plain34 and 1e-11 in plain56.
"""
_CONDITIONS = 100
"""How many times as far as they move when what they come of does by one part in 1e15, gradients may
be off."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value against the reference; `relative` is in units of its scale, which is the
    reference's largest entry unless something else is stated."""

    absolute: float
    relative: float
    growth: float
    bound: float
    """What `relative` may be."""
    rounding: float
    """What rounding alone may make of it: more than `bound`, where that would prove nothing."""

    @property
    def passed(self) -> bool:
        return self.relative <= self.bound

    @property
    def proves_nothing(self) -> bool:
        """Whether it is too large to have passed, and rounding alone may have made it so."""
        return math.isfinite(self.relative) and self.bound < self.relative <= self.rounding


def describe(actual: NDArray[Any], expected: NDArray[np.float64], difference: Difference) -> str:
    """What is wrong with a value that did not pass, in words that follow its name."""
    if actual.shape != expected.shape:
        return f"has shape {list(actual.shape)}, not {list(expected.shape)}"
    if not np.isfinite(actual).all():
        return "is not finite"
    return f"is off by {difference.relative:.1e} of its scale (bound {difference.bound:.1e})"


def bound(dtype: Dtype, *, growth: float) -> float:
    """The largest relative difference where rounding has grown by this factor."""
    return min(_lost(dtype, growth), _LOOSEST[dtype])


def beyond_proof(dtype: Dtype, *, growth: float) -> float | None:
    """What rounding may do to a value, relative to its scale, if that is too much for one that
    passes to be told from any other."""
    lost = _lost(dtype, growth)
    return lost if lost > _LOOSEST[dtype] else None


def part(rounding: float) -> str:
    """How far rounding may move a value, in words."""
    return f"{rounding:.1e} of its scale" if math.isfinite(rounding) else "any part of its scale"


def _lost(dtype: Dtype, growth: float) -> float:
    return TOLERANCES[dtype] * growth


def path_growth(length: int) -> float:
    """How rounding grows over a few ops in a row: as the root, for the signs are random."""
    return math.sqrt(length)


def compare(
    actual: NDArray[Any],
    expected: NDArray[np.float64],
    *,
    dtype: Dtype,
    growth: float,
    scale: float | None = None,
) -> Difference:
    """Compares one value with the reference; a different shape, NaN or infinity never passes.

    `scale` is the size of what the value was computed from, where it is larger than the value.
    """
    limit, rounding = bound(dtype, growth=growth), _lost(dtype, growth)
    return _difference(actual, expected, scale=scale, growth=growth, limit=limit, rounding=rounding)


def compare_gradient(
    actual: NDArray[Any], expected: NDArray[np.float64], *, scale: float, conditioning: float
) -> Difference:
    """Compares a gradient in float64. `conditioning` is how far the network's gradients move
    when image and norms' inputs do by one part in 1e15."""
    growth = max(1.0, _CONDITIONS * conditioning / GRADIENT_TOLERANCE)
    rounding = GRADIENT_TOLERANCE * growth
    limit = min(rounding, _LOOSEST_GRADIENT)
    return _difference(actual, expected, scale=scale, growth=growth, limit=limit, rounding=rounding)


def _difference(
    actual: NDArray[Any],
    expected: NDArray[np.float64],
    *,
    scale: float | None,
    growth: float,
    limit: float,
    rounding: float,
) -> Difference:
    if actual.shape != expected.shape or not actual.size or not np.isfinite(actual).all():
        return Difference(math.inf, math.inf, growth, limit, rounding)
    absolute = float(np.abs(actual.astype(np.float64) - expected).max())
    if absolute == 0.0:
        return Difference(0.0, 0.0, growth, limit, rounding)
    if scale is None:
        scale = float(np.abs(expected).max())
    relative = absolute / scale if scale else math.inf
    return Difference(absolute, relative, growth, limit, rounding)
