"""Emits `model_torch.py`: the network as PyTorch modules whose paths are the canonical names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.kinds import Kind, kinds
from resnetgen.emit.layers import (
    Form,
    Layer,
    Member,
    chains,
    form,
    literal,
    members,
    repeated_forms,
)
from resnetgen.emit.render import call, render
from resnetgen.emit.source import (
    Constants,
    attentions,
    biases,
    block_keywords,
    block_parameters,
    block_summary,
    blur_padding,
    constants,
    docstring,
    example_shape,
    header,
    is_torchvision,
    network_class,
    runs,
    zeroed_norm,
)
from resnetgen.emit.target import Target
from resnetgen.ir.network import Network, Stage
from resnetgen.ir.ops import AvgPool2d, BatchNorm2d, BlurPool, Conv2d, MaxPool2d, Relu, Scale

FILE = "model_torch.py"
# PyTorch's own defaults; a layer that has them does not repeat them.
_DEFAULT_EPSILON, _DEFAULT_MOMENTUM = 1e-5, 0.1


@dataclass(frozen=True, slots=True)
class _Helper:
    """A module-level function for convolutions of one size."""

    signature: tuple[str, ...]
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _BlockView:
    """One block class, its calls broken into lines."""

    class_name: str
    summary: str
    signature: tuple[str, ...]
    layers: tuple[str, ...]
    downsample: tuple[str, ...]
    reshapes: str
    forward: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """All that the template writes."""

    header: tuple[str, ...]
    docstring: tuple[str, ...]
    is_torchvision: bool
    pads_zeros: bool
    attentions: frozenset[str]
    blur_padding: str | None
    network_class: str
    factory: str
    factory_signature: tuple[str, ...]
    channels: int
    helpers: tuple[_Helper, ...]
    batch_norm: str | None
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    forward: tuple[str, ...]
    features: int
    classes: int
    init_mode: str
    bias: bool
    linear_init: str
    zeroed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Style:
    """What decides how a layer is written: the network's constants and the file's helpers."""

    shared: Constants
    helpers: Mapping[Form, _Helper]


def emit(network: Network) -> Mapping[str, bytes]:
    """The PyTorch source of `network`."""
    return {FILE: render("torch/model.py.jinja", _view(network)).encode()}


def usage(network: Network) -> tuple[str, ...]:
    """How to load the model with its weights."""
    return (
        "import model_torch",
        "import torch",
        "from safetensors.torch import load_file",
        "",
        f"model = model_torch.{network.name}()",
        'model.load_state_dict(load_file("model.safetensors"))',
        "model.eval()",
        f"logits = model(torch.zeros{example_shape(network)})",
    )


TARGET = Target("torch", source=FILE, emit=emit, usage=usage, title="PyTorch")


def _view(network: Network) -> _View:
    shared = constants(network)
    found = kinds(network)
    stem = literal(network.stem[1:])
    written = [*stem, *(layer for kind in found for layer in (*kind.main, *kind.side))]
    style = _Style(shared, _helpers(written, shared))
    returned = network_class(network)
    stages = [f"self.{stage.name}" for stage in network.stages]
    return _View(
        header=header(network, "torch"),
        docstring=docstring(network, "PyTorch"),
        is_torchvision=is_torchvision(network),
        pads_zeros=any(kind.pads_zeros for kind in found),
        attentions=attentions(network),
        blur_padding=blur_padding(network, "self.stride"),
        network_class=returned,
        factory=network.name,
        factory_signature=call(
            f"def {network.name}(",
            [f"num_classes: int = {network.classes}"],
            f") -> {returned}:",
            indent=0,
        ),
        channels=network.input_channels,
        helpers=tuple(style.helpers.values()),
        batch_norm=_batch_norm_helper(shared),
        blocks=tuple(_block_view(kind, style) for kind in found),
        stem=_assignments(stem, style, indent=8),
        stages=tuple(_stage_lines(stage, found) for stage in network.stages),
        forward=(*_forward(stem), *(f"        x = {stage}(x)" for stage in stages)),
        features=shared.features,
        classes=network.classes,
        init_mode=shared.conv_init.removeprefix("he_"),
        bias=biases(network) != "never",
        linear_init=shared.linear_init,
        zeroed=tuple((kind.class_name, norm) for kind in found if (norm := zeroed_norm(kind))),
    )


def _helpers(written: Sequence[Layer], shared: Constants) -> dict[Form, _Helper]:
    """A function for each form of convolution that is written several times."""
    style = _Style(shared, {})
    found: dict[Form, _Helper] = {}
    for repeated in repeated_forms(written):
        same = [
            layer
            for layer in written
            if isinstance(layer.op, Conv2d) and form(layer.op) == repeated
        ]
        strided = any(layer.text("stride") != "1" for layer in same)
        parameters = ["in_channels: int", "out_channels: int"]
        if strided:
            parameters.append("stride: int = 1")
        arguments = {
            "in_channels": "in_channels",
            "out_channels": "out_channels",
            "stride": "stride" if strided else "1",
        }
        function, written_arguments = _made(Layer("", same[0].op, arguments), style)
        found[repeated] = _Helper(
            signature=call(f"def {repeated.name}(", parameters, ") -> nn.Conv2d:", indent=0),
            body=call(f"return {function}(", written_arguments, indent=4),
        )
    return found


def _made(layer: Layer, style: _Style) -> tuple[str, list[str]]:
    """The function that makes a layer's module, and its arguments."""
    match layer.op:
        case Conv2d():
            return _convolution(layer, layer.op, style)
        case BatchNorm2d():
            helper = _batch_norm_helper(style.shared)
            return "nn.BatchNorm2d" if helper is None else "batch_norm", [layer.text("channels")]
        case Relu():
            return "nn.ReLU", ["inplace=True"]
        case MaxPool2d():
            stride, padding = f"stride={layer.op.stride}", f"padding={layer.op.padding.top}"
            return "nn.MaxPool2d", [f"kernel_size={layer.op.kernel}", stride, padding]
        case Scale():
            if "squeezed" in layer.expressions:
                return "SqueezeExcite", [layer.text("channels"), layer.text("squeezed")]
            return "EfficientChannelAttention", [layer.text("kernel_size")]
        case AvgPool2d():
            ceil = ["ceil_mode=True", "count_include_pad=False"] if layer.op.padding.bottom else []
            return "nn.AvgPool2d", [layer.text("kernel"), *ceil]
        case BlurPool():
            return "BlurPool", [layer.text("stride")]
        case _:
            raise AssertionError(f"{layer.op.name}: no module makes a {type(layer.op).__name__}")


