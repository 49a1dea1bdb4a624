"""One way in which an op can be wrong, and the value that it then gives."""

from dataclasses import dataclass

from resnetgen.verify.reference import Array

SMALLEST = 1e-300
"""What a sum of squares that is 0 is taken to be, where a factor is solved for."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, in words that follow an op's name and a colon, and the resulting value."""

    cause: str
    value: Array
