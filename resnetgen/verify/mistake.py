"""One way in which an op can be wrong, and the value that it then gives."""

from dataclasses import dataclass

from resnetgen.verify.reference import Array


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, in words that follow an op's name and a colon, and the resulting value."""

    cause: str
    value: Array
