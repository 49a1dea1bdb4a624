"""Emits `model_keras.py`: the network as a Keras 3 functional model, for every backend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.kinds import Kind, kinds
from resnetgen.emit.layers import Layer, literal
from resnetgen.emit.render import applied, call, render
from resnetgen.emit.source import (
    Constants,
    attentions,
    biases,
    block_docstring,
    block_keywords,
    block_parameters,
    blur_padding,
    complement,
    constants,
    conv_biases,
    docstring,
    example_shape,
    extent,
    head_layers,
    header,
    pads_strided,
    returned,
    runs,
    zeroed_norm,
)
from resnetgen.emit.target import Target
from resnetgen.ir.network import Block, Network, Stage
from resnetgen.ir.ops import (
    AvgPool2d,
    BatchNorm2d,
    BlurPool,
    ChannelConv,
    Conv2d,
    Flatten,
    GroupNorm,
    MaxPool2d,
    Norm,
    Op,
    PadChannels,
    Padding,
    Relu,
    Scale,
    Subsample,
)

FILE = "model_keras.py"
# Keras recurses once per layer on the longest path and meets Python's default limit at 986.
_DEEP_PATH = 800


@dataclass(frozen=True, slots=True)
class _BlockView:
    """One block function, its calls broken into lines."""

    docstring: tuple[str, ...]
    signature: tuple[str, ...]
    shortcut: tuple[str, ...]
    layers: tuple[str, ...]
    end: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """All that the template writes."""

    header: tuple[str, ...]
    docstring: tuple[str, ...]
    factory: str
    exported: tuple[str, ...]
    factory_signature: tuple[str, ...]
    uses_ops: bool
    constants: tuple[str, ...]
    """What all norms share, as lines; none without norms."""
    paired: bool
    """Whether each convolution has a norm behind it, and each norm a convolution before it."""
    norm: tuple[str, ...]
    """The call that makes a norm, as lines in the function that applies it."""
    norm_signature: tuple[str, ...]
    group_norm: bool
    conv_signature: tuple[str, ...]
    conv_name: str
    strided: bool
    grouped: bool
    strided_padding: bool
    pads: str
    conv_init: str
    attentions: frozenset[str]
    blur_padding: str | None
    conv_biases: str
    """Which convolutions have a bias, those of attention aside."""
    biases: str
    """Which convolutions have a bias, those of attention too."""
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    head: tuple[str, ...]
    features: int
    returned: str
    linear_init: str
    result: tuple[str, ...]
    deep_path: str | None
    recursion_limit: str


def emit(network: Network) -> Mapping[str, bytes]:
    """The Keras source of `network`."""
    return {FILE: render("keras/model.py.jinja", _view(network)).encode()}


def usage(network: Network) -> tuple[str, ...]:
    """How to load the model with its weights."""
    return (
        "import model_keras",
        "import numpy as np",
        "",
        f"model = model_keras.{network.name}()",
        'model_keras.load_safetensors(model, "model.safetensors")',
        f"images = np.zeros({example_shape(network, channels_last=True)}, np.float32)",
        f"{returned(network)} = model(images)  # images are channels-last",
    )


TARGET = Target("keras", source=FILE, emit=emit, usage=usage, title="Keras 3")


def _view(network: Network) -> _View:
    shared = constants(network)
    found = kinds(network, channels_word="filters")
    zeroed = any(zeroed_norm(kind) for kind in found)
    paired = _is_paired(network)
    style = _Style(paired, _norm_word(shared), conv_biases(network))
    stem = literal(network.stem[1:])
    height, width = network.input_size
    path = _longest_path(network)
    is_deep = path > _DEEP_PATH
    return _View(
        header=header(network, "keras"),
        docstring=docstring(network, "Keras 3"),
        factory=network.name,
        exported=tuple(sorted((network.name, "load_safetensors"))),
        factory_signature=call(
            f"def {network.name}(",
            [
                f"num_classes: int = {network.classes}",
                "input_shape: tuple[int | None, int | None, int]"
                f" = ({height}, {width}, {network.input_channels})",
            ],
            ") -> keras.Model:",
            indent=0,
        ),
        uses_ops=_uses_ops(network),
        constants=_constant_lines(shared),
        paired=paired,
        norm=_norm_lines(shared, name=style.norm if paired else "name", zeroed=zeroed),
        norm_signature=_norm_signature(shared, zeroed=zeroed),
        group_norm=isinstance(shared.norm, GroupNorm),
        conv_signature=_conv_signature(network, style, zeroed=zeroed),
        conv_name="conv" if paired else "name",
        strided=_is_strided(network),
        grouped=_is_grouped(network),
        strided_padding=pads_strided(network),
        pads=_pads(network),
        conv_init=shared.conv_init,
        attentions=attentions(network),
        blur_padding=blur_padding(network, "stride"),
        conv_biases=style.biases,
        biases=biases(network),
        blocks=tuple(_block_view(kind, style) for kind in found),
        stem=_layer_lines(stem, style, variable="x", source="image", prefix="", indent=4),
        stages=tuple(_stage_lines(stage, found) for stage in network.stages),
        head=_layer_lines(
            head_layers(network), style, variable="x", source="x", prefix="", indent=4
        ),
        features=shared.features,
        returned=returned(network),
        linear_init=shared.linear_init,
        result=call(
            "return keras.Model(",
            ["image", returned(network), f'name="{network.name}"'],
            indent=8 if is_deep else 4,
        ),
        deep_path=f"{path:,}" if is_deep else None,
        # Keras needs a few frames a layer; Python checks the limit only when it is reached.
        recursion_limit=f"{4 * path + 1000:_}",
    )


@dataclass(frozen=True, slots=True)
class _Style:
    """What decides how a convolution and its norm are written."""

    paired: bool
    norm: str
    """What stands for the norm in names: `bn` or `gn`."""
    biases: str
    """Which convolutions have a bias, those of attention aside."""


def _norm_word(shared: Constants) -> str:
    return "gn" if isinstance(shared.norm, GroupNorm) else "bn"


def _is_paired(network: Network) -> bool:
    """Whether a norm is behind each convolution, and reads nothing else."""
    own = {op.name for block in network.blocks for op in block.attention}
    convolved = [op.name for op in network.ops if isinstance(op, Conv2d) and op.name not in own]
    normalized = [op.inputs[0] for op in network.ops if isinstance(op, Norm)]
    return convolved == normalized


def _uses_ops(network: Network) -> bool:
    """Whether the source applies functions where Keras has no layer."""
    infinite = zip(network.stem, network.stem[1:], strict=False)
    return any(isinstance(op, BlurPool | PadChannels) for op in network.ops) or any(
        isinstance(op, MaxPool2d) and not _pads_with_zeros(op, before) for before, op in infinite
    )


def _constant_lines(shared: Constants) -> tuple[str, ...]:
    match shared.norm:
        case None:
            return ()
        case BatchNorm2d(momentum=momentum, epsilon=epsilon):
            return (
                "# Keras keeps `momentum` of the old statistic;"
                f" this is PyTorch's momentum={momentum!r}.",
                f"BN_MOMENTUM = {complement(momentum)}",
                f"BN_EPSILON = {epsilon!r}",
            )
        case GroupNorm(groups=groups, epsilon=epsilon):
            return (f"GN_GROUPS = {groups}", f"GN_EPSILON = {epsilon!r}")


def _norm_lines(shared: Constants, *, name: str, zeroed: bool) -> tuple[str, ...]:
    match shared.norm:
        case None:
            return ()
        case BatchNorm2d():
            layer, arguments = "BatchNormalization", ["momentum=BN_MOMENTUM", "epsilon=BN_EPSILON"]
        case GroupNorm():
            layer, arguments = "GroupNormalization", ["GN_GROUPS", "epsilon=GN_EPSILON"]
    gamma = ["gamma_initializer=gamma"] if zeroed else []
    head = f"return layers.{layer}("
    return applied(head, [*arguments, *gamma, f"name={name}"], "x", indent=4)


def _norm_signature(shared: Constants, *, zeroed: bool) -> tuple[str, ...]:
    """The head of a function for norms that have no convolution before them."""
    function = "group_norm" if isinstance(shared.norm, GroupNorm) else "batch_norm"
    gamma = ['gamma: str = "ones"'] if zeroed else []
    parameters = ["x: KerasTensor", "*", *gamma, "name: str"]
    return call(f"def {function}(", parameters, ") -> KerasTensor:", indent=0)


def _longest_path(network: Network) -> int:
    """Layers on the longest path of the Keras graph, explicit paddings counted."""
    length: dict[str, int] = {}
    for op in network.ops:
        longest = max((length[name] for name in op.inputs), default=0)
        match op:
            case Flatten():
                length[op.name] = longest
            case Conv2d() if op.kernel > 1:
                length[op.name] = longest + 2
            case MaxPool2d():
                length[op.name] = longest + 2
            case ChannelConv() | BlurPool():
                length[op.name] = longest + 3
            case _:
                length[op.name] = longest + 1
    return max(length.values())


def _is_strided(network: Network) -> bool:
    return any(isinstance(op, Conv2d) and op.stride != 1 for op in network.ops)


def _is_grouped(network: Network) -> bool:
    return any(isinstance(op, Conv2d) and op.groups != 1 for op in network.ops)


def _pads(network: Network) -> str:
    """Which convolutions need padding: `never`, `sometimes` or `always`."""
    return extent(op.kernel > 1 for op in network.ops if isinstance(op, Conv2d))


def _conv_signature(network: Network, style: _Style, *, zeroed: bool) -> tuple[str, ...]:
    parameters = ["x: KerasTensor", "filters: int", "kernel_size: int", "*"]
    if _is_strided(network):
        parameters.append("stride: int = 1")
    if _is_grouped(network):
        parameters.append("groups: int = 1")
    if style.biases == "sometimes":
        parameters.append("use_bias: bool = False")
    if not style.paired:
        parameters.append("name: str")
        return call("def conv(", parameters, ") -> KerasTensor:", indent=0)
    if zeroed:
        parameters.append('gamma: str = "ones"')
    parameters += ["conv: str", f"{style.norm}: str"]
    return call(f"def conv_{style.norm}(", parameters, ") -> KerasTensor:", indent=0)


def _layer_lines(
    layers: Sequence[Layer],
    style: _Style,
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
                arguments = _convolution(layer, norm, style, source=source, names=names)
                lines += call(f"{head}{function}(", arguments, indent=indent)
            case BatchNorm2d() | GroupNorm():
                if not style.paired:
                    function = "group_norm" if style.norm == "gn" else "batch_norm"
                    arguments = [source, *_gamma(layer), f"name={name}"]
                    lines += call(f"{head}{function}(", arguments, indent=indent)
            case Relu():
                lines.append(f"{margin}{variable} = layers.ReLU(name={name})({source})")
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
            case AvgPool2d() | BlurPool():
                if layer.optional:
                    lines.append(f"{margin}if stride > 1:")
                deeper = indent + 4 if layer.optional else indent
                lines += _striding_lines(layer, variable, source, name, indent=deeper)
            case _:
                raise AssertionError(f"{layer.op.name}: {type(layer.op).__name__} is no layer")
        source = variable
    return tuple(lines)


def _name(layer: Layer, prefix: str) -> str:
    """A layer's name as an expression; underscores stand for the dots of the canonical one."""
    name = prefix + layer.name.replace(".", "_")
    return f'f"{name}"' if "{" in name else f'"{name}"'


