"""Turns what a runner saw, under its own labels, into observations of the network's values."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Block, Network
from resnetgen.ir.ops import Add, Op
from resnetgen.ir.rules import Shape
from resnetgen.verify.runners.protocol import INPUT, OUTPUT, SeenRun

RETURNED = "output"
"""The reader of the logits that stands for what the whole model returns."""


@dataclass(frozen=True, slots=True)
class Place:
    """A value of the network as a producer gives it, or as `reader` receives it."""

    value: str
    reader: str | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen at a place: the shape with the batch, and the array where it was sent."""

    place: Place
    shape: Shape
    array: NDArray[Any] | None


def places(network: Network) -> dict[str, Place]:
    """Every label that means one of the network's values, whichever framework uses it."""
    table: dict[str, Place] = {}
    for op in network.ops:
        table[op.name] = Place(op.name, None)
        if len(op.inputs) == 1:
            table[op.name + INPUT] = Place(op.inputs[0], op.name)
    for block in network.blocks:
        table[block.name] = Place(block.ops[-1].name, None)
        table[block.name + INPUT] = Place(_source(block), block.name)
        if block.attention:
            table[f"{block.name}.se"] = Place(block.attention[-1].name, None)
            table[f"{block.name}.se{INPUT}"] = Place(
                block.attention[0].inputs[0], f"{block.name}.se"
            )
        for op in block.ops:
            if isinstance(op, Add) and block.shortcut != "identity":
                table[f"{block.name}.downsample"] = Place(op.inputs[1], None)
                table[f"{block.name}.downsample{INPUT}"] = Place(
                    block.side[0].inputs[0], f"{block.name}.downsample"
                )
    table[OUTPUT] = Place(network.head[-1].name, RETURNED)
    return table


def boundaries(network: Network) -> tuple[str, ...]:
    """The values compared first: those of stem and head, and every block's output."""
    return (
        *(op.name for op in network.stem),
        *(block.ops[-1].name for block in network.blocks),
        *(op.name for op in network.head),
    )


def boundary_labels(network: Network) -> str:
    """A pattern of the labels under which `boundaries` may be seen."""
    stages = "|".join(re.escape(stage.name) for stage in network.stages)
    ends = {block.ops[-1].name.removeprefix(block.name) for block in network.blocks}
    blocks = rf"(?:{stages})\.\d+(?:{'|'.join(map(re.escape, sorted(ends)))})?"
    return rf"{_outer(network)}|{OUTPUT}|{blocks}"


def scope(network: Network, op: str) -> tuple[tuple[Op, ...], str]:
    """The ops of the block, stem or head that `op` is in, and a pattern of the labels that show
    them, what they receive, and what they read from before; with the first block's, the stem's."""
    outer = rf"(?:{_outer(network)}|{OUTPUT})(?:{re.escape(INPUT)})?"
    block = next((each for each in network.blocks if op.startswith(f"{each.name}.")), None)
    if block is None:
        stem = any(each.name == op for each in network.stem)
        ops, own = network.stem if stem else network.head, outer
        if stem:
            # Its last op may be a function, of which only the first block's input tells.
            first = next(network.blocks)
            own = rf"{outer}|{re.escape(first.name)}(?:\..*)?{re.escape(INPUT)}"
    elif block.ops[0].inputs[0] == network.stem[-1].name:
        # The stem's last ops may be functions, which only the first block's output shows.
        ops, own = (*network.stem, *block.ops), rf"{outer}|{re.escape(block.name)}(?:[.:].*)?"
    else:
        ops, own = block.ops, rf"{re.escape(block.name)}(?:[.:].*)?"
    inside = {each.name for each in ops}
    sources = {name for each in ops for name in each.inputs} - inside
    outside = (re.escape(label) for name in sources for label in (name, name.rpartition(".")[0]))
    return ops, "|".join((own, *sorted(outside)))


def _outer(network: Network) -> str:
    """A pattern of the names of the stem's and the head's ops."""
    return "|".join(re.escape(op.name) for op in (*network.stem, *network.head))


def observations(
    run: SeenRun, table: Mapping[str, Place], scratch: Path, expected: Mapping[str, Shape]
) -> Iterator[Observation]:
    """The run's observations of values in `table`, in the order seen.

    A label that was seen twice in one run belongs to a module used twice: it says nothing about
    one value. `expected` has the shapes with the batch: a pooled value (N, C) is (N, C, 1, 1)
    there, in whichever form a framework has it.
    """
    times = Counter(seen.label for seen in run.seen)
    with np.load(scratch / run.values, allow_pickle=False) as arrays:
        for position, seen in enumerate(run.seen):
            if seen.label not in table or times[seen.label] > 1:
                continue
            place = table[seen.label]
            array = arrays[str(position)] if seen.kept else None
            shape = seen.shape
            wanted = expected[place.value]
            if wanted[2:] == (1, 1) and math.prod(shape) == math.prod(wanted):
                shape, array = wanted, None if array is None else array.reshape(wanted)
            yield Observation(place, shape, array)


def _source(block: Block) -> str:
    return block.ops[0].inputs[0]
