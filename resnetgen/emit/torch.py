"""Emits `model_torch.py`: the network as PyTorch modules whose paths are the canonical names."""

from collections.abc import Mapping
from dataclasses import dataclass

from resnetgen.emit.convolutions import (
    Convolution,
    main_path,
    out_channels,
    projections,
    repeated_kernels,
    stem_convolution,
    written,
)
from resnetgen.emit.render import call, render
from resnetgen.emit.source import (
    Constants,
    Kind,
    block_keywords,
    block_parameters,
    block_summary,
    constants,
    docstring,
    example_shape,
    header,
    is_torchvision,
    kinds,
    network_class,
    runs,
    zeroed_norm,
)
from resnetgen.emit.target import Target
from resnetgen.ir.network import Network, Stage
from resnetgen.ir.ops import MaxPool2d

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
    shortcut: tuple[str, ...]
    reshapes: str
    has_shortcut: bool
    hidden: tuple[int, ...]
    """Numbers of the convolutions that an activation follows inside the block."""
    last: int


@dataclass(frozen=True, slots=True)
class _View:
    """All that the template writes."""

    header: tuple[str, ...]
    docstring: tuple[str, ...]
    is_torchvision: bool
    pads_zeros: bool
    network_class: str
    factory: str
    factory_signature: tuple[str, ...]
    channels: int
    helpers: tuple[_Helper, ...]
    batch_norm: str | None
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    stem_norm: str
    pool: str | None
    stages: tuple[tuple[str, ...], ...]
    stage_names: tuple[str, ...]
    features: int
    classes: int
    init_mode: str
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
        f"logits = model(torch.zeros{example_shape(network)})",
    )


TARGET = Target("torch", source=FILE, emit=emit, usage=usage, title="PyTorch")


def _view(network: Network) -> _View:
    shared = constants(network)
    found = kinds(network)
    stem = stem_convolution(network)
    helpers = _helpers(written(network, found), shared)
    returned = network_class(network)
    by_kind = {kind.kind: kind for kind in found}
    return _View(
        header=header(network, "torch"),
        docstring=docstring(network, "PyTorch"),
        is_torchvision=is_torchvision(network),
        pads_zeros=any(kind.pads_zeros for kind in found),
        network_class=returned,
        factory=network.name,
        factory_signature=call(
            f"def {network.name}(",
            [f"num_classes: int = {network.classes}"],
            f") -> {returned}:",
            indent=0,
        ),
        channels=network.input_channels,
        helpers=tuple(helpers.values()),
        batch_norm=_batch_norm_helper(shared),
        blocks=tuple(_block_view(kind, helpers, shared) for kind in found),
        stem=_convolution_lines("self.conv1 = ", stem, helpers, shared, indent=8),
        stem_norm=_norm(stem.out_channels, shared),
        pool=_pool(network),
        stages=tuple(
            _stage_lines(stage, by_kind[stage.blocks[0].kind]) for stage in network.stages
        ),
        stage_names=tuple(stage.name for stage in network.stages),
        features=shared.features,
        classes=network.classes,
        init_mode=shared.conv_init.removeprefix("he_"),
        bias=shared.bias,
        linear_init=shared.linear_init,
        zeroed=tuple(
            (kind.class_name, norm) for kind in found if (norm := zeroed_norm(network, kind))
        ),
    )


def _pool(network: Network) -> str | None:
    for op in network.stem:
        if isinstance(op, MaxPool2d):
            return (
                f"nn.MaxPool2d(kernel_size={op.kernel}, stride={op.stride},"
                f" padding={op.padding.top})"
            )
    return None


def _helpers(convolutions: list[Convolution], shared: Constants) -> dict[int, _Helper]:
    found: dict[int, _Helper] = {}
    for kernel in repeated_kernels(convolutions):
        strided = any(
            convolution.stride != "1"
            for convolution in convolutions
            if convolution.kernel == kernel
        )
        parameters = ["in_channels: int", "out_channels: int"]
        if strided:
            parameters.append("stride: int = 1")
        inner = Convolution("in_channels", "out_channels", kernel, "stride" if strided else "1")
        found[kernel] = _Helper(
            signature=call(f"def conv{kernel}x{kernel}(", parameters, ") -> nn.Conv2d:", indent=0),
            body=_convolution_lines("return ", inner, {}, shared, indent=4),
        )
    return found


