"""The one law of tolerance: how far a value may lie from the reference, and how far it does."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Dtype = Literal["float32", "float64"]

TOLERANCES: dict[Dtype, float] = {
    dtype: 200 * float(np.finfo(dtype).eps) for dtype in ("float64", "float32")
}
"""The law's constant: what one op may lose, relative to the largest entry of its value.

Measured with drawn weights on an x86-64 CPU: every bundled spec in PyTorch, Keras on TensorFlow and
ONNX's evaluator in float64 and in ONNX Runtime in float32; plain34, plain56 and resnet18, 110 and
152 in float32 in PyTorch and Keras too. The constant that would just have passed, in the worst
target and dtype, was 59 eps for plain56 (45 eps in float64), at most 10 eps for the other plain
networks, and below 4 eps for every residual one; three times the worst is for hardware that adds in
another order.
"""
_LOOSEST: dict[Dtype, float] = {"float64": 1e-10, "float32": 1e-3}


@dataclass(frozen=True, slots=True)
class Difference:
    """One value against the reference; `relative` is in units of the reference's largest entry."""

    absolute: float
    relative: float
    growth: float
    bound: float
    """What `relative` may be."""

    @property
    def passed(self) -> bool:
        return self.relative <= self.bound


def describe(actual: NDArray[Any], expected: NDArray[np.float64], difference: Difference) -> str:
    """What is wrong with a value that did not pass, in words that follow its name."""
    if actual.shape != expected.shape:
        return f"has shape {list(actual.shape)}, not {list(expected.shape)}"
    if not np.isfinite(actual).all():
        return "is not finite"
    return f"is off by {difference.relative:.1e} of its scale (bound {difference.bound:.1e})"


def bound(dtype: Dtype, *, length: int) -> float:
    """The largest relative difference behind `length` ops in a row."""
    return min(TOLERANCES[dtype] * growth(length), _LOOSEST[dtype])


def growth(length: int) -> float:
    """How rounding grows along a path: as the root of its length, for the signs are random."""
    return math.sqrt(length)


def compare(
    actual: NDArray[Any], expected: NDArray[np.float64], *, dtype: Dtype, length: int
) -> Difference:
    """Compares one value with the reference; a different shape, NaN or infinity never passes."""
    limit = bound(dtype, length=length)
    if actual.shape != expected.shape or not actual.size or not np.isfinite(actual).all():
        return Difference(math.inf, math.inf, growth(length), limit)
    absolute = float(np.abs(actual.astype(np.float64) - expected).max())
    scale = float(np.abs(expected).max())
    if absolute == 0.0:
        return Difference(0.0, 0.0, growth(length), limit)
    return Difference(absolute, absolute / scale if scale else math.inf, growth(length), limit)
