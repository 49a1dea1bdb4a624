"""The floating-point types that networks are verified in: what each holds, and how it rounds."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Dtype = Literal["float64", "float32", "float16", "bfloat16"]
"""The one with the most digits first."""


@dataclass(frozen=True, slots=True)
class Format:
    """A binary type with `digits` in a significand; normal numbers lie between `smallest` and
    `largest`."""

    digits: int
    smallest: float
    largest: float

    @property
    def epsilon(self) -> float:
        """The distance between 1 and the next number."""
        return 2.0 ** (1 - self.digits)


# NumPy has no bfloat16: the upper half of a float32.
FORMATS: dict[Dtype, Format] = {
    "float64": Format(53, 2.0**-1022, float(np.finfo(np.float64).max)),
    "float32": Format(24, 2.0**-126, float(np.finfo(np.float32).max)),
    "float16": Format(11, 2.0**-14, float(np.finfo(np.float16).max)),
    "bfloat16": Format(8, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
}


def is_narrow(dtype: Dtype) -> bool:
    """Whether the type holds no weights as `model.safetensors` has them, but only rounded ones."""
    return FORMATS[dtype].digits < FORMATS["float32"].digits


def rounded(value: NDArray[Any], dtype: Dtype) -> NDArray[np.float64]:
    """The nearest numbers that the type holds, of two the even one; infinity beyond its largest."""
    kind = FORMATS[dtype]
    exact = np.asarray(value, np.float64)
    # What is smaller than any normal number has the digits of the smallest one, and no more.
    _, exponent = np.frexp(np.maximum(np.abs(exact), kind.smallest))
    result = np.ldexp(np.rint(np.ldexp(exact, kind.digits - exponent)), exponent - kind.digits)
    return np.where(np.abs(result) > kind.largest, np.copysign(np.inf, result), result)
