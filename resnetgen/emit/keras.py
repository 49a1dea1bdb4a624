"""Emits `model_keras.py`: the network as a Keras 3 functional model, for every backend."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.keras_layers import Style, activation, layer_lines, pads_with_zeros
from resnetgen.emit.kinds import Kind, kinds
from resnetgen.emit.layers import Layer, literal
from resnetgen.emit.padding import padding_note, same_paddings, with_same
from resnetgen.emit.queries import (
    Constants,
    Extent,
    FanMode,
    applies,
    attentions,
    biases,
    blur_padding,
    constants,
    conv_biases,
    extent,
    head_dropout,
    head_layers,
)
from resnetgen.emit.render import LINE_LENGTH, applied, call, render
from resnetgen.emit.source import (
    block_docstring,
    block_keywords,
    block_parameters,
    complement,
    docstring,
    example_shape,
    header,
    runs,
    span,
    zeroed_norm,
)
from resnetgen.emit.target import Target
from resnetgen.ir.network import Block, HeadPool, Network, Stage
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
    Padding,
    Same,
)
from resnetgen.ir.rules import largest_dilation

FILE = "model_keras.py"
# Keras recurses once per layer on the longest path and meets Python's default limit at 986.
_DEEP_PATH = 800
_CONV_PADDINGS: Mapping[Extent, str | None] = {
    "never": None,
    "sometimes": "padding",
    "always": '"same"',
}
"""By which of them have SAME padding."""
_MEANS = 'layers.GlobalAveragePooling2D(name="avgpool")(x)'
_MAXIMA = 'layers.GlobalMaxPooling2D(name="globalmaxpool")(x)'
_BOTH = (f"means = {_MEANS}", f"maxima = {_MAXIMA}")
_POOLS: Mapping[HeadPool, tuple[str, ...]] = {
    "avg": (f"x = {_MEANS}",),
    "max": (f"x = {_MAXIMA}",),
    "avgmax": (*_BOTH, 'x = layers.Average(name="avgmax")([means, maxima])'),
    "catavgmax": (*_BOTH, 'x = layers.Concatenate(name="catavgmax")([means, maxima])'),
}


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
    gelu: bool
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
    dilated: bool
    note: tuple[str, ...]
    """What a user of the source has to know, as lines."""
    conv_padding: str | None
    """What convolutions are given as their padding."""
    pad: tuple[str, ...]
    """What pads the image of a convolution that needs it."""
    fan_mode: FanMode | None
    conv_init: str
    attentions: frozenset[str]
    gate_init: str
    """What the convolutions of squeeze_excite are given more, behind their kernel's size."""
    blur_padding: str | None
    conv_biases: str
    """Which convolutions have a bias, those of attention aside."""
    biases: str
    """Which convolutions have a bias, those of attention too."""
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    head: tuple[str, ...]
    pools: tuple[str, ...]
    dropout: tuple[str, ...]
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
        f"{network.returns} = model(images)  # images are channels-last",
    )


TARGET = Target("keras", source=FILE, emit=emit, usage=usage, title="Keras 3")


