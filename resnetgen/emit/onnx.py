"""Emits the ONNX graph: as text that a person can read, and as a model that points to its weights.

`model.onnxtxt` is ONNX's own text syntax, rendered like any other source and parsed by ONNX itself.
It declares the weights by type and name; in `model.onnx` they become initializers whose data lie
in `model.safetensors`, at offsets that follow from the network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from resnetgen.emit.onnx_model import model_bytes
from resnetgen.emit.queries import applies
from resnetgen.emit.render import render
from resnetgen.emit.source import docstring, example_shape, header
from resnetgen.emit.target import Target
from resnetgen.ir.inference import inference
from resnetgen.ir.network import Network
from resnetgen.ir.ops import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm2d,
    BlurPool,
    ChannelConv,
    Concat,
    Conv2d,
    Dropout,
    DropPath,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Input,
    Linear,
    MaxPool2d,
    Mean,
    Op,
    PadChannels,
    Padding,
    Same,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)
from resnetgen.ir.rules import network_parameters, parameters
from resnetgen.weights.layout import WEIGHTS_FILE, layout

FILE = "model.onnx"
TEXT_FILE = "model.onnxtxt"
OPSET = 20
IR_VERSION = 9
_LAST_INDEX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Group:
    """The nodes of the stem, one block or the head."""

    title: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """All that the template writes."""

    header: tuple[str, ...]
    docstring: tuple[str, ...]
    ir_version: int
    opset: int
    name: str
    channels: int
    classes: int
    output: str
    declarations: tuple[str, ...]
    groups: tuple[_Group, ...]


def emit(network: Network) -> Mapping[str, bytes]:
    """The graph of `network` in inference, as text and as a model."""
    network = inference(network)
    text = render("onnx/model.onnxtxt.jinja", _view(network))
    return {TEXT_FILE: text.encode(), FILE: model_bytes(text, layout(network), WEIGHTS_FILE)}


def usage(network: Network) -> tuple[str, ...]:
    """How to load the model; the graph finds its weights by itself."""
    return (
        "import numpy as np",
        "import onnxruntime",
        "",
        'session = onnxruntime.InferenceSession("model.onnx")',
        f"images = np.zeros({example_shape(network)}, np.float32)",
        f'({network.returns},) = session.run(None, {{"input": images}})',
    )


TARGET = Target("onnx", source=TEXT_FILE, emit=emit, usage=usage, title="ONNX")


def _view(network: Network) -> _View:
    output = network.returns
    nodes = partial(_nodes, output={network.head[-1].name: output})
    weights = [
        f"float[{', '.join(map(str, parameter.shape))}] {_quote(parameter.name)}"
        for parameter in network_parameters(network)
    ]
    return _View(
        header=header(network, "onnx"),
        docstring=docstring(network, "ONNX"),
        ir_version=IR_VERSION,
        opset=OPSET,
        name=network.name,
        channels=network.input_channels,
        classes=network.classes,
        output=output,
        declarations=_with_commas((*weights, *_constants(network))),
        groups=(
            _Group("stem", nodes(network.stem[1:])),
            *(
                _Group(f"{stage.title}: {block.name}", nodes(block.ops))
                for stage in network.stages
                for block in stage.blocks
            ),
            _Group("head", nodes(network.head)),
        ),
    )


def _with_commas(declarations: tuple[str, ...]) -> tuple[str, ...]:
    return (*(f"{declaration}," for declaration in declarations[:-1]), declarations[-1])


def _constants(network: Network) -> Iterator[str]:
    """The small integer tensors that subsampling and channel padding read, each declared once."""
    strides = sorted({op.stride for op in network.ops if isinstance(op, Subsample)})
    if strides:
        yield f"int64[2] {_quote('subsample.starts')} = {{0, 0}}"
        yield f"int64[2] {_quote('subsample.ends')} = {{{_LAST_INDEX}, {_LAST_INDEX}}}"
        yield f"int64[2] {_quote('subsample.axes')} = {{2, 3}}"
    for stride in strides:
        yield f"int64[2] {_quote(f'subsample.steps.{stride}')} = {{{stride}, {stride}}}"
    if any(isinstance(op, ChannelConv) for op in network.ops):
        # A zero copies the batch's size.
        yield f"int64[3] {_quote('se.row')} = {{0, 1, -1}}"
        yield f"int64[4] {_quote('se.channels')} = {{0, -1, 1, 1}}"
    for pixels in sorted({op.padding.top for op in network.ops if isinstance(op, BlurPool)}):
        sides = f"0, 0, {pixels}, {pixels}"
        yield f"int64[8] {_quote(f'blur.pads.{pixels}')} = {{{sides}, {sides}}}"
    if applies(network, "gelu"):
        for name, number in (("half", "0.5"), ("one", "1"), ("two", "2")):
            yield f"float[1] {_quote(f'gelu.{name}')} = {{{number}}}"
    norm = next((op for op in network.ops if isinstance(op, GroupNorm)), None)
    if norm is not None:
        yield f"int64[3] {_quote('gn.rows')} = {{0, {norm.groups}, -1}}"
        yield f"int64[2] {_quote('gn.axes')} = {{1, 2}}"
        for name, number in (("gn.ones", "1"), ("gn.zeros", "0")):
            numbers = ", ".join([number] * norm.groups)
            yield f"float[{norm.groups}] {_quote(name)} = {{{numbers}}}"
    for op in network.ops:
        if isinstance(op, MaxPool2d) and op.pads_zeros:
            assert isinstance(op.padding, Padding), f"{op.name}: {op.padding}"
            before, after = (f"0, 0, {side}" for side in _sides(op.padding))
            yield f"int64[8] {_quote(f'{op.name}.pads')} = {{{before}, {after}}}"
    for extra in sorted({op.extra for op in network.ops if isinstance(op, PadChannels)}):
        yield f"int64[8] {_quote(f'shortcut.pads.{extra}')} = {{0, 0, 0, 0, 0, {extra}, 0, 0}}"


def _nodes(ops: Sequence[Op], *, output: Mapping[str, str]) -> tuple[str, ...]:
    lines: list[str] = []
    for op in ops:
        match op:
            case ChannelConv():
                lines += _channel_convolution(op)
            case GroupNorm():
                lines += _group_norm(op)
            case Activation(function="silu"):
                lines += _silu(op)
            case Activation(function="gelu"):
                lines += _gelu(op)
            case BlurPool():
                lines += _blur(op)
            case MaxPool2d() if op.pads_zeros:
                lines += _max_of_zeros(op)
            case _:
                lines.append(_node(op, output=output))
    return tuple(lines)


def _channel_convolution(op: ChannelConv) -> Iterator[str]:
    """The channels as one row, its convolution, and the row as channels again."""
    row, convolved, weight = (_quote(f"{op.name}.{each}") for each in ("row", "rows", "weight"))
    pads = f"kernel_shape = [{op.kernel}], pads = [{op.kernel // 2}, {op.kernel // 2}]"
    to_row, to_channels = _quote("se.row"), _quote("se.channels")
    yield f"[{row}] {row} = Reshape ({_quote(op.inputs[0])}, {to_row})"
    yield f"[{convolved}] {convolved} = Conv <{pads}> ({row}, {weight})"
    yield f"[{_quote(op.name)}] {_quote(op.name)} = Reshape ({convolved}, {to_channels})"


def _group_norm(op: GroupNorm) -> Iterator[str]:
    """Each group as one row of an instance norm, then gamma and beta of each channel.

    ONNX's GroupNormalization says the same, but shapes are not inferred through it, and it casts
    to float32 whatever it is given.
    """
    rows, normal, shape, images, gamma, scaled, beta = (
        _quote(f"{op.name}.{each}")
        for each in ("rows", "normal", "shape", "images", "gamma", "scaled", "beta")
    )
    source, axes = _quote(op.inputs[0]), _quote("gn.axes")
    constants = f"{rows}, {_quote('gn.ones')}, {_quote('gn.zeros')}"
    yield f"[{rows}] {rows} = Reshape ({source}, {_quote('gn.rows')})"
    norm = f"InstanceNormalization <epsilon: float = {op.epsilon!r}>"
    yield f"[{normal}] {normal} = {norm} ({constants})"
    yield f"[{shape}] {shape} = Shape ({source})"
    yield f"[{images}] {images} = Reshape ({normal}, {shape})"
    yield f"[{gamma}] {gamma} = Unsqueeze ({_quote(f'{op.name}.weight')}, {axes})"
    yield f"[{scaled}] {scaled} = Mul ({images}, {gamma})"
    yield f"[{beta}] {beta} = Unsqueeze ({_quote(f'{op.name}.bias')}, {axes})"
    yield f"[{_quote(op.name)}] {_quote(op.name)} = Add ({scaled}, {beta})"


def _silu(op: Activation) -> Iterator[str]:
    """ONNX has it as one operator only from opset 24 on."""
    name, source, gate = (_quote(each) for each in (op.name, op.inputs[0], f"{op.name}.gate"))
    yield f"[{gate}] {gate} = Sigmoid ({source})"
    yield f"[{name}] {name} = Mul ({source}, {gate})"


def _gelu(op: Activation) -> Iterator[str]:
    """x * (erf(x / sqrt(2)) + 1) / 2, written out: ONNX's evaluator of its own functions, of which
    Gelu is one, rounds the error function to float32."""
    name, source = _quote(op.name), _quote(op.inputs[0])
    root, scaled, error, raised, share = (
        _quote(f"{op.name}.{each}") for each in ("root", "scaled", "error", "raised", "share")
    )
    yield f"[{root}] {root} = Sqrt ({_quote('gelu.two')})"
    yield f"[{scaled}] {scaled} = Div ({source}, {root})"
    yield f"[{error}] {error} = Erf ({scaled})"
    yield f"[{raised}] {raised} = Add ({error}, {_quote('gelu.one')})"
    yield f"[{share}] {share} = Mul ({raised}, {_quote('gelu.half')})"
    yield f"[{name}] {name} = Mul ({source}, {share})"


def _blur(op: BlurPool) -> Iterator[str]:
    """[1, 2, 1] / 4 is the mean of two pixels, taken twice."""
    padded, once = (_quote(f"{op.name}.{each}") for each in ("padded", "once"))
    pads = _quote(f"blur.pads.{op.padding.top}")
    yield f'[{padded}] {padded} = Pad <mode = "reflect"> ({_quote(op.inputs[0])}, {pads})'
    yield f"[{once}] {once} = AveragePool <{_window_text(2, 1)}> ({padded})"
    twice = f"AveragePool <{_window_text(2, op.stride)}> ({once})"
    yield f"[{_quote(op.name)}] {_quote(op.name)} = {twice}"


def _max_of_zeros(op: MaxPool2d) -> Iterator[str]:
    """ONNX's own padding of a max pool is minus infinity."""
    padded, pads = _quote(f"{op.name}.padded"), _quote(f"{op.name}.pads")
    yield f"[{padded}] {padded} = Pad ({_quote(op.inputs[0])}, {pads})"
    pooled = f"MaxPool <{_window_text(op.kernel, op.stride)}> ({padded})"
    yield f"[{_quote(op.name)}] {_quote(op.name)} = {pooled}"


