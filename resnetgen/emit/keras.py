"""Emits `model_keras.py`: the network as a Keras 3 functional model, for every backend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.kinds import Kind, kinds
from resnetgen.emit.layers import Layer, literal
from resnetgen.emit.render import applied, call, render
from resnetgen.emit.source import (
    attentions,
    biases,
    block_keywords,
    block_parameters,
    block_summary,
    blur_padding,
    complement,
    constants,
    docstring,
    example_shape,
    header,
    pads_strided,
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
    MaxPool2d,
    Relu,
    Scale,
)

FILE = "model_keras.py"
# Keras recurses once per layer on the longest path and meets Python's default limit at 986.
_DEEP_PATH = 800


@dataclass(frozen=True, slots=True)
class _BlockView:
    """One block function, its calls broken into lines."""

    summary: str
    signature: tuple[str, ...]
    shortcut: tuple[str, ...]
    has_shortcut: bool
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """All that the template writes."""

    header: tuple[str, ...]
    docstring: tuple[str, ...]
    factory: str
    exported: tuple[str, ...]
    factory_signature: tuple[str, ...]
    pads_zeros: bool
    bn_momentum: str
    torch_momentum: str
    bn_epsilon: str
    conv_bn_signature: tuple[str, ...]
    strided: bool
    grouped: bool
    strided_padding: bool
    pads: str
    zeroed: bool
    init_mode: str
    attentions: frozenset[str]
    blur_padding: str | None
    bias: bool
    biases: str
    """Which convolutions have a bias, those of attention too."""
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    features: int
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
        "logits = model(images)  # images are channels-last",
    )


TARGET = Target("keras", source=FILE, emit=emit, usage=usage, title="Keras 3")


def _view(network: Network) -> _View:
    shared = constants(network)
    found = kinds(network, channels_word="filters")
    zeroed = any(zeroed_norm(kind) for kind in found)
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
        pads_zeros=any(kind.pads_zeros for kind in found),
        bn_momentum=complement(shared.momentum),
        torch_momentum=repr(shared.momentum),
        bn_epsilon=repr(shared.epsilon),
        conv_bn_signature=_conv_bn_signature(network, zeroed=zeroed),
        strided=_is_strided(network),
        grouped=_is_grouped(network),
        strided_padding=pads_strided(network),
        pads=_pads(network),
        zeroed=zeroed,
        init_mode=shared.conv_init.removeprefix("he_"),
        attentions=attentions(network),
        blur_padding=blur_padding(network, "stride"),
        bias=shared.bias,
        biases=biases(network),
        blocks=tuple(_block_view(kind) for kind in found),
        stem=_stem_lines(network),
        stages=tuple(_stage_lines(stage, found) for stage in network.stages),
        features=shared.features,
        linear_init=shared.linear_init,
        result=call(
            "return keras.Model(",
            ["image", "logits", f'name="{network.name}"'],
            indent=8 if is_deep else 4,
        ),
        deep_path=f"{path:,}" if is_deep else None,
        # Keras needs a few frames a layer; Python checks the limit only when it is reached.
        recursion_limit=f"{4 * path + 1000:_}",
    )


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
    padded = {op.kernel > 1 for op in network.ops if isinstance(op, Conv2d)}
    if padded == {True}:
        return "always"
    return "sometimes" if True in padded else "never"


def _conv_bn_signature(network: Network, *, zeroed: bool) -> tuple[str, ...]:
    parameters = ["x: KerasTensor", "filters: int", "kernel_size: int", "*"]
    if _is_strided(network):
        parameters.append("stride: int = 1")
    if _is_grouped(network):
        parameters.append("groups: int = 1")
    if zeroed:
        parameters.append('gamma: str = "ones"')
    parameters += ["conv: str", "bn: str"]
    return call("def conv_bn(", parameters, ") -> KerasTensor:", indent=0)


def _stem_lines(network: Network) -> tuple[str, ...]:
    layers = literal(network.stem[1:])
    return _layer_lines(layers, variable="x", source="image", prefix="", indent=4)


def _layer_lines(
    layers: Sequence[Layer], *, variable: str, source: str, prefix: str, indent: int
) -> tuple[str, ...]:
    """Applies the layers one after another; `prefix` goes before each name."""
    lines: list[str] = []
    margin = " " * indent
    for layer, following in zip(layers, (*layers[1:], None), strict=True):
        name = _name(layer, prefix)
        match layer.op:
            case Conv2d():
                assert following is not None, f"{layer.op.name}: no norm follows"
                names = (name, _name(following, prefix))
                lines += _conv_bn(layer, following, variable, source, names=names, indent=indent)
            case BatchNorm2d():
                pass
            case Relu():
                lines.append(f"{margin}{variable} = layers.ReLU(name={name})({source})")
            case MaxPool2d():
                lines += _max_pool_lines(layer.op, variable, indent=indent)
            case Scale():
                lines.append(f"{margin}{variable} = {_attention_call(layer, source, name)}")
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


def _conv_bn(
    conv: Layer,
    norm: Layer,
    variable: str,
    source: str,
    *,
    names: tuple[str, str],
    indent: int,
) -> tuple[str, ...]:
    arguments = [source, conv.text("out_channels"), conv.text("kernel")]
    if conv.text("stride") != "1":
        arguments.append(f"stride={conv.text('stride')}")
    if isinstance(conv.op, Conv2d) and conv.op.groups > 1:
        arguments.append(f"groups={conv.op.groups}")
    if isinstance(norm.op, BatchNorm2d) and norm.op.zero_gamma:
        arguments.append('gamma="zeros"')
    arguments += [f"conv={names[0]}", f"bn={names[1]}"]
    return call(f"{variable} = conv_bn(", arguments, indent=indent)


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


def _max_pool_lines(op: MaxPool2d, variable: str, *, indent: int) -> tuple[str, ...]:
    margin = " " * indent
    name = op.name.replace(".", "_")
    padding = f'layers.ZeroPadding2D({op.padding.top}, name="{name}_pad")(x)'
    pool = f'layers.MaxPooling2D({op.kernel}, strides={op.stride}, name="{name}")(x)'
    return (
        f"{margin}# Zeros are exact here because the ReLU's output is never negative.",
        f"{margin}{variable} = {padding}",
        f"{margin}{variable} = {pool}",
    )


def _block_view(kind: Kind) -> _BlockView:
    sizes = (f"{size}: int" for size in kind.sizes)
    parameters = ["x: KerasTensor", *sizes, "*", *block_parameters(kind)]
    parameters.append("name: str")
    return _BlockView(
        summary=block_summary(kind),
        signature=call(f"def {kind.function_name}(", parameters, ") -> KerasTensor:", indent=0),
        shortcut=_shortcut_lines(kind),
        has_shortcut=kind.has_shortcut,
        layers=_layer_lines(kind.main, variable="x", source="x", prefix="{name}_", indent=4),
    )


def _shortcut_lines(kind: Kind) -> tuple[str, ...]:
    if not kind.has_shortcut:
        return ()
    match kind.reshapes:
        case "never":
            return ("    shortcut = x",)
        case "sometimes":
            return ("    shortcut = x", "    if downsample:", *_reshape_lines(kind, indent=8))
        case "always":
            return _reshape_lines(kind, indent=4)


def _reshape_lines(kind: Kind, *, indent: int) -> tuple[str, ...]:
    if kind.pads_zeros:
        return _zero_padding_lines(kind, indent=indent)
    unset = kind.reshapes == "always" and kind.side[0].optional
    return (
        *((f"{' ' * indent}shortcut = x",) if unset else ()),
        *_layer_lines(kind.side, variable="shortcut", source="x", prefix="{name}_", indent=indent),
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
