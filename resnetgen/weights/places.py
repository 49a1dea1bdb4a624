"""Says where in a network each of its weighted layers stands, for rules that name layers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from resnetgen.ir.network import Block, BlockTitle, Network
from resnetgen.ir.ops import Conv2d, Norm, Op
from resnetgen.ir.rules import parameters


@dataclass(frozen=True, slots=True)
class Stem:
    """A convolution in front of the stages, or its norm: the `number`-th of `count`, from 0."""

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Preactivation:
    """The norm of a block's input, in front of its main path and its projection. All from 0."""

    stage: int
    block: int


@dataclass(frozen=True, slots=True)
class Main:
    """A convolution on a block's main path, or its norm; stage, block and number count from 0.

    In the order `pre` as in `post`, the first norm is the one behind the first convolution.
    """

    stage: int
    block: int
    number: int


@dataclass(frozen=True, slots=True)
class Squeeze:
    """A convolution of squeeze-and-excitation: 0 narrows, 1 widens. All count from 0."""

    stage: int
    block: int
    number: int


@dataclass(frozen=True, slots=True)
class Side:
    """A block's projection, or its norm; `number` also counts a pool in front. All from 0."""

    stage: int
    block: int
    number: int


@dataclass(frozen=True, slots=True)
class Postactivation:
    """The norm behind the last block, in the order `pre`."""


@dataclass(frozen=True, slots=True)
class Head:
    """The linear layer that gives the logits."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What only some networks have: a convolution in place of the stem's pool, or ECA's."""


Place = Stem | Preactivation | Main | Squeeze | Side | Postactivation | Head | Elsewhere


@dataclass(frozen=True, slots=True)
class Home:
    """The block that a layer is in: its kind, and its number among all of the network's, from 0."""

    title: BlockTitle
    number: int


@dataclass(frozen=True, slots=True)
class Layer:
    """An op that owns tensors, and where it stands."""

    op: Op
    place: Place
    home: Home | None = None
    """Nothing in the stem and in the head."""

    @property
    def is_norm(self) -> bool:
        return isinstance(self.op, Norm)


def layers(network: Network) -> Iterator[Layer]:
    """All layers that own tensors, in the network's order."""
    yield from _stem(network)
    numbers = count()
    for stage_number, stage in enumerate(network.stages):
        for block_number, block in enumerate(stage.blocks):
            home = Home(block.title, next(numbers))
            for op, place in _block(block, stage_number, block_number):
                yield Layer(op, place, home)
    for op in network.head:
        if parameters(op):
            yield Layer(op, Postactivation() if isinstance(op, Norm) else Head())


def _stem(network: Network) -> Iterator[Layer]:
    weighted = [op for op in network.stem if parameters(op)]
    ours = [op for op in weighted if not op.name.startswith("maxpool")]
    convolutions = sum(not isinstance(op, Norm) for op in ours)
    seen = _Numbers()
    yield from (Layer(op, Stem(seen.number(op), convolutions)) for op in ours)
    yield from (Layer(op, Elsewhere()) for op in weighted if op not in ours)


def _block(block: Block, stage: int, number: int) -> Iterator[tuple[Op, Place]]:
    for op in block.preactivation:
        if parameters(op):
            yield op, Preactivation(stage, number)
    attention = set(block.attention)
    seen, squeezes = _Numbers(), _Numbers()
    for op in block.main:
        if op in attention and isinstance(op, Conv2d):
            yield op, Squeeze(stage, number, squeezes.number(op))
        elif op in attention and parameters(op):
            yield op, Elsewhere()
        elif parameters(op):
            yield op, Main(stage, number, seen.number(op))
    for position, op in enumerate(block.side):
        if parameters(op):
            yield op, Side(stage, number, position)


class _Numbers:
    """Counts convolutions and norms apart, so that a convolution and its norm share a number."""

    def __init__(self) -> None:
        self._next = {True: 0, False: 0}

    def number(self, op: Op) -> int:
        is_norm = isinstance(op, Norm)
        self._next[is_norm] += 1
        return self._next[is_norm] - 1
