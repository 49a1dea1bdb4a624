"""Writes layers as PyTorch code: attributes that hold them, and lines that apply them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.layers import Form, Layer, Member, chains, form, members
from resnetgen.emit.render import Item, call, call_of, where_strided
from resnetgen.ir.ops import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    BlurPool,
    Conv2d,
    Dropout,
    DropPath,
    Function,
    GroupNorm,
    MaxPool2d,
    Padding,
    Same,
    Scale,
    Subsample,
)

_ACTIVATIONS: Mapping[Function, str] = {"relu": "nn.ReLU", "silu": "nn.SiLU", "gelu": "nn.GELU"}


@dataclass(frozen=True, slots=True)
class Helper:
    """A module-level function for layers of one form."""

    name: str
    signature: tuple[str, ...]
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Style:
    """What decides how a layer is written: the network's constants and the file's helpers."""

    helpers: Mapping[Form, Helper]
    norm: Helper | None
    in_place: bool = True
    """Whether a ReLU may overwrite its input: not where a shortcut reads that as well."""


def make(layer: Layer, style: Style) -> tuple[str, list[str]]:
    """The function that makes a layer's module, and its arguments."""
    match layer.op:
        case Conv2d():
            return _convolution(layer, layer.op, style)
        case BatchNorm2d() | GroupNorm():
            function = "nn.BatchNorm2d" if style.norm is None else style.norm.name
            return function, [layer.text("channels")]
        case Activation():
            overwrites = style.in_place and layer.op.function == "relu"
            return _ACTIVATIONS[layer.op.function], ["inplace=True"] if overwrites else []
        case MaxPool2d():
            return _max_pool(layer.op)
        case Subsample():
            return "nn.MaxPool2d", ["kernel_size=1", f"stride={layer.text('stride')}"]
        case Scale():
            if "squeezed" in layer.expressions:
                return "SqueezeExcite", [layer.text("channels"), layer.text("squeezed")]
            return "EfficientChannelAttention", [layer.text("kernel_size")]
        case AvgPool2d() if layer.op.counts_padding:
            return "nn.Sequential", [
                _zero_pad(layer.op),
                f"nn.AvgPool2d({layer.op.kernel}, stride=1)",
            ]
        case AvgPool2d():
            ceil = ["ceil_mode=True", "count_include_pad=False"] if layer.op.padding.bottom else []
            return "nn.AvgPool2d", [layer.text("kernel"), *ceil]
        case Dropout():
            return "nn.Dropout", [layer.text("rate")]
        case DropPath():
            return "DropPath", [layer.text("rate")]
        case BlurPool():
            return "BlurPool", [layer.text("stride")]
        case _:
            raise AssertionError(f"{layer.op.name}: no module makes a {type(layer.op).__name__}")


def _convolution(layer: Layer, op: Conv2d, style: Style) -> tuple[str, list[str]]:
    stride = layer.text("stride")
    arguments = [layer.text("in_channels"), layer.text("out_channels")]
    if (each := form(layer, op)) in style.helpers:
        name = style.helpers[each].name
        return name, arguments if stride == "1" else [*arguments, stride]
    arguments.append(f"kernel_size={op.kernel}")
    if stride != "1":
        arguments.append(f"stride={stride}")
    if each.padding != "0" and not each.same:
        arguments.append(f"padding={each.padding}")
    if each.dilation != "1":
        arguments.append(f"dilation={each.dilation}")
    if each.groups != "1":
        arguments.append(f"groups={each.groups}")
    if not op.bias:
        arguments.append("bias=False")
    return "SameConv2d" if each.same else "nn.Conv2d", arguments


def assignments(
    layers: Sequence[Layer], style: Style, *, indent: int, activated: bool = False
) -> tuple[str, ...]:
    """Makes every layer an attribute; activations, which have no weights, share one.

    `activated` says whether that one is there already.
    """
    lines: list[str] = []
    for member in members(layers):
        if member.is_sequence:
            made = [item(layer, style) for layer in member.layers]
            lines += call_of(f"self.{member.name} = nn.Sequential(", made, indent=indent)
            continue
        if member.is_activation and activated:
            continue
        activated = activated or member.is_activation
        layer = member.layers[0]
        if layer.optional:
            made, name = one_line(layer, style), f"self.{member.name}"
            lines += where_strided(name, made, "nn.Identity()", indent=indent)
            continue
        function, arguments = make(layer, style)
        lines += call(f"self.{_attribute(member)} = {function}(", arguments, indent=indent)
    return tuple(lines)


def _max_pool(op: MaxPool2d) -> tuple[str, list[str]]:
    window = [f"kernel_size={op.kernel}", f"stride={op.stride}"]
    if isinstance(op.padding, Same):
        return "SameMaxPool2d", window
    if op.pads_zeros:
        pool = f"nn.MaxPool2d({', '.join(window)})"
        return "nn.Sequential", [f"nn.ZeroPad2d({op.padding.top})", pool]
    if op.padding == Padding(0, 0, op.stride - 1, op.stride - 1):
        return "nn.MaxPool2d", [*window, "ceil_mode=True"]
    assert op.padding == Padding.symmetric(op.padding.top), f"{op.name}: {op.padding}"
    return "nn.MaxPool2d", [*window, f"padding={op.padding.top}"]


def _zero_pad(op: AvgPool2d) -> str:
    side = op.padding
    return f"nn.ZeroPad2d(({side.left}, {side.right}, {side.top}, {side.bottom}))"


def item(layer: Layer, style: Style) -> Item:
    """The layer's module as an argument of a call."""
    function, arguments = make(layer, style)
    return Item(function, tuple(arguments))


def one_line(layer: Layer, style: Style) -> str:
    return item(layer, style).text


def forward(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Applies the layers to x, a line up to each activation."""
    return tuple(f"        x = {_applied(chain)}" for chain in chains(layers))


def _applied(chain: Sequence[Member]) -> str:
    applied = "x"
    for member in chain:
        applied = f"self.{_attribute(member)}({applied})"
    return applied


def _attribute(member: Member) -> str:
    """The member's name in the source, where all activations share one."""
    return member.layers[0].text("function") if member.is_activation else member.name
