"""One way in which an op can be wrong, and the value that it then gives."""

from dataclasses import dataclass

import numpy as np

from resnetgen.verify.reference import Array

of_anything = np.errstate(divide="ignore", invalid="ignore", over="ignore")
"""Decorates what computes with a framework's values, which need not be finite."""
SMALLEST = 1e-300
"""What a sum of squares that is 0 is taken to be, where a factor is solved for."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, in words that follow an op's name and a colon, and the resulting value."""

    cause: str
    value: Array
