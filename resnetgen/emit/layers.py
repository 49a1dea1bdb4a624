"""Ops as sources write them: each number a literal, or an expression in a block's parameters."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from resnetgen.ir.ops import Activation, Conv2d, Op, Padding, Same


@dataclass(frozen=True, slots=True)
class Layer:
    """One op of a network, or of all blocks of a kind.

    `name` is its name in its block, and `op` what it is in one of them.
    """

    name: str
    op: Op
    expressions: Mapping[str, str] = field(default_factory=dict[str, str])
    """What stands for an attribute that is not the same in all of the kind's blocks."""
    optional: bool = False
    """Whether only those of the kind's blocks have it whose stride is above 1."""

    def text(self, attribute: str) -> str:
        """The attribute as the source writes it."""
        return self.expressions.get(attribute) or str(getattr(self.op, attribute))


def literal(ops: Iterable[Op]) -> tuple[Layer, ...]:
    """Layers of ops that the source has once, so that all of their numbers are literals."""
    return tuple(Layer(op.name, op) for op in ops)


@dataclass(frozen=True, slots=True)
class Member:
    """An attribute of a module: one layer, or several in a row.

    `downsample.0` and `downsample.1` are the sequence `downsample`.
    """

    name: str
    layers: tuple[Layer, ...]
    is_sequence: bool

    @property
    def is_activation(self) -> bool:
        return not self.is_sequence and isinstance(self.layers[0].op, Activation)


def members(layers: Iterable[Layer]) -> tuple[Member, ...]:
    """What the layers are attributes of, in order."""
    found = groupby(layers, key=lambda layer: layer.name.partition(".")[0])
    return tuple(
        Member(name, group, is_sequence=group[0].name != name)
        for name, group in ((name, tuple(each)) for name, each in found)
    )


def chains(layers: Iterable[Layer]) -> Iterator[tuple[Member, ...]]:
    """Members that one line applies after another: up to each activation, and what is left."""
    chain: list[Member] = []
    for member in members(layers):
        chain.append(member)
        if member.is_activation:
            yield tuple(chain)
            chain = []
    if chain:
        yield tuple(chain)


@dataclass(frozen=True, slots=True)
class Form:
    """What convolutions share that have a helper of their own."""

    kernel: int
    dilation: str
    """A number, or an expression in a block's parameters; as are those that follow."""
    padding: str
    """Pixels on each side, where that is not SAME."""
    groups: str
    bias: bool
    same: bool
    """Whether it has SAME padding."""

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same in all blocks, and not dilated, so that a helper can hold it."""
        return self.groups.isdecimal() and self.dilation == "1"


def form(layer: Layer, op: Conv2d) -> Form:
    """The form of a layer that is a convolution."""
    same, pixels = isinstance(op.padding, Same), op.extent // 2
    assert same or op.padding == Padding.symmetric(pixels), f"{op.name}: {op.padding}"
    dilation, reach = layer.text("dilation"), op.kernel // 2
    padding = f"{pixels}"
    if not dilation.isdecimal():
        padding = dilation if reach == 1 else f"{reach} * {dilation}"
    return Form(op.kernel, dilation, padding, layer.text("groups"), op.bias, same)


def repeated_forms(layers: Iterable[Layer]) -> dict[Form, str]:
    """The forms that convolutions have more than once, and the names of their helpers."""
    uses = Counter(form(layer, layer.op) for layer in layers if isinstance(layer.op, Conv2d))
    repeated = [each for each, number in uses.items() if number > 1 and each.is_fixed]
    # Where some have a bias and some have none, it is what most do not expect.
    mixed = len({each.bias for each in uses}) > 1
    padded = {(each.kernel, each.same) for each in uses}
    several = len({each.groups for each in repeated} - {"1"}) > 1
    ordered = sorted(
        repeated, key=lambda each: (each.kernel, each.same, int(each.groups), each.bias)
    )
    return {
        each: _form_name(
            each,
            same=each.same and (each.kernel, False) in padded,
            biased=mixed and each.bias,
            numbered=several,
        )
        for each in ordered
    }


def _form_name(each: Form, *, same: bool, biased: bool, numbered: bool) -> str:
    grouped = f"grouped{each.groups if numbered else ''}_"
    words = (
        "same_" if same else "",
        "biased_" if biased else "",
        "" if each.groups == "1" else grouped,
    )
    return f"{''.join(words)}conv{each.kernel}x{each.kernel}"
