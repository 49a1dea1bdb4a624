"""The kinds of block that a source has a class or a function for, read off the network's ops."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Literal

from resnetgen.emit.expressions import (
    Extra,
    last_channels,
    local_name,
    main_layers,
    preactivation_layers,
    side_layers,
    takes_stride,
    varying_dilations,
    varying_drop_paths,
)
from resnetgen.emit.layers import Layer
from resnetgen.emit.queries import extent
from resnetgen.ir.network import Block, BlockTitle, Network, ShortcutKind
from resnetgen.ir.ops import (
    AvgPool2d,
    BlurPool,
    Conv2d,
    DropPath,
    Op,
    PadChannels,
    Subsample,
)

_VARYING = frozenset(
    {
        *("name", "inputs", "in_channels", "out_channels", "channels", "stride", "groups", "extra"),
        *("dilation", "padding", "index"),
    }
)
"""Attributes in which the blocks of a kind may differ, since its parameters decide them: padding
follows from the dilation, and a rate of stochastic depth from the block's index."""
_Form = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """Blocks with the same layers, which differ in the numbers that their parameters decide."""

    class_name: str
    function_name: str
    title: BlockTitle
    blocks: frozenset[str]
    """The names of the blocks that are of this kind."""
    shortcut: ShortcutKind
    """What its blocks have where their shape changes, if it changes in any."""
    reshapes: Literal["never", "sometimes", "always"]
    """Which blocks project or pad their shortcut."""
    width_name: str
    """What the width parameter is called: `width`, unless all it decides is output channels."""
    reads_width: bool
    """Whether any layer's size follows from the width: a pruned block's are all stated."""
    extras: tuple[Extra, ...]
    dilations: tuple[Extra, ...]
    """The parameters for dilations that are not the same in all blocks."""
    drop_paths: Mapping[str, DropPath]
    """Each block's stochastic depth, where its rate is a parameter."""
    stride: str
    """The stride as an expression inside the block's code."""
    shortcut_strides: frozenset[int]
    """The strides of those blocks that change the shape of their shortcut."""
    preactivation: tuple[Layer, ...]
    """What normalizes and activates the input of the main path and of a projection."""
    main: tuple[Layer, ...]
    side: tuple[Layer, ...]
    activation: Layer | None
    """The activation behind the addition, in the order `post`."""
    out_channels: str
    """A block's output channels as an expression in its width."""

    @property
    def sizes(self) -> tuple[str, ...]:
        """The parameters that every block states, besides its input channels."""
        width = (self.width_name,) if self.reads_width else ()
        return (*width, *(extra.name for extra in self.extras))

    def sizes_of(self, block: Block) -> tuple[str, ...]:
        """The block's values for `sizes`."""
        width = (str(block.width),) if self.reads_width else ()
        return (*width, *(str(extra.values[block.name]) for extra in self.extras))

    def dilations_of(self, block: Block) -> Mapping[str, int]:
        """The block's values for `dilations`; 1 where it has not even the convolution."""
        return {extra.name: extra.values.get(block.name, 1) for extra in self.dilations}

    @property
    def stride_varies(self) -> bool:
        return self.stride == "stride"

    @property
    def pads_zeros(self) -> bool:
        """Whether any block of this kind has option A's shortcut."""
        return self.shortcut == "zero_pad"

    @property
    def projects(self) -> bool:
        """Whether any block of this kind has a projected shortcut."""
        return self.shortcut == "projection"

    @property
    def squeezes_input(self) -> bool:
        """Whether the channels inside squeeze-and-excitation follow from the block's input."""
        squeezed = (layer.expressions.get("squeezed", "") for layer in self.main)
        return any("in_channels" in text.split() for text in squeezed)

    @property
    def lacks_pool(self) -> bool:
        """Whether the place of a pool in its shortcuts is there, and empty in all of them."""
        return bool(self.side) and self.side[0].name == "downsample.1"

    @property
    def has_shortcut(self) -> bool:
        return self.shortcut != "none"


@dataclass(frozen=True, slots=True)
class _Shape:
    """What blocks have in common; None where none of them shows it."""

    title: BlockTitle
    main: _Form
    tail: _Form
    strided: tuple[str, ...] | None
    """The convolution that carries the stride; or what a filter reads, and the filter."""
    side: _Form | None

    def merged(self, other: "_Shape") -> "_Shape | None":
        """The shape of both, where they do not contradict each other."""
        if (self.title, self.main, self.tail) != (other.title, other.main, other.tail):
            return None
        if None not in (self.strided, other.strided) and self.strided != other.strided:
            return None
        if None not in (self.side, other.side) and self.side != other.side:
            return None
        strided, side = self.strided or other.strided, self.side or other.side
        return _Shape(self.title, self.main, self.tail, strided, side)


@dataclass(frozen=True, slots=True)
class _Group:
    """Blocks of one kind, and what they have in common."""

    shape: _Shape
    blocks: tuple[Block, ...]