def _convolution(layer: Layer, op: Conv2d, style: _Style) -> tuple[str, list[str]]:
    stride = layer.text("stride")
    arguments = [layer.text("in_channels"), layer.text("out_channels")]
    if form(op) in style.helpers:
        return form(op).name, arguments if stride == "1" else [*arguments, stride]
    arguments.append(f"kernel_size={op.kernel}")
    if stride != "1":
        arguments.append(f"stride={stride}")
    if op.kernel > 1:
        arguments.append(f"padding={op.padding.top}")
    if op.groups > 1:
        arguments.append(f"groups={op.groups}")
    if not op.bias:
        arguments.append("bias=False")
    return "nn.Conv2d", arguments


def _assignments(layers: Sequence[Layer], style: _Style, *, indent: int) -> tuple[str, ...]:
    """Makes every layer an attribute; activations, which have no weights, share one."""
    lines: list[str] = []
    activated = False
    for member in members(layers):
        if member.is_sequence:
            made = [_one_line(layer, style) for layer in member.layers]
            lines += call(f"self.{member.name} = nn.Sequential(", made, indent=indent)
            continue
        if member.is_activation and activated:
            continue
        activated = activated or member.is_activation
        layer = member.layers[0]
        if layer.optional and isinstance(layer.op, BlurPool):
            made = _one_line(layer, style)
            lines.append(f"{' ' * indent}self.aa = {made} if stride > 1 else nn.Identity()")
            continue
        # Where nothing strides, an average pool takes the mean of one pixel.
        function, arguments = _made(layer, style)
        lines += call(f"self.{_attribute(member)} = {function}(", arguments, indent=indent)
    return tuple(lines)


