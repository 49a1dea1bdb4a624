"""Reorders channels where another library's option A puts its zeros elsewhere than ours.

Ours come behind the existing channels. Where half of them come in front, the network is the same
with its residual stream's channels in another order, from the first such block to the head.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Block, Network
from resnetgen.ir.ops import Conv2d, Linear, Norm, PadChannels
from resnetgen.ir.rules import parameters

Order = NDArray[np.intp]
"""For each of our channels the other library's."""


@dataclass(frozen=True, slots=True)
class Reordering:
    """An axis of a tensor, and the order of what lies along it."""

    axis: int
    order: Order


def reorderings(network: Network) -> Mapping[str, tuple[Reordering, ...]]:
    """By the tensor's name; for a network whose files have half of option A's zeros in front."""
    found: dict[str, tuple[Reordering, ...]] = {}
    order = np.arange(next(network.blocks).in_channels)
    for block in network.blocks:
        given, order = order, _behind(block, order)
        _add(found, block, given, order)
    for op in network.head:
        if isinstance(op, Linear):
            if op.in_features > len(order):
                # Of each channel it reads the mean, and behind all means the maximum.
                order = np.concatenate([order, order + len(order)])
            found[f"{op.name}.weight"] = (Reordering(1, order),)
    return found


def _behind(block: Block, given: Order) -> Order:
    """The order behind the block, whose input has the order `given`."""
    if block.shortcut in ("projection", "none"):
        return np.arange(block.out_channels)
    extra = sum(op.extra for op in block.side if isinstance(op, PadChannels))
    front = extra // 2
    zeros = [*range(front), *range(front + len(given), extra + len(given))]
    return np.concatenate([given + front, np.array(zeros, np.intp)])


def _add(
    found: dict[str, tuple[Reordering, ...]], block: Block, given: Order, order: Order
) -> None:
    first, last = block.convolutions[0].name, block.convolutions[-1].name
    norms = [op for op in block.main if isinstance(op, Norm)]
    for convolution in block.convolutions:
        into = (Reordering(1, given),) if convolution.name == first else ()
        out_of = (Reordering(0, order),) if convolution.name == last else ()
        found[f"{convolution.name}.weight"] = into + out_of
        if convolution.bias and out_of:
            found[f"{convolution.name}.bias"] = out_of
    if norms:
        found.update({each.name: (Reordering(0, order),) for each in parameters(norms[-1])})
    for op in block.side:
        if isinstance(op, Conv2d):
            found[f"{op.name}.weight"] = (Reordering(1, given),)