def kinds(network: Network, *, channels_word: str = "out_channels") -> tuple[Kind, ...]:
    """The kinds of block in order of appearance, with names that differ.

    `channels_word` is what the framework calls a layer's output channels.
    """
    groups: list[_Group] = []
    for stage in network.stages:
        # Within the stage first: a block without a stride may fit to several others.
        own: list[_Group] = []
        for _, alike in groupby(stage.blocks, key=_variant):
            blocks = tuple(alike)
            _merge(_Group(_shape(blocks[0]), blocks), own)
        for group in own:
            _merge(group, groups)
    named: dict[str, int] = {}
    found: list[Kind] = []
    for group in groups:
        class_name, function_name = _names(group.blocks[0])
        number = named[class_name] = named.get(class_name, 0) + 1
        suffix = "" if number == 1 else str(number)
        kind_names = (f"{class_name}{suffix}", f"{function_name}{suffix}")
        found.append(_kind(group, names=kind_names, channels_word=channels_word))
    return tuple(found)


def kind_of(block: Block, found: Iterable[Kind]) -> Kind:
    """The kind that the block is of."""
    return next(kind for kind in found if block.name in kind.blocks)


def _merge(group: _Group, groups: list[_Group]) -> None:
    """Puts the blocks of `group` to the first whose shape they do not contradict."""
    for index, known in enumerate(groups):
        if (shape := known.shape.merged(group.shape)) is not None:
            groups[index] = _Group(shape, (*known.blocks, *group.blocks))
            return
    groups.append(group)


def _variant(block: Block) -> tuple[int, str, int]:
    """In what the blocks of a stage may differ beside channels: no other need be looked at."""
    return (block.stride, block.shortcut, len(block.ops))


def _shape(block: Block) -> _Shape:
    return _Shape(
        title=block.title,
        main=_form((*block.preactivation, *block.main), block),
        tail=_form(block.tail, block),
        strided=_strided(block),
        side=(block.shortcut, _form(block.side, block)) if block.side else None,
    )


def _strided(block: Block) -> tuple[str, ...] | None:
    for op in block.main:
        match op:
            case Conv2d() if op.stride != 1:
                return (local_name(op.name, block),)
            case AvgPool2d() | BlurPool() if op.stride != 1:
                return (local_name(op.inputs[0], block), local_name(op.name, block))
            case _:
                pass
    return None


def _form(ops: Sequence[Op], block: Block) -> _Form:
    """All that is fixed in a kind: nothing of those ops that only a block's own stride decides."""
    attention = set(block.attention)
    return tuple(
        (local_name(op.name, block), type(op), *(() if op in attention else _fixed(op)))
        for op in ops
        if not (isinstance(op, Subsample | PadChannels) or takes_stride(op))
    )


def _fixed(op: Op) -> _Form:
    return tuple(getattr(op, each.name) for each in fields(op) if each.name not in _VARYING)


def _kind(group: _Group, *, names: tuple[str, str], channels_word: str) -> Kind:
    shape, blocks = group.shape, group.blocks
    reshaped = [block for block in blocks if block.side]
    strides = {block.stride for block in blocks}
    stride = str(strides.pop()) if len(strides) == 1 else "stride"
    only_width = all(conv.out_channels == b.width for b in blocks for conv in b.convolutions)
    width_name = channels_word if only_width else "width"
    # A block with a stride has all that the others have, and what strides.
    sample = max(blocks, key=lambda block: (block.stride, len(block.side)))
    dilations = varying_dilations(blocks)
    drop_paths = varying_drop_paths(blocks)
    main, extras = main_layers(
        blocks,
        sample,
        width_name,
        dilations,
        strided=shape.strided,
        stride=stride,
        rate="drop_path" if drop_paths else None,
    )
    out_channels = last_channels(main)
    activation = sample.activation
    shortcut_strides = frozenset(block.stride for block in reshaped)
    return Kind(
        class_name=names[0],
        function_name=names[1],
        title=shape.title,
        blocks=frozenset(block.name for block in blocks),
        shortcut=sample.shortcut,
        reshapes=extent(bool(block.side) for block in blocks),
        width_name=width_name,
        reads_width=any(_reads(layer, width_name) for layer in main),
        extras=extras,
        dilations=tuple({extra.name: extra for extra in dilations.values()}.values()),
        drop_paths=drop_paths,
        stride=stride,
        shortcut_strides=shortcut_strides,
        preactivation=preactivation_layers(sample),
        main=main,
        side=side_layers(
            sample, out_channels, dilations, stride=stride, sometimes_strided=1 in shortcut_strides
        ),
        activation=activation and Layer(local_name(activation.name, sample), activation),
        out_channels=out_channels,
    )


def _reads(layer: Layer, parameter: str) -> bool:
    """Whether any of the layer's expressions is in this parameter."""
    return any(parameter in text.split() for text in layer.expressions.values())


def _names(block: Block) -> tuple[str, str]:
    class_name, function_name = {
        "basic": ("BasicBlock", "basic_block"),
        "bottleneck": ("Bottleneck", "bottleneck"),
        "custom": ("ConvBlock", "conv_block"),
    }[block.title]
    prefixes: list[tuple[str, str]] = []
    if block.shortcut == "none":
        prefixes.append(("Plain", "plain_"))
    if block.shortcut == "subsample":
        prefixes.append(("Strided", "strided_"))
    if block.preactivation:
        prefixes.append(("PreAct", "preact_"))
    elif block.activation is None:
        prefixes.append(("First", "first_"))
    words = [*prefixes, (class_name, function_name)]
    return "".join(word for word, _ in words), "".join(word for _, word in words)
