"""Emits `model_torch.py`: the network as PyTorch modules whose paths are the canonical names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from resnetgen.emit.kinds import Kind, kinds
from resnetgen.emit.layers import Form, Layer, form, literal, members, repeated_forms
from resnetgen.emit.padding import convolutions_pad_same
from resnetgen.emit.queries import (
    Constants,
    FanMode,
    attentions,
    biases,
    blur_padding,
    constants,
    head_dropout,
    head_layers,
)
from resnetgen.emit.render import Item, call, call_of, ending, render
from resnetgen.emit.source import (
    block_docstring,
    block_parameters,
    docstring,
    drops_paths,
    example_shape,
    header,
    made,
    network_class,
    runs,
    zeroed_norm,
)
from resnetgen.emit.target import Target
from resnetgen.emit.torch_layers import Helper, Style, assignments, forward, item, make, one_line
from resnetgen.emit.torchvision import counterpart
from resnetgen.ir.inference import inference
from resnetgen.ir.network import HeadPool, Network, Stage
from resnetgen.ir.ops import (
    Activation,
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    MaxPool2d,
    Op,
)
from resnetgen.ir.rules import pads_same

FILE = "model_torch.py"
# PyTorch's own defaults; a layer that has them does not repeat them.
_DEFAULT_EPSILON, _DEFAULT_MOMENTUM = 1e-5, 0.1
_POOLS: Mapping[type[Op], str] = {
    GlobalAvgPool: "self.avgpool = nn.AdaptiveAvgPool2d(1)",
    GlobalMaxPool: "self.globalmaxpool = nn.AdaptiveMaxPool2d(1)",
}
_POOLED: Mapping[HeadPool, str] = {
    "avg": "self.avgpool(x)",
    "max": "self.globalmaxpool(x)",
    "avgmax": "(self.avgpool(x) + self.globalmaxpool(x)) / 2",
    "catavgmax": "torch.cat((self.avgpool(x), self.globalmaxpool(x)), 1)",
}


@dataclass(frozen=True, slots=True)
class _BlockView:
    """One block class, its calls broken into lines."""

    class_name: str
    docstring: tuple[str, ...]
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
    torchvision_model: str | None
    uses_functions: bool
    """Whether it applies functions of PyTorch's besides modules."""
    pads_zeros: bool
    drops_paths: bool
    attentions: frozenset[str]
    blur_padding: str | None
    same_convolutions: bool
    same_extent: str
    """How far the window of a convolution with SAME padding reaches, in its own attributes."""
    same_pool: bool
    network_class: str
    factory: str
    factory_signature: tuple[str, ...]
    channels: int
    helpers: tuple[Helper, ...]
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    head: tuple[str, ...]
    pools: tuple[str, ...]
    dropout: tuple[str, ...]
    forward: tuple[str, ...]
    pooled: str
    """What the head pools of features x."""
    classified: str
    """What the last layer makes of pooled features x."""
    features: int
    classes: int
    returned: str
    fan_mode: FanMode | None
    conv_init: str
    bias: bool
    linear_init: str
    zeroed: tuple[tuple[str, str], ...]


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
        f"{network.returns} = model(torch.zeros{example_shape(network)})",
    )


TARGET = Target("torch", source=FILE, emit=emit, usage=usage, title="PyTorch")