def _one_line(layer: Layer, style: _Style) -> str:
    function, arguments = _made(layer, style)
    return f"{function}({', '.join(arguments)})"


def _forward(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Applies the layers to x, a line up to each activation."""
    return tuple(f"        x = {_applied(chain)}" for chain in chains(layers))


def _applied(chain: Sequence[Member]) -> str:
    applied = "x"
    for member in chain:
        applied = f"self.{_attribute(member)}({applied})"
    return applied


def _attribute(member: Member) -> str:
    return "relu" if member.is_activation else member.name


def _batch_norm_helper(shared: Constants) -> str | None:
    """The constants that PyTorch's defaults do not cover, as arguments."""
    arguments: list[str] = []
    if shared.epsilon != _DEFAULT_EPSILON:
        arguments.append(f"eps={shared.epsilon!r}")
    if shared.momentum != _DEFAULT_MOMENTUM:
        arguments.append(f"momentum={shared.momentum!r}")
    return ", ".join(arguments) or None


def _block_view(kind: Kind, style: _Style) -> _BlockView:
    sizes = (f"{size}: int" for size in ("in_channels", *kind.sizes))
    parameters = ["self", *sizes, *block_parameters(kind)]
    weighted = [layer for layer in kind.main if not isinstance(layer.op, Relu)]
    return _BlockView(
        class_name=kind.class_name,
        summary=block_summary(kind),
        signature=call("def __init__(", parameters, ") -> None:", indent=4),
        layers=_assignments((*weighted, kind.tail[-1]), style, indent=8),
        downsample=_downsample_lines(kind, style),
        reshapes=kind.reshapes,
        forward=_block_forward(kind),
    )


def _block_forward(kind: Kind) -> tuple[str, ...]:
    end = "x + shortcut" if kind.has_shortcut else "x"
    return (
        *_shortcut_lines(kind),
        *_forward(kind.main),
        f"        return self.relu({end})",
    )


def _shortcut_lines(kind: Kind) -> tuple[str, ...]:
    if not kind.has_shortcut:
        return ()
    match kind.reshapes:
        case "never":
            return ("        shortcut = x",)
        case "sometimes":
            return ("        shortcut = x if self.downsample is None else self.downsample(x)",)
        case "always":
            return ("        shortcut = self.downsample(x)",)


def _downsample_lines(kind: Kind, style: _Style) -> tuple[str, ...]:
    indent = 12 if kind.reshapes == "sometimes" else 8
    if kind.pads_zeros:
        arguments = [f"{kind.out_channels} - in_channels", kind.stride]
        return call("self.downsample = ZeroPadShortcut(", arguments, indent=indent)
    if kind.reshapes == "never":
        return ()
    made = [_one_line(layer, style) for layer in kind.side]
    before: tuple[str, ...] = ()
    if kind.lacks_pool:
        made.insert(0, "nn.Identity()")
    elif kind.side[0].optional:
        before = (f"{' ' * indent}pool = {made[0]}",)
        made[0] = "pool if stride > 1 else nn.Identity()"
    return (*before, *call("self.downsample = nn.Sequential(", made, indent=indent))


def _stage_lines(stage: Stage, found: Sequence[Kind]) -> tuple[str, ...]:
    blocks: list[str] = []
    for block, kind, _, repeats in runs(stage, found):
        arguments = [str(block.in_channels), *kind.sizes_of(block), *block_keywords(block, kind)]
        made = f"{kind.class_name}({', '.join(arguments)})"
        blocks.append(made if repeats == 1 else f"*({made} for _ in range({repeats}))")
    return call(f"self.{stage.name} = nn.Sequential(", blocks, indent=8)
