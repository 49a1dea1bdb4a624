"""A network as a tree (stem, stages, blocks, head) whose leaves are ops, with a flat view."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from resnetgen.ir.ops import Input, Op

ShortcutKind = Literal["identity", "projection", "zero_pad", "none"]


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution of a block kind: output is `expansion` times the block's width."""

    kernel: int
    expansion: int
    strided: bool


@dataclass(frozen=True, slots=True)
class BlockKind:
    """What blocks share that differ only in widths, stride and whether they project.

    Generated source has one class or function per kind.
    """

    title: Literal["basic", "bottleneck", "custom"]
    convolutions: tuple[Convolution, ...]
    shortcut: Literal["projection", "zero_pad", "none"]
    """What a block of this kind has where its shape changes; elsewhere it is the identity."""
    projects_all: bool
    """Option C: a projection in every block."""

    @property
    def expansion(self) -> int:
        """Output channels of a block as a multiple of its width."""
        return self.convolutions[-1].expansion


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its ops in order, ending with its output."""

    name: str
    kind: BlockKind
    shortcut: ShortcutKind
    in_channels: int
    width: int
    stride: int
    ops: tuple[Op, ...]

    @property
    def out_channels(self) -> int:
        return self.width * self.kind.expansion


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one output size; `title` is the paper's name, `name` prefixes parameters."""

    name: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def ops(self) -> Iterator[Op]:
        return (op for block in self.blocks for op in block.ops)


@dataclass(frozen=True, slots=True)
class Network:
    """A lowered network. `stem` starts with the Input; `head` ends with the logits."""

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
    def input_channels(self) -> int:
        """Channels of the image."""
        image = self.stem[0]
        assert isinstance(image, Input), f"{self.name}: the stem starts with {image.name}"
        return image.channels

    @property
    def depth(self) -> int:
        """Weighted layers as the paper counts them: stem, main paths and head, no shortcuts."""
        return 2 + sum(len(block.kind.convolutions) for block in self.blocks)
