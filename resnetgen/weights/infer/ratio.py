"""Finds the ratio of squeeze-and-excitation from the channels that it left."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

_DEFAULT = Fraction(1, 16)
_MOST_DIGITS = 9


def squeeze_ratio(squeezes: Iterable[tuple[int, int]], *, divisor: int) -> float | None:
    """The simplest ratio that squeezes each number of channels to its second, if any does.

    What is squeezed to is a multiple of the divisor.

    The default first, then one over a whole number, then a decimal of the fewest digits.
    """
    lowest, highest = Fraction(0), Fraction(2)
    for channels, squeezed in squeezes:
        if squeezed % divisor:
            return None
        if squeezed > divisor:
            lowest = max(lowest, Fraction(2 * squeezed - divisor, 2 * channels))
        highest = min(highest, Fraction(2 * squeezed + divisor, 2 * channels))
    return next(
        (float(ratio) for ratio in _ratios(lowest) if 0 < ratio <= 1 and lowest <= ratio < highest),
        None,
    )


def _ratios(lowest: Fraction) -> Iterator[Fraction]:
    yield _DEFAULT
    yield from (Fraction(1, number) for number in range(1, 65))
    for digits in range(1, _MOST_DIGITS + 1):
        scale = 10**digits
        yield Fraction(-(-lowest.numerator * scale // lowest.denominator), scale)
