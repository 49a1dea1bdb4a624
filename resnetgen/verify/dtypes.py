"""The floating-point types that networks are verified in, and what each holds."""

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["float64", "float32", "float16", "bfloat16"]
"""The one with the most digits first."""


@dataclass(frozen=True, slots=True)
class Format:
    """A binary type with `digits` in a significand and exponents up to `exponent`."""

    digits: int
    exponent: int

    @property
    def epsilon(self) -> float:
        """The distance between 1 and the next number."""
        return 2.0 ** (1 - self.digits)

    @property
    def smallest(self) -> float:
        """The smallest number that has all digits."""
        return 2.0 ** (1 - self.exponent)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return (2 - self.epsilon) * 2.0**self.exponent


FORMATS: dict[Dtype, Format] = {
    "float64": Format(53, 1023),
    "float32": Format(24, 127),
    "float16": Format(11, 15),
    "bfloat16": Format(8, 127),
}


def is_narrow(dtype: Dtype) -> bool:
    """Whether the type holds no weights as `model.safetensors` has them, but only rounded ones."""
    return FORMATS[dtype].digits < FORMATS["float32"].digits
