"""A network as a tree (stem, stages, blocks, head) whose leaves are ops, with a flat view."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from resnetgen.ir.ops import (
    Activation,
    Concat,
    Conv2d,
    DropPath,
    GlobalMaxPool,
    Input,
    Linear,
    Mean,
    Op,
    Softmax,
)

BlockTitle = Literal["basic", "bottleneck", "custom"]
HeadPool = Literal["avg", "max", "avgmax", "catavgmax"]
ShortcutKind = Literal["identity", "projection", "zero_pad", "subsample", "none"]


@dataclass(frozen=True, slots=True)
class Block:
    """One block: a main path, what its shortcut does to the block's input, and how they end.

    `tail` starts with the addition, where there is a shortcut. The block's output is its last op's.
    """

    name: str
    title: BlockTitle
    shortcut: ShortcutKind
    in_channels: int
    width: int
    """The spec's inner width, from which the others follow."""
    stride: int
    preactivation: tuple[Op, ...]
    """What normalizes and activates the input, in the order `pre`; a projection reads it too."""
    main: tuple[Op, ...]
    side: tuple[Op, ...]
    """Nothing for an identity, and nothing where there is no shortcut."""
    tail: tuple[Op, ...]

    @property
    def ops(self) -> tuple[Op, ...]:
        """All ops in topological order."""
        return (*self.preactivation, *self.main, *self.side, *self.tail)

    @property
    def convolutions(self) -> tuple[Conv2d, ...]:
        """Those of the main path, without attention's: what the paper's brackets list."""
        attention = set(self.attention)
        return tuple(op for op in self.main if isinstance(op, Conv2d) and op not in attention)

    @property
    def dilation(self) -> int:
        """The largest of its convolutions."""
        return max(conv.dilation for conv in self.convolutions)

    @property
    def attention(self) -> tuple[Op, ...]:
        """The ops that compute gates for the main path's channels and apply them."""
        return tuple(op for op in self.main if op.name.startswith(f"{self.name}.se."))

    @property
    def drop_path(self) -> DropPath | None:
        """The stochastic depth that its main path ends in."""
        last = self.main[-1]
        return last if isinstance(last, DropPath) else None

    @property
    def activation(self) -> Activation | None:
        """The one behind the addition, in the order `post`."""
        last = self.ops[-1]
        return last if self.tail and isinstance(last, Activation) else None

    @property
    def out_channels(self) -> int:
        return self.convolutions[-1].out_channels


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one output size; `title` is the paper's name, `name` prefixes parameters."""

    name: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def dilation(self) -> int:
        """The largest of its blocks."""
        return max(block.dilation for block in self.blocks)

    @property
    def ops(self) -> Iterator[Op]:
        return (op for block in self.blocks for op in block.ops)


@dataclass(frozen=True, slots=True)
class Network:
    """A lowered network. `stem` starts with the Input; `head` ends with the logits, or
    with their softmax."""

    name: str
    spec_sha256: str
    license: str | None
    input_size: tuple[int, int]
    """Height and width in pixels that counts are stated for."""
    classes: int
    stem: tuple[Op, ...]
    stages: tuple[Stage, ...]
    head: tuple[Op, ...]

    @property
    def ops(self) -> Iterator[Op]:
        """All ops in topological order."""
        yield from self.stem
        for stage in self.stages:
            yield from stage.ops
        yield from self.head

    @property
    def blocks(self) -> Iterator[Block]:
        return (block for stage in self.stages for block in stage.blocks)

    @property
    def convolutions(self) -> tuple[Conv2d, ...]:
        """Those of stem, main paths and projections: all but attention's."""
        attention = {op.name for block in self.blocks for op in block.attention}
        return tuple(op for op in self.ops if isinstance(op, Conv2d) and op.name not in attention)

    @property
    def logits(self) -> str:
        """The name of the value that tells the classes apart, be a softmax behind it or not."""
        return next(op.name for op in reversed(self.head) if isinstance(op, Linear))

    @property
    def gives_probabilities(self) -> bool:
        """Whether it ends with a softmax, and not with logits."""
        return isinstance(self.head[-1], Softmax)

    @property
    def returns(self) -> str:
        """What it gives for each class, by the name that emitted files have for it."""
        return "probabilities" if self.gives_probabilities else "logits"

    @property
    def input_channels(self) -> int:
        """Channels of the image."""
        image = self.stem[0]
        assert isinstance(image, Input), f"{self.name}: the stem starts with {image.name}"
        return image.channels

    @property
    def head_pool(self) -> HeadPool:
        """What its head makes of the last block's pixels."""
        found = {type(op) for op in self.head}
        if Mean in found:
            return "avgmax"
        if Concat in found:
            return "catavgmax"
        return "max" if GlobalMaxPool in found else "avg"

    @property
    def depth(self) -> int:
        """Weighted layers as the paper counts them: stem, main paths and head, no shortcuts."""
        return 2 + sum(len(block.convolutions) for block in self.blocks)
