"""Emits `model_keras.py`: the network as a Keras 3 functional model, for every backend."""

from collections.abc import Mapping
from dataclasses import dataclass

from resnetgen.emit.render import call, render
from resnetgen.emit.source import (
    Kind,
    block_keywords,
    block_parameters,
    block_summary,
    complement,
    constants,
    docstring,
    example_shape,
    header,
    kinds,
    runs,
    times,
    zeroed_norm,
)
from resnetgen.emit.target import Target
from resnetgen.ir.network import Block, Network, Stage
from resnetgen.ir.ops import Conv2d, Flatten, MaxPool2d

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
    strided_padding: bool
    """Whether a layer both pads and has a stride, where `padding="same"` would be another one."""
    pads: str
    zeroed: bool
    init_mode: str
    bias: bool
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    pool: MaxPool2d | None
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
    found = kinds(network)
    by_kind = {kind.kind: kind for kind in found}
    stem = next(op for op in network.stem if isinstance(op, Conv2d))
    zeroed = {kind: zeroed_norm(network, kind) for kind in found}
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
        conv_bn_signature=_conv_bn_signature(network, zeroed=any(zeroed.values())),
        strided=_is_strided(network),
        strided_padding=_pads_strided(network),
        pads=_pads(network),
        zeroed=any(zeroed.values()),
        init_mode=shared.conv_init.removeprefix("he_"),
        bias=shared.bias,
        blocks=tuple(_block_view(kind, zeroed[kind]) for kind in found),
        stem=_conv_bn(
            "x = ",
            ["image", str(stem.out_channels), str(stem.kernel)],
            stride=str(stem.stride),
            layers=('"conv1"', '"bn1"'),
            indent=4,
        ),
        pool=next((op for op in network.stem if isinstance(op, MaxPool2d)), None),
        stages=tuple(
            _stage_lines(stage, by_kind[stage.blocks[0].kind]) for stage in network.stages
        ),
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
            case _:
                length[op.name] = longest + 1
    return max(length.values())


def _is_strided(network: Network) -> bool:
    return any(isinstance(op, Conv2d) and op.stride != 1 for op in network.ops)


def _pads_strided(network: Network) -> bool:
    return any(
        isinstance(op, Conv2d | MaxPool2d) and op.stride != 1 and op.kernel > 1
        for op in network.ops
    )


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
    if zeroed:
        parameters.append('gamma: str = "ones"')
    parameters += ["conv: str", "bn: str"]
    return call("def conv_bn(", parameters, ") -> KerasTensor:", indent=0)


def _conv_bn(
    head: str,
    arguments: list[str],
    *,
    stride: str,
    layers: tuple[str, str],
    indent: int,
    zeroed: bool = False,
) -> tuple[str, ...]:
    keywords = [] if stride == "1" else [f"stride={stride}"]
    if zeroed:
        keywords.append('gamma="zeros"')
    conv, bn = layers
    return call(
        f"{head}conv_bn(", [*arguments, *keywords, f"conv={conv}", f"bn={bn}"], indent=indent
    )


def _block_view(kind: Kind, zeroed: str | None) -> _BlockView:
    parameters = ["x: KerasTensor", f"{_width_name(kind)}: int", "*", *block_parameters(kind)]
    parameters.append("name: str")
    layers: list[str] = []
    last = len(kind.kind.convolutions)
    for number, layer in enumerate(kind.kind.convolutions, start=1):
        layers += _conv_bn(
            "x = ",
            ["x", times(layer.expansion, _width_name(kind)), str(layer.kernel)],
            stride=kind.stride if layer.strided else "1",
            layers=(f'f"{{name}}_conv{number}"', f'f"{{name}}_bn{number}"'),
            indent=4,
            zeroed=zeroed == f"bn{number}",
        )
        if number != last:
            layers.append(f'    x = layers.ReLU(name=f"{{name}}_act{number}")(x)')
    return _BlockView(
        summary=block_summary(kind),
        signature=call(f"def {kind.function_name}(", parameters, ") -> KerasTensor:", indent=0),
        shortcut=_shortcut_lines(kind),
        has_shortcut=kind.has_shortcut,
        layers=tuple(layers),
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
    if kind.kind.shortcut == "zero_pad":
        return _zero_padding_lines(kind, indent=indent)
    return _conv_bn(
        "shortcut = ",
        ["x", times(kind.kind.expansion, _width_name(kind)), "1"],
        stride=kind.stride,
        layers=('f"{name}_downsample_0"', 'f"{name}_downsample_1"'),
        indent=indent,
    )


def _zero_padding_lines(kind: Kind, *, indent: int) -> tuple[str, ...]:
    margin = " " * indent
    subsample = f'layers.AveragePooling2D(1, strides={kind.stride}, name=f"{{name}}_subsample")(x)'
    extra = f"{times(kind.kind.expansion, _width_name(kind))} - x.shape[-1]"
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


def _width_name(kind: Kind) -> str:
    return "filters" if kind.width_name == "out_channels" else kind.width_name


def _stage_lines(stage: Stage, kind: Kind) -> tuple[str, ...]:
    lines: list[str] = []
    for block, index, repeats in runs(stage):
        if repeats == 1:
            lines += _block_call(block, kind, f'"{stage.name}_{index}"', indent=4)
            continue
        end = index + repeats
        bounds = f"{end}" if index == 0 else f"{index}, {end}"
        lines.append(f"    for index in range({bounds}):")
        lines += _block_call(block, kind, f'f"{stage.name}_{{index}}"', indent=8)
    return tuple(lines)


def _block_call(block: Block, kind: Kind, name: str, *, indent: int) -> tuple[str, ...]:
    arguments = ["x", str(block.width), *block_keywords(block, kind), f"name={name}"]
    return call(f"x = {kind.function_name}(", arguments, indent=indent)
