"""Walks through a network while its values stay within what they are to be kept in."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.verify.cases import Case
from resnetgen.verify.observed import boundaries
from resnetgen.verify.reference import Array
from resnetgen.verify.training import Owned, walk


@dataclass(frozen=True, slots=True)
class Bounded:
    """A case, the reference's values at the network's boundaries, and the largest number of any
    op's."""

    case: Case
    values: Mapping[str, Array]
    peak: float


@dataclass(frozen=True, slots=True)
class Beyond:
    """The first op that gave a number larger than any may be, or none at all."""

    op: str
    peak: float


def walk_within(network: Network, case: Case, owned: Owned, *, largest: float) -> Bounded | Beyond:
    """Computes the case, unless a number is larger than that."""
    kept = set(boundaries(network))
    values: dict[str, Array] = {}
    peak = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for op, value in walk(network, case, owned):
            reached = float(np.abs(value).max())
            if not reached <= largest:
                return Beyond(op.name, reached)
            peak = max(peak, reached)
            if op.name in kept:
                values[op.name] = value
    return Bounded(case, values, peak)