def _view(network: Network) -> _View:
    shared = constants(network)
    found = kinds(network)
    stem, head, dropout = literal(network.stem[1:]), head_layers(network), head_dropout(network)
    written = [*stem, *(layer for kind in found for layer in (*kind.main, *kind.side))]
    style = Style(_helpers(written), _norm_helper(shared))
    class_name = network_class(network)
    pads_zeros = any(kind.pads_zeros for kind in found)
    same_convolutions = convolutions_pad_same(network.ops)
    same_pool = any(pads_same(op) for op in network.stem if isinstance(op, MaxPool2d))
    blur_edge = blur_padding(network, "self.stride")
    stages = [f"self.{stage.name}" for stage in network.stages]
    return _View(
        header=header(network, "torch"),
        docstring=docstring(network, "PyTorch"),
        torchvision_model=counterpart(inference(network)),
        uses_functions=pads_zeros or same_convolutions or same_pool or blur_edge is not None,
        pads_zeros=pads_zeros,
        drops_paths=drops_paths(found),
        attentions=attentions(network),
        blur_padding=blur_edge,
        same_convolutions=same_convolutions,
        same_extent=_same_extent(written),
        same_pool=same_pool,
        network_class=class_name,
        factory=network.name,
        factory_signature=call(
            f"def {network.name}(",
            [f"num_classes: int = {network.classes}"],
            f") -> {class_name}:",
            indent=0,
        ),
        channels=network.input_channels,
        helpers=(*style.helpers.values(), *filter(None, (style.norm,))),
        blocks=tuple(_block_view(kind, style) for kind in found),
        stem=assignments(stem, style, indent=8),
        stages=tuple(_stage_lines(stage, found) for stage in network.stages),
        head=assignments(head, style, indent=8, activated=_activates(stem)),
        forward=(
            *forward(stem),
            *(f"        x = {stage}(x)" for stage in stages),
            *forward(head),
        ),
        pools=tuple(_POOLS[op] for op in map(type, network.head) if op in _POOLS),
        pooled=_POOLED[network.head_pool],
        dropout=assignments(dropout, style, indent=8),
        classified="self.fc(self.dropout(x))" if dropout else "self.fc(x)",
        features=shared.features,
        classes=network.classes,
        returned=network.returns,
        fan_mode=shared.fan_mode,
        conv_init=shared.conv_init,
        bias=biases(network) != "never",
        linear_init=shared.linear_init,
        zeroed=tuple(_zeroed(found)),
    )


def _same_extent(written: Sequence[Layer]) -> str:
    """A convolution with SAME padding has a stride, and no dilation with it; but its kind of block
    may have others, without a stride, that do."""
    same = [layer for layer in written if convolutions_pad_same([layer.op])]
    if all(layer.text("dilation") == "1" for layer in same):
        return "self.kernel_size[0]"
    return "self.dilation[0] * (self.kernel_size[0] - 1) + 1"