def _convolution_lines(
    head: str,
    convolution: Convolution,
    helpers: Mapping[int, _Helper],
    shared: Constants,
    *,
    indent: int,
) -> tuple[str, ...]:
    function, arguments = _convolution_call(convolution, helpers, shared)
    return call(f"{head}{function}(", arguments, indent=indent)


def _convolution_call(
    convolution: Convolution, helpers: Mapping[int, _Helper], shared: Constants
) -> tuple[str, list[str]]:
    kernel, stride = convolution.kernel, convolution.stride
    arguments = [convolution.in_channels, convolution.out_channels]
    if kernel in helpers:
        return f"conv{kernel}x{kernel}", arguments if stride == "1" else [*arguments, stride]
    arguments.append(f"kernel_size={kernel}")
    if stride != "1":
        arguments.append(f"stride={stride}")
    if kernel > 1:
        arguments.append(f"padding={kernel // 2}")
    if not shared.bias:
        arguments.append("bias=False")
    return "nn.Conv2d", arguments


def _batch_norm_helper(shared: Constants) -> str | None:
    """The constants that PyTorch's defaults do not cover, as arguments."""
    arguments: list[str] = []
    if shared.epsilon != _DEFAULT_EPSILON:
        arguments.append(f"eps={shared.epsilon!r}")
    if shared.momentum != _DEFAULT_MOMENTUM:
        arguments.append(f"momentum={shared.momentum!r}")
    return ", ".join(arguments) or None


def _norm(channels: str, shared: Constants) -> str:
    function = "nn.BatchNorm2d" if _batch_norm_helper(shared) is None else "batch_norm"
    return f"{function}({channels})"


def _block_view(kind: Kind, helpers: Mapping[int, _Helper], shared: Constants) -> _BlockView:
    parameters = ["self", "in_channels: int", f"{kind.width_name}: int", *block_parameters(kind)]
    layers: list[str] = []
    for number, convolution in enumerate(main_path(kind), start=1):
        layers += _convolution_lines(
            f"self.conv{number} = ", convolution, helpers, shared, indent=8
        )
        layers.append(f"        self.bn{number} = {_norm(convolution.out_channels, shared)}")
    last = len(kind.kind.convolutions)
    return _BlockView(
        class_name=kind.class_name,
        summary=block_summary(kind),
        signature=call("def __init__(", parameters, ") -> None:", indent=4),
        layers=tuple(layers),
        shortcut=_shortcut_lines(kind, helpers, shared),
        reshapes=kind.reshapes,
        has_shortcut=kind.has_shortcut,
        hidden=tuple(range(1, last)),
        last=last,
    )


def _shortcut_lines(
    kind: Kind, helpers: Mapping[int, _Helper], shared: Constants
) -> tuple[str, ...]:
    if not kind.has_shortcut or kind.reshapes == "never":
        return ()
    indent = 12 if kind.reshapes == "sometimes" else 8
    if kind.kind.shortcut == "zero_pad":
        arguments = [f"{out_channels(kind)} - in_channels", kind.stride]
        return call("self.downsample = ZeroPadShortcut(", arguments, indent=indent)
    (projection,) = projections(kind)
    function, arguments = _convolution_call(projection, helpers, shared)
    layers = [f"{function}({', '.join(arguments)})", _norm(out_channels(kind), shared)]
    return call("self.downsample = nn.Sequential(", layers, indent=indent)


def _stage_lines(stage: Stage, kind: Kind) -> tuple[str, ...]:
    blocks: list[str] = []
    for block, _, repeats in runs(stage):
        arguments = [str(block.in_channels), str(block.width), *block_keywords(block, kind)]
        made = f"{kind.class_name}({', '.join(arguments)})"
        blocks.append(made if repeats == 1 else f"*({made} for _ in range({repeats}))")
    return call(f"self.{stage.name} = nn.Sequential(", blocks, indent=8)