def _view(network: Network) -> _View:
    network = with_same(network)
    shared = constants(network)
    found = kinds(network, channels_word="filters")
    zeroed = any(zeroed_norm(kind) for kind in found)
    paired = _is_paired(network)
    conv_name = "conv" if paired else "name"
    style = Style(paired, _norm_word(shared), conv_biases(network), same_paddings(network.ops))
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
        gelu=applies(network, "gelu"),
        constants=_constant_lines(shared),
        paired=paired,
        norm=_norm_lines(shared, name=style.norm if paired else "name", zeroed=zeroed),
        norm_signature=_norm_signature(shared, zeroed=zeroed),
        group_norm=isinstance(shared.norm, GroupNorm),
        conv_signature=_conv_signature(network, style, zeroed=zeroed),
        conv_name=conv_name,
        strided=_is_strided(network),
        grouped=_is_grouped(network),
        dilated=_is_dilated(network),
        note=_note(network),
        conv_padding=_CONV_PADDINGS[style.same],
        pad=_pad_lines(network, conv_name) if style.same == "never" else (),
        fan_mode=shared.fan_mode,
        conv_init=shared.conv_init,
        attentions=attentions(network),
        gate_init=_gate_init(shared),
        blur_padding=blur_padding(network, "stride"),
        conv_biases=style.biases,
        biases=biases(network),
        blocks=tuple(_block_view(kind, style) for kind in found),
        stem=layer_lines(stem, style, variable="x", source="image", prefix="", indent=4),
        stages=tuple(_stage_lines(stage, found) for stage in network.stages),
        head=layer_lines(
            head_layers(network), style, variable="x", source="x", prefix="", indent=4
        ),
        pools=_POOLS[network.head_pool],
        dropout=layer_lines(
            head_dropout(network), style, variable="x", source="x", prefix="", indent=4
        ),
        features=shared.features,
        returned=network.returns,
        linear_init=shared.linear_init,
        result=call(
            "return keras.Model(",
            ["image", network.returns, f'name="{network.name}"'],
            indent=8 if is_deep else 4,
        ),
        deep_path=f"{path:,}" if is_deep else None,
        # Keras needs a few frames a layer; Python checks the limit only when it is reached.
        recursion_limit=f"{4 * path + 1000:_}",
    )


def _note(network: Network) -> tuple[str, ...]:
    padding = padding_note(network, same="same", explicit="Layers pad explicitly")
    return tuple(textwrap.wrap(" ".join(["Images are channels-last.", *padding]), LINE_LENGTH))


def _gate_init(shared: Constants) -> str:
    if shared.conv_init == "lecun_normal":
        return ", kernel_initializer=lecun"
    return "" if shared.fan_mode is None else ", kernel_initializer=he_normal"


def _norm_word(shared: Constants) -> str:
    return "gn" if isinstance(shared.norm, GroupNorm) else "bn"


def _is_paired(network: Network) -> bool:
    """Whether a norm is behind each convolution, and reads nothing else."""
    convolved = [conv.name for conv in network.convolutions]
    normalized = [op.inputs[0] for op in network.ops if isinstance(op, Norm)]
    return convolved == normalized


