"""Writes layers as Keras code: calls that make them and apply them in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.layers import Layer
from resnetgen.emit.queries import Extent
from resnetgen.emit.render import applied, call
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
    Norm,
    Op,
    Padding,
    Same,
    Scale,
    Subsample,
)

_ACTIVATIONS: Mapping[str, str] = {
    "relu": "ReLU(",
    "silu": 'Activation("silu", ',
    "gelu": "Activation(gelu, ",
}


@dataclass(frozen=True, slots=True)
class Style:
    """What decides how a convolution and its norm are written."""

    paired: bool
    norm: str
    """What stands for the norm in names: `bn` or `gn`."""
    biases: str
    """Which convolutions have a bias, those of attention aside."""
    same: Extent
    """Which convolutions with a kernel above 1 have SAME padding."""


def layer_lines(
    layers: Sequence[Layer],
    style: Style,
    *,
    variable: str,
    source: str,
    prefix: str,
    indent: int,
    assign: str | None = None,
) -> tuple[str, ...]:
    """Applies the layers one after another; `prefix` goes before each name.

    `assign` stands in front of each call, instead of an assignment to `variable`.
    """
    head = f"{variable} = " if assign is None else assign
    lines: list[str] = []
    margin = " " * indent
    for before, layer, following in zip((None, *layers), layers, (*layers[1:], None), strict=False):
        name = _name(layer, prefix)
        match layer.op:
            case Conv2d():
                norm = following if style.paired else None
                names = (
                    {"name": name}
                    if norm is None
                    else {"conv": name, style.norm: _name(norm, prefix)}
                )
                function = f"conv_{style.norm}" if style.paired else "conv"
                if _pads_apart(layer.op, style):
                    pad = f"layers.ZeroPadding2D({layer.op.extent // 2}, name={_pad_name(name)})"
                    lines.append(f"{margin}{variable} = {pad}({source})")
                    source = variable
                arguments = _convolution(layer, norm, style, source=source, names=names)
                lines += call(f"{head}{function}(", arguments, indent=indent)
            case BatchNorm2d() | GroupNorm():
                if not style.paired:
                    function = "group_norm" if style.norm == "gn" else "batch_norm"
                    arguments = [source, *_gamma(layer), f"name={name}"]
                    lines += call(f"{head}{function}(", arguments, indent=indent)
            case Activation():
                lines.append(f"{margin}{variable} = {activation(layer, name)}({source})")
            case MaxPool2d():
                reads = None if before is None else before.op
                lines += _max_pool_lines(layer.op, variable, reads, source=source, indent=indent)
            case Subsample():
                pool = f"layers.AveragePooling2D(1, strides={layer.text('stride')}, name={name})"
                lines += (
                    f"{margin}# A pool of single pixels takes every stride-th one.",
                    f"{margin}{variable} = {pool}({source})",
                )
            case Scale():
                lines.append(f"{margin}{head}{_attention_call(layer, source, name)}")
            case Dropout():
                call_head = f"{head}layers.Dropout({layer.text('rate')}, name={name})"
                lines.append(f"{margin}{call_head}({source})")
            case DropPath():
                arguments = [layer.text("rate"), "noise_shape=(None, 1, 1, 1)", f"name={name}"]
                lines += applied(f"{head}layers.Dropout(", arguments, source, indent=indent)
            case AvgPool2d() | BlurPool():
                if layer.optional:
                    lines.append(f"{margin}if stride > 1:")
                deeper = indent + 4 if layer.optional else indent
                lines += _striding_lines(layer, variable, source, name, indent=deeper)
            case _:
                raise AssertionError(f"{layer.op.name}: {type(layer.op).__name__} is no layer")
        source = variable
    return tuple(lines)


def activation(layer: Layer, name: str) -> str:
    """The layer that an activation is; `name` is an expression."""
    return f"layers.{_ACTIVATIONS[layer.text('function')]}name={name})"


def _name(layer: Layer, prefix: str) -> str:
    """A layer's name as an expression; underscores stand for the dots of the canonical one."""
    name = prefix + layer.name.replace(".", "_")
    return f'f"{name}"' if "{" in name else f'"{name}"'


