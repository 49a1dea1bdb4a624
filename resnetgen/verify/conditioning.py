"""Measures how rounding grows in a network, by moving all of its weights a little.

A plain network of a hundred layers amplifies what its first ones round away a hundred times; a
residual one of a thousand does not. So the growth is measured for each network, not assumed.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op
from resnetgen.ir.rules import parameters
from resnetgen.verify.cases import Case
from resnetgen.verify.reference import Array, Tensors
from resnetgen.verify.stored import Stored
from resnetgen.verify.training import walk
from resnetgen.weights.initial import stream

_MOVED = 2.0**-26
"""How far each weight is moved, relative to itself: far above float64's rounding, and so little
that the network answers in proportion."""


def growths(
    network: Network, case: Case, stored: Stored, *, values: Mapping[str, Array], seed: int
) -> dict[str, float]:
    """For each of `values`, how many times larger than one op's rounding may have become.

    `values` are the reference's in `case`, in the network's order. The growth is the relative
    change of a value, in units of the weights' own, or that of any value before it.
    """

    changed = walk(network, case, lambda op: _moved(op, stored.tensors(op), seed))
    found = dict(_relative_changes(changed, values))
    return dict(zip(found, accumulate(found.values(), max), strict=True))


def _moved(op: Op, tensors: Tensors, seed: int) -> Tensors:
    names = {parameter.name.rpartition(".")[2]: parameter.name for parameter in parameters(op)}
    return {
        kind: tensor
        * (1 + _MOVED * stream(seed, f"conditioning.{names[kind]}").standard_normal(tensor.shape))
        for kind, tensor in tensors.items()
    }


def _relative_changes(
    changed: Iterable[tuple[Op, Array]], values: Mapping[str, Array]
) -> Iterator[tuple[str, float]]:
    for op, value in changed:
        if op.name not in values:
            continue
        scale = float(np.abs(values[op.name]).max())
        change = float(np.abs(value - values[op.name]).max())
        yield op.name, max(1.0, change / scale / _MOVED if scale else 1.0)