def _uses_ops(network: Network) -> bool:
    """Whether the source applies functions where Keras has no layer."""
    if applies(network, "gelu"):
        return True
    neighbours = zip(network.stem, network.stem[1:], strict=False)
    # A padded shortcut is padded in all blocks that share its function, be it by no channel.
    if any(block.shortcut == "zero_pad" for block in network.blocks):
        return True
    return any(isinstance(op, BlurPool) for op in network.ops) or any(
        isinstance(op, MaxPool2d)
        and isinstance(op.padding, Padding)
        and not pads_with_zeros(op, before)
        for before, op in neighbours
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
            case Conv2d() | MaxPool2d() if isinstance(op.padding, Same):
                length[op.name] = longest + 1
            case Conv2d() if op.kernel > 1:
                length[op.name] = longest + 2
            case MaxPool2d():
                length[op.name] = longest + 2
            case AvgPool2d() if op.counts_padding:
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


def _is_dilated(network: Network) -> bool:
    return largest_dilation(network) > 1


def _pad_lines(network: Network, name: str) -> tuple[str, ...]:
    """Pads where a convolution needs it; `name` is the variable that holds its name."""
    pixels = "kernel_size // 2"
    if _is_dilated(network):
        pixels = f"dilation * ({pixels})"
    line = f'x = layers.ZeroPadding2D({pixels}, name=f"{{{name}}}_pad")(x)'
    match extent(op.kernel > 1 for op in network.ops if isinstance(op, Conv2d)):
        case "never":
            return ()
        case "sometimes":
            return ("    if kernel_size > 1:", f"        {line}")
        case "always":
            return (f"    {line}",)


def _conv_signature(network: Network, style: Style, *, zeroed: bool) -> tuple[str, ...]:
    parameters = ["x: KerasTensor", "filters: int", "kernel_size: int", "*"]
    if _is_strided(network):
        parameters.append("stride: int = 1")
    if _is_dilated(network):
        parameters.append("dilation: int = 1")
    if _is_grouped(network):
        parameters.append("groups: int = 1")
    if style.same == "sometimes":
        parameters.append('padding: str = "same"')
    if style.biases == "sometimes":
        parameters.append("use_bias: bool = False")
    if not style.paired:
        parameters.append("name: str")
        return call("def conv(", parameters, ") -> KerasTensor:", indent=0)
    if zeroed:
        parameters.append('gamma: str = "ones"')
    parameters += ["conv: str", f"{style.norm}: str"]
    return call(f"def conv_{style.norm}(", parameters, ") -> KerasTensor:", indent=0)


def _block_view(kind: Kind, style: Style) -> _BlockView:
    sizes = (f"{size}: int" for size in kind.sizes)
    parameters = ["x: KerasTensor", *sizes, "*", *block_parameters(kind)]
    parameters.append("name: str")
    return _BlockView(
        docstring=block_docstring(kind),
        signature=call(f"def {kind.function_name}(", parameters, ") -> KerasTensor:", indent=0),
        shortcut=(
            *(("    in_channels = x.shape[-1]",) if kind.squeezes_input else ()),
            *_shortcut_lines(kind, style),
        ),
        layers=_inner_lines(kind.main[: -1 if _returns_layer(kind) else None], style),
        end=_end_lines(kind, style),
    )


def _inner_lines(
    layers: Sequence[Layer], style: Style, *, assign: str | None = None
) -> tuple[str, ...]:
    """Layers of a block, applied to x."""
    return layer_lines(
        layers, style, variable="x", source="x", prefix="{name}_", indent=4, assign=assign
    )


def _returns_layer(kind: Kind) -> bool:
    """Whether the block ends in a layer of its main path that every block of the kind has."""
    return kind.activation is None and not kind.has_shortcut and not kind.main[-1].optional


def _end_lines(kind: Kind, style: Style) -> tuple[str, ...]:
    if _returns_layer(kind):
        return _inner_lines(kind.main[-1:], style, assign="return ")
    add = 'layers.Add(name=f"{name}_add")([x, shortcut])'
    if kind.activation is None:
        return (f"    return {add if kind.has_shortcut else 'x'}",)
    act = activation(kind.activation, 'f"{name}_act"') + "(x)"
    return (*((f"    x = {add}",) if kind.has_shortcut else ()), f"    return {act}")


def _shortcut_lines(kind: Kind, style: Style) -> tuple[str, ...]:
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


def _reshape_lines(kind: Kind, style: Style, *, indent: int) -> tuple[str, ...]:
    if kind.pads_zeros:
        return _zero_padding_lines(kind, indent=indent)
    unset = kind.reshapes == "always" and kind.side[0].optional
    return (
        *((f"{' ' * indent}shortcut = x",) if unset else ()),
        *layer_lines(
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
        lines.append(f"    for index in {span(index, repeats)}:")
        lines += _block_call(
            block, kind, f'f"{stage.name}_{{index}}"', indent=8, index=_number(block, kind, index)
        )
    return tuple(lines)


def _number(block: Block, kind: Kind, index: int) -> str | None:
    """Which of all blocks one in a loop is, if its rate follows from that; `index` is its place
    in its stage, which the loop counts."""
    if block.name not in kind.drop_paths:
        return None
    before = kind.drop_paths[block.name].index - index
    return f"(index + {before})" if before else "index"


def _block_call(
    block: Block, kind: Kind, name: str, *, indent: int, index: str | None = None
) -> tuple[str, ...]:
    keywords = block_keywords(block, kind, index=index)
    arguments = ["x", *kind.sizes_of(block), *keywords, f"name={name}"]
    return call(f"x = {kind.function_name}(", arguments, indent=indent)
