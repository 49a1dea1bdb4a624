"""Numbers that tests draw: each test the same ones, whatever ran before it."""

import numpy as np
from numpy.typing import NDArray

RANDOM = np.random.default_rng(0)
_START = RANDOM.bit_generator.state


def draw(*shape: int) -> NDArray[np.float64]:
    return RANDOM.standard_normal(shape)


def restart() -> None:
    """Has the next test draw what every test does."""
    RANDOM.bit_generator.state = _START
