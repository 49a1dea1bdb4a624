"""Writes layers as Flax code: attributes that hold them, and lines that apply them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.layers import Form, Layer, chains, form, members
from resnetgen.emit.queries import Constants
from resnetgen.emit.render import LINE_LENGTH, Item, call, where_strided
from resnetgen.ir.ops import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    BlurPool,
    Conv2d,
    Dropout,
    DropPath,
    GroupNorm,
    MaxPool2d,
    Scale,
    Subsample,
)

RNGS = "rngs=rngs"


IDENTITY = Item("identity")
_MADE = (Conv2d, BatchNorm2d, GroupNorm, Scale, AvgPool2d, BlurPool, Dropout, DropPath)
"""Ops that are attributes of their module; others are functions where they are applied."""


@dataclass(frozen=True, slots=True)
class Style:
    """What decides how a layer is written: the file's helpers and the network's constants."""

    helpers: Mapping[Form, str]
    shared: Constants


def window_arguments(each: Form, shared: Constants) -> list[str]:
    padding = '"SAME"' if each.same else each.padding
    window = [f"kernel_size=({each.kernel}, {each.kernel})", f"padding={padding}"]
    if each.dilation != "1":
        window.append(f"kernel_dilation={each.dilation}")
    if each.groups != "1":
        window.append(f"feature_group_count={each.groups}")
    return [*window, "use_bias=True"] if each.bias and not shared.bias else window


def norm_name(shared: Constants) -> str:
    return "group_norm" if isinstance(shared.norm, GroupNorm) else "batch_norm"


def assignments(layers: Sequence[Layer], style: Style, *, indent: int) -> tuple[str, ...]:
    """Makes every layer that has weights an attribute."""
    lines: list[str] = []
    for member in members(layers):
        layer = member.layers[0]
        if member.is_sequence:
            items = [make(each, style) for each in member.layers]
            lines += listed(f"self.{member.name} = nnx.List(", items, indent=indent)
        elif layer.optional:
            made, name = make(layer, style).text, f"self.{member.name}"
            lines += where_strided(name, made, IDENTITY.text, indent=indent)
        elif isinstance(layer.op, _MADE):
            function, arguments = _call(layer, style)
            lines += call(f"self.{member.name} = {function}(", arguments, indent=indent)
    return tuple(lines)


def make(layer: Layer, style: Style) -> Item:
    """What a list has for the layer: a module, or a function where there are no weights."""
    if isinstance(layer.op, Activation):
        return Item(activation(layer))
    if isinstance(layer.op, MaxPool2d):
        return Item("max_pool")
    function, arguments = _call(layer, style)
    return Item(function, tuple(arguments))


def _call(layer: Layer, style: Style) -> tuple[str, list[str]]:
    """The function that makes a layer, and its arguments."""
    match layer.op:
        case Conv2d():
            return _convolution(layer, layer.op, style)
        case BatchNorm2d() | GroupNorm():
            name = norm_name(style.shared)
            function = f"last_{name}" if layer.op.zero_gamma else name
            return function, [layer.text("channels"), RNGS]
        case Scale():
            if "squeezed" in layer.expressions:
                sizes = [layer.text("channels"), layer.text("squeezed")]
                return "SqueezeExcite", [*sizes, RNGS]
            return "EfficientChannelAttention", [layer.text("kernel_size"), RNGS]
        case AvgPool2d():
            stride = layer.text("stride")
            if layer.op.counts_padding:
                window = f"window_shape=({layer.op.kernel}, {layer.op.kernel})"
                return "partial", ["nnx.avg_pool", window, 'padding="SAME"']
            if layer.op.padding.bottom:
                return "average_pool", [stride]
            window = f"({stride}, {stride})"
            return "partial", ["nnx.avg_pool", f"window_shape={window}", f"strides={window}"]
        case Subsample():
            strides = f"({layer.text('stride')}, {layer.text('stride')})"
            return "partial", ["nnx.max_pool", "window_shape=(1, 1)", f"strides={strides}"]
        case Dropout():
            return "nnx.Dropout", [layer.text("rate"), RNGS]
        case DropPath():
            return "nnx.Dropout", [layer.text("rate"), "broadcast_dims=(1, 2, 3)", RNGS]
        case BlurPool():
            return "partial", ["blur_pool", f"stride={layer.text('stride')}"]
        case _:
            raise AssertionError(f"{layer.op.name}: {type(layer.op).__name__} has no weights")


def _convolution(layer: Layer, op: Conv2d, style: Style) -> tuple[str, list[str]]:
    arguments = [layer.text("in_channels"), layer.text("out_channels")]
    strides = [] if layer.text("stride") == "1" else [f"strides={layer.text('stride')}"]
    if (each := form(layer, op)) in style.helpers:
        return style.helpers[each], [*arguments, *strides, RNGS]
    window, *others = window_arguments(each, style.shared)
    return "conv", [*arguments, window, *strides, *others, RNGS]


def forward(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Applies the layers to x, a line up to each activation, and a loop for each list."""
    lines: list[str] = []
    for chain in chains(layers):
        applied = "x"
        for member in chain:
            if member.is_sequence:
                if applied != "x":
                    lines.append(f"        x = {applied}")
                    applied = "x"
                lines += (
                    f"        for layer in self.{member.name}:",
                    "            x = layer(x)",
                )
            else:
                applied = _applied(member.layers[0], applied)
        if applied != "x":
            lines.append(f"        x = {applied}")
    return tuple(lines)


def _applied(layer: Layer, value: str) -> str:
    match layer.op:
        case Activation():
            return f"{activation(layer)}({value})"
        case MaxPool2d():
            return f"max_pool({value})"
        case _:
            return f"self.{layer.name}({value})"


def activation(layer: Layer) -> str:
    """The function that an activation is: of `gelu` the source has its own, which is exact."""
    function = layer.text("function")
    return function if function == "gelu" else f"nnx.{function}"


def listed(head: str, items: Sequence[Item], *, indent: int) -> tuple[str, ...]:
    """A call whose one argument is a list, broken as `ruff format` does."""
    outer, inner = " " * indent, " " * (indent + 4)
    alone = len(items) == 1 and items[0].loop is not None
    listed = f"[{items[0].repeated if alone else ', '.join(item.text for item in items)}]"
    if len(outer) + len(head) + len(listed) + 1 <= LINE_LENGTH:
        return (f"{outer}{head}{listed})",)
    if len(inner) + len(listed) <= LINE_LENGTH:
        return (f"{outer}{head}", f"{inner}{listed}", f"{outer})")
    lines = [line for item in items for line in item.lines(indent=indent + 8)]
    if alone:
        lines = items[0].repeated_lines(indent=indent + 8)
    return (f"{outer}{head}", f"{inner}[", *lines, f"{inner}]", f"{outer})")
