"""Rounds to the types that networks are verified in, of which NumPy does not have all."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.verify.dtypes import FORMATS, Dtype


def rounded(value: NDArray[Any], dtype: Dtype) -> NDArray[np.float64]:
    """The nearest numbers that the type holds, of two the even one; infinity beyond its largest."""
    kind = FORMATS[dtype]
    exact = np.asarray(value, np.float64)
    # What is smaller than any normal number has the digits of the smallest one, and no more.
    _, exponent = np.frexp(np.maximum(np.abs(exact), kind.smallest))
    result = np.ldexp(np.rint(np.ldexp(exact, kind.digits - exponent)), exponent - kind.digits)
    return np.where(np.abs(result) > kind.largest, np.copysign(np.inf, result), result)