def _helpers(written: Sequence[Layer]) -> dict[Form, Helper]:
    """A function for each form of convolution that is written several times."""
    style = Style({}, None)
    found: dict[Form, Helper] = {}
    for repeated, name in repeated_forms(written).items():
        same = [
            layer
            for layer in written
            if isinstance(layer.op, Conv2d) and form(layer, layer.op) == repeated
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
        function, written_arguments = make(Layer("", same[0].op, arguments), style)
        found[repeated] = Helper(
            name,
            signature=call(f"def {name}(", parameters, f") -> {function}:", indent=0),
            body=call(f"return {function}(", written_arguments, indent=4),
        )
    return found


def _norm_helper(shared: Constants) -> Helper | None:
    """A function that holds the norms' constants, unless PyTorch's defaults do."""
    norm = shared.norm
    match norm:
        case None:
            return None
        case BatchNorm2d():
            name, layer, arguments = "batch_norm", "BatchNorm2d", ["channels"]
        case GroupNorm():
            name, layer, arguments = "group_norm", "GroupNorm", [str(norm.groups), "channels"]
    if norm.epsilon != _DEFAULT_EPSILON:
        arguments.append(f"eps={norm.epsilon!r}")
    if isinstance(norm, BatchNorm2d) and norm.momentum != _DEFAULT_MOMENTUM:
        arguments.append(f"momentum={norm.momentum!r}")
    if arguments == ["channels"]:
        return None
    return Helper(
        name,
        signature=(f"def {name}(channels: int) -> nn.{layer}:",),
        body=(f"    return nn.{layer}({', '.join(arguments)})",),
    )


def _block_view(kind: Kind, style: Style) -> _BlockView:
    sizes = (f"{size}: int" for size in ("in_channels", *kind.sizes))
    parameters = ["self", *sizes, *block_parameters(kind)]
    layers = [*kind.preactivation, *kind.main, *filter(None, (kind.activation,))]
    # The activation that all share comes last.
    layers.sort(key=lambda layer: isinstance(layer.op, Activation))
    if kind.preactivation and isinstance(kind.preactivation[0].op, Activation):
        # Without a norm in front it reads what is needed unchanged: by the shortcut, or for the
        # gradient of the stem's activation.
        style = replace(style, in_place=False)
    return _BlockView(
        class_name=kind.class_name,
        docstring=block_docstring(kind),
        signature=call("def __init__(", parameters, ") -> None:", indent=4),
        layers=assignments(layers, style, indent=8),
        downsample=_downsample_lines(kind, style),
        reshapes=kind.reshapes,
        forward=_block_forward(kind),
    )


def _block_forward(kind: Kind) -> tuple[str, ...]:
    end = "x + shortcut" if kind.has_shortcut else "x"
    if kind.activation is not None:
        end = f"self.{kind.activation.text('function')}({end})"
    return (*_shortcut_lines(kind), *ending(forward(kind.main), end))


def _shortcut_lines(kind: Kind) -> tuple[str, ...]:
    """Keeps what is added at the end, and activates the input where that comes first."""
    activated = forward(kind.preactivation)
    match kind.reshapes:
        case _ if not kind.has_shortcut:
            return activated
        case "never":
            return ("        shortcut = x", *activated)
        case "always":
            shortcut = ("        shortcut = self.downsample(x)",)
            return (*activated, *shortcut) if kind.projects else (*shortcut, *activated)
        case "sometimes" if activated and kind.projects:
            return (
                "        shortcut = x",
                *activated,
                "        if self.downsample is not None:",
                "            shortcut = self.downsample(x)",
            )
        case "sometimes":
            shortcut = "        shortcut = x if self.downsample is None else self.downsample(x)"
            return (shortcut, *activated)


def _downsample_lines(kind: Kind, style: Style) -> tuple[str, ...]:
    indent = 12 if kind.reshapes == "sometimes" else 8
    if kind.pads_zeros:
        arguments = [f"{kind.out_channels} - in_channels", kind.stride]
        return call("self.downsample = ZeroPadShortcut(", arguments, indent=indent)
    if kind.reshapes == "never":
        return ()
    if kind.shortcut == "subsample":
        return (f"{' ' * indent}self.downsample = {one_line(kind.side[0], style)}",)
    layers = [item(layer, style) for layer in kind.side]
    before: tuple[str, ...] = ()
    if kind.lacks_pool:
        layers.insert(0, Item("nn.Identity()"))
    elif kind.side[0].optional:
        before = (f"{' ' * indent}pool = {layers[0].text}",)
        layers[0] = Item("pool if stride > 1 else nn.Identity()")
    return (*before, *call_of("self.downsample = nn.Sequential(", layers, indent=indent))


def _stage_lines(stage: Stage, found: Sequence[Kind]) -> tuple[str, ...]:
    blocks = [made(block, kind, repeats) for block, kind, _, repeats in runs(stage, found)]
    return call_of(f"self.{stage.name} = nn.Sequential(", blocks, indent=8)


def _zeroed(found: Sequence[Kind]) -> Iterator[tuple[str, str]]:
    """Block classes, and the norm of theirs whose gamma starts at zero."""
    norms = {kind.class_name: norm for kind in found if (norm := zeroed_norm(kind))}
    for norm in dict.fromkeys(norms.values()):
        yield " | ".join(name for name, each in norms.items() if each == norm), norm


def _activates(layers: Sequence[Layer]) -> bool:
    """Whether an activation is an attribute by itself."""
    return any(member.is_activation for member in members(layers))