def _sides(padding: Padding) -> tuple[str, str]:
    """What is padded before and behind the image, rows then columns."""
    return f"{padding.top}, {padding.left}", f"{padding.bottom}, {padding.right}"


def _window_text(kernel: int, stride: int) -> str:
    return ", ".join(_window(kernel, stride, Padding.symmetric(0)))


def _node(op: Op, *, output: Mapping[str, str]) -> str:
    result = output.get(op.name, op.name)
    operator, attributes, constants = _operator(op)
    inputs = ", ".join(
        _quote(name)
        for name in (*op.inputs, *(parameter.name for parameter in parameters(op)), *constants)
    )
    called = f"{operator} <{', '.join(attributes)}>" if attributes else operator
    return f"[{_quote(op.name)}] {_quote(result)} = {called} ({inputs})"


def _operator(op: Op) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """ONNX's operator, its attributes, and its inputs besides values and weights."""
    match op:
        case Conv2d():
            groups = () if op.groups == 1 else (f"group = {op.groups}",)
            dilations = () if op.dilation == 1 else (f"dilations = [{op.dilation}, {op.dilation}]",)
            return "Conv", (*_window(op.kernel, op.stride, op.padding), *dilations, *groups), ()
        case Sigmoid():
            return "Sigmoid", (), ()
        case Scale():
            return "Mul", (), ()
        case MaxPool2d():
            return "MaxPool", _window(op.kernel, op.stride, op.padding), ()
        case AvgPool2d():
            # Without an attribute, ONNX does not count padding.
            counted = ("count_include_pad = 1",) if op.counts_padding else ()
            return "AveragePool", (*_window(op.kernel, op.stride, op.padding), *counted), ()
        case BatchNorm2d():
            return "BatchNormalization", (f"epsilon: float = {op.epsilon!r}",), ()
        case Activation(function="relu"):
            return "Relu", (), ()
        case Add():
            return "Add", (), ()
        case Subsample():
            constants = ("starts", "ends", "axes", f"steps.{op.stride}")
            return "Slice", (), tuple(f"subsample.{constant}" for constant in constants)
        case PadChannels():
            return "Pad", (), (f"shortcut.pads.{op.extra}",)
        case GlobalAvgPool():
            return "GlobalAveragePool", (), ()
        case GlobalMaxPool():
            return "GlobalMaxPool", (), ()
        case Mean():
            return "Mean", (), ()
        case Concat():
            return "Concat", ("axis = 1",), ()
        case Flatten():
            return "Flatten", (), ()
        case Linear():
            return "Gemm", ("transB = 1",), ()
        case Softmax():
            return "Softmax", ("axis = -1",), ()
        case Input() | GroupNorm() | ChannelConv() | BlurPool() | Activation():
            raise AssertionError(f"{op.name}: no one node makes it")
        case Dropout() | DropPath():
            raise AssertionError(f"{op.name}: inference has none")
        case _:
            assert_never(op)


def _window(kernel: int, stride: int, padding: Padding | Same) -> tuple[str, ...]:
    match padding:
        case Padding():
            pads = f"pads = [{', '.join(_sides(padding))}]"
        case Same():
            # Of an odd number of pixels, one more at the end.
            pads = 'auto_pad = "SAME_UPPER"'
    return (f"kernel_shape = [{kernel}, {kernel}]", f"strides = [{stride}, {stride}]", pads)


def _quote(name: str) -> str:
    """A name with dots is no identifier in ONNX's text syntax unless it is quoted."""
    return f'"{name}"'