def _convolution(
    conv: Layer, norm: Layer | None, style: Style, *, source: str, names: Mapping[str, str]
) -> list[str]:
    """The arguments for a convolution, and for the norm behind it."""
    assert isinstance(conv.op, Conv2d), f"{conv.op.name}: {type(conv.op).__name__}"
    symmetric = conv.op.padding == Padding.symmetric(conv.op.extent // 2)
    assert symmetric or isinstance(conv.op.padding, Same), conv.op
    arguments = [source, conv.text("out_channels"), conv.text("kernel")]
    if conv.text("stride") != "1":
        arguments.append(f"stride={conv.text('stride')}")
    if _pads_apart(conv.op, style):
        arguments.append('padding="valid"')
    if conv.text("dilation") != "1":
        arguments.append(f"dilation={conv.text('dilation')}")
    if conv.text("groups") != "1":
        arguments.append(f"groups={conv.text('groups')}")
    if style.biases == "sometimes" and conv.op.bias:
        arguments.append("use_bias=True")
    if norm is not None:
        arguments += _gamma(norm)
    return [*arguments, *(f"{key}={name}" for key, name in names.items())]


def _pads_apart(op: Conv2d, style: Style) -> bool:
    """Whether a layer in front of the convolution pads for it, where others have SAME padding."""
    return style.same == "sometimes" and op.kernel > 1 and not isinstance(op.padding, Same)


def _gamma(norm: Layer) -> list[str]:
    zero = isinstance(norm.op, Norm) and norm.op.zero_gamma
    return ['gamma="zeros"'] if zero else []


def _striding_lines(
    layer: Layer, variable: str, source: str, name: str, *, indent: int
) -> tuple[str, ...]:
    match layer.op:
        case AvgPool2d() if layer.op.counts_padding:
            side = layer.op.padding
            pixels = f"(({side.top}, {side.bottom}), ({side.left}, {side.right}))"
            padded = f"{variable} = layers.ZeroPadding2D("
            pool = [str(layer.op.kernel), "strides=1", f"name={name}"]
            return (
                *applied(padded, [pixels, f"name={_pad_name(name)}"], source, indent=indent),
                *applied(f"{variable} = layers.AveragePooling2D(", pool, variable, indent=indent),
            )
        case AvgPool2d():
            # Keras does not count what "same" pads at the end of an odd size.
            same = ['padding="same"'] if layer.op.padding.bottom else []
            pool = [layer.text("kernel"), *same, f"name={name}"]
            head = f"{variable} = layers.AveragePooling2D("
            return applied(head, pool, source, indent=indent)
        case _:
            arguments = [source, layer.text("stride"), f"name={name}"]
            return call(f"{variable} = blur_pool(", arguments, indent=indent)


def _pad_name(name: str) -> str:
    """The name of what pads for a layer, as an expression like that layer's."""
    return name[:-1] + '_pad"'


def _attention_call(layer: Layer, source: str, name: str) -> str:
    if "squeezed" in layer.expressions:
        return f"squeeze_excite({source}, {layer.text('squeezed')}, name={name})"
    kernel_size = layer.text("kernel_size")
    return f"efficient_channel_attention({source}, {kernel_size}, name={name})"


def pads_with_zeros(op: MaxPool2d, before: Op | None) -> bool:
    """Whether zeros are what the pool's padding counts as, or never above what it sees."""
    rectified = isinstance(before, Activation) and before.function == "relu"
    return op.pads_zeros or rectified


def _max_pool_lines(
    op: MaxPool2d, variable: str, before: Op | None, *, source: str, indent: int
) -> tuple[str, ...]:
    margin = " " * indent
    name = op.name.replace(".", "_")
    side = op.padding
    if isinstance(side, Same):
        window = [str(op.kernel), f"strides={op.stride}", 'padding="same"', f'name="{name}"']
        return applied(f"{variable} = layers.MaxPooling2D(", window, source, indent=indent)
    rows, columns = f"({side.top}, {side.bottom})", f"({side.left}, {side.right})"
    pool = f'layers.MaxPooling2D({op.kernel}, strides={op.stride}, name="{name}")({variable})'
    if not pads_with_zeros(op, before):
        pads = f"((0, 0), {rows}, {columns}, (0, 0))"
        padded = call("ops.pad(", [source, pads, 'constant_values=-float("inf")'], indent=0)
        return (f"{margin}{variable} = {padded[0]}", f"{margin}{variable} = {pool}")
    pixels = f"({rows}, {columns})" if side != Padding.symmetric(side.top) else str(side.top)
    padding = f'layers.ZeroPadding2D({pixels}, name="{name}_pad")({source})'
    comment = "# Zeros are exact here because the ReLU's output is never negative."
    return (
        *(() if op.pads_zeros else (f"{margin}{comment}",)),
        f"{margin}{variable} = {padding}",
        f"{margin}{variable} = {pool}",
    )