def _convolution(
    conv: Layer, norm: Layer | None, style: _Style, *, source: str, names: Mapping[str, str]
) -> list[str]:
    """The arguments for a convolution, and for the norm behind it."""
    assert isinstance(conv.op, Conv2d), f"{conv.op.name}: {type(conv.op).__name__}"
    # The source pads by itself, from the kernel alone.
    assert conv.op.padding == Padding.symmetric(conv.op.kernel // 2), conv.op
    arguments = [source, conv.text("out_channels"), conv.text("kernel")]
    if conv.text("stride") != "1":
        arguments.append(f"stride={conv.text('stride')}")
    if conv.op.groups > 1:
        arguments.append(f"groups={conv.op.groups}")
    if style.biases == "sometimes" and conv.op.bias:
        arguments.append("use_bias=True")
    if norm is not None:
        arguments += _gamma(norm)
    return [*arguments, *(f"{key}={name}" for key, name in names.items())]


def _gamma(norm: Layer) -> list[str]:
    zero = isinstance(norm.op, Norm) and norm.op.zero_gamma
    return ['gamma="zeros"'] if zero else []


def _striding_lines(
    layer: Layer, variable: str, source: str, name: str, *, indent: int
) -> tuple[str, ...]:
    match layer.op:
        case AvgPool2d():
            # Keras does not count what "same" pads at the end of an odd size.
            same = ['padding="same"'] if layer.op.padding.bottom else []
            pool = [layer.text("kernel"), *same, f"name={name}"]
            head = f"{variable} = layers.AveragePooling2D("
            return applied(head, pool, source, indent=indent)
        case _:
            arguments = [source, layer.text("stride"), f"name={name}"]
            return call(f"{variable} = blur_pool(", arguments, indent=indent)


def _attention_call(layer: Layer, source: str, name: str) -> str:
    if "squeezed" in layer.expressions:
        return f"squeeze_excite({source}, {layer.text('squeezed')}, name={name})"
    kernel_size = layer.text("kernel_size")
    return f"efficient_channel_attention({source}, {kernel_size}, name={name})"


def _pads_with_zeros(op: MaxPool2d, before: Op | None) -> bool:
    """Whether zeros are what the pool's padding counts as, or never above what it sees."""
    return op.pads_zeros or isinstance(before, Relu)


def _max_pool_lines(
    op: MaxPool2d, variable: str, before: Op | None, *, source: str, indent: int
) -> tuple[str, ...]:
    margin = " " * indent
    name = op.name.replace(".", "_")
    side = op.padding
    rows, columns = f"({side.top}, {side.bottom})", f"({side.left}, {side.right})"
    pool = f'layers.MaxPooling2D({op.kernel}, strides={op.stride}, name="{name}")({variable})'
    if not _pads_with_zeros(op, before):
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


def _block_view(kind: Kind, style: _Style) -> _BlockView:
    sizes = (f"{size}: int" for size in kind.sizes)
    parameters = ["x: KerasTensor", *sizes, "*", *block_parameters(kind)]
    parameters.append("name: str")
    return _BlockView(
        docstring=block_docstring(kind),
        signature=call(f"def {kind.function_name}(", parameters, ") -> KerasTensor:", indent=0),
        shortcut=_shortcut_lines(kind, style),
        layers=_inner_lines(kind.main[: -1 if _returns_layer(kind) else None], style),
        end=_end_lines(kind, style),
    )


def _inner_lines(
    layers: Sequence[Layer], style: _Style, *, assign: str | None = None
) -> tuple[str, ...]:
    """Layers of a block, applied to x."""
    return _layer_lines(
        layers, style, variable="x", source="x", prefix="{name}_", indent=4, assign=assign
    )


def _returns_layer(kind: Kind) -> bool:
    """Whether the block ends in a layer of its main path that every block of the kind has."""
    return kind.activation is None and not kind.has_shortcut and not kind.main[-1].optional


def _end_lines(kind: Kind, style: _Style) -> tuple[str, ...]:
    if _returns_layer(kind):
        return _inner_lines(kind.main[-1:], style, assign="return ")
    add = 'layers.Add(name=f"{name}_add")([x, shortcut])'
    act = 'layers.ReLU(name=f"{name}_act")(x)'
    if kind.activation is None:
        return (f"    return {add if kind.has_shortcut else 'x'}",)
    return (*((f"    x = {add}",) if kind.has_shortcut else ()), f"    return {act}")


def _shortcut_lines(kind: Kind, style: _Style) -> tuple[str, ...]:
    """Keeps what is added at the end, and activates the input where that comes first."""
    activated = _inner_lines(kind.preactivation, style)
    kept = ("    shortcut = x",)
    match kind.reshapes:
        case _ if not kind.has_shortcut:
            return activated
        case "never":
            return (*kept, *activated)
        case "sometimes":
            reshaped = ("    if downsample:", *_reshape_lines(kind, style, indent=8))
            if kind.projects:
                return (*kept, *activated, *reshaped)
            return (*kept, *reshaped, *activated)
        case "always":
            reshaped = _reshape_lines(kind, style, indent=4)
            return (*activated, *reshaped) if kind.projects else (*reshaped, *activated)


def _reshape_lines(kind: Kind, style: _Style, *, indent: int) -> tuple[str, ...]:
    if kind.pads_zeros:
        return _zero_padding_lines(kind, indent=indent)
    unset = kind.reshapes == "always" and kind.side[0].optional
    return (
        *((f"{' ' * indent}shortcut = x",) if unset else ()),
        *_layer_lines(
            kind.side, style, variable="shortcut", source="x", prefix="{name}_", indent=indent
        ),
    )


def _zero_padding_lines(kind: Kind, *, indent: int) -> tuple[str, ...]:
    margin = " " * indent
    subsample = f'layers.AveragePooling2D(1, strides={kind.stride}, name=f"{{name}}_subsample")(x)'
    extra = f"{kind.out_channels} - x.shape[-1]"
    match sorted(kind.shortcut_strides):
        case [1]:
            source, before = "x", ()
        case [1, *_]:
            source = "shortcut"
            first = () if kind.reshapes == "sometimes" else (f"{margin}shortcut = x",)
            before = (*first, f"{margin}if stride > 1:", f"{margin}    shortcut = {subsample}")
        case _:
            source, before = "shortcut", (f"{margin}shortcut = {subsample}",)
    padding = [source, f"((0, 0), (0, 0), (0, 0), (0, {extra}))"]
    return (*before, *call("shortcut = ops.pad(", padding, indent=indent))


def _stage_lines(stage: Stage, found: Sequence[Kind]) -> tuple[str, ...]:
    lines: list[str] = []
    for block, kind, index, repeats in runs(stage, found):
        if repeats == 1:
            lines += _block_call(block, kind, f'"{stage.name}_{index}"', indent=4)
            continue
        end = index + repeats
        bounds = f"{end}" if index == 0 else f"{index}, {end}"
        lines.append(f"    for index in range({bounds}):")
        lines += _block_call(block, kind, f'f"{stage.name}_{{index}}"', indent=8)
    return tuple(lines)


def _block_call(block: Block, kind: Kind, name: str, *, indent: int) -> tuple[str, ...]:
    arguments = ["x", *kind.sizes_of(block), *block_keywords(block, kind), f"name={name}"]
    return call(f"x = {kind.function_name}(", arguments, indent=indent)
