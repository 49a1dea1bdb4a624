"""Emits `model_flax.py`: the network as Flax NNX modules whose paths are the canonical names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.kinds import Kind, kinds
from resnetgen.emit.layers import Form, Layer, chains, form, literal, members, repeated_forms
from resnetgen.emit.render import LINE_LENGTH, call, render
from resnetgen.emit.source import (
    Constants,
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
    network_class,
    pads_strided,
    runs,
    zeroed_norm,
)
from resnetgen.emit.target import Target
from resnetgen.ir.network import Network, Stage
from resnetgen.ir.ops import AvgPool2d, BatchNorm2d, BlurPool, Conv2d, MaxPool2d, Relu, Scale

FILE = "model_flax.py"
_RNGS = "rngs=rngs"


@dataclass(frozen=True, slots=True)
class _Item:
    """What stands in a list: a name or an expression, or the call of a function."""

    function: str
    arguments: tuple[str, ...] | None = None

    @property
    def text(self) -> str:
        """It on one line."""
        if self.arguments is None:
            return self.function
        return f"{self.function}({', '.join(self.arguments)})"

    def lines(self, *, indent: int) -> tuple[str, ...]:
        """It on lines of its own, with a comma behind it."""
        if self.arguments is None:
            return (f"{' ' * indent}{self.function},",)
        return call(f"{self.function}(", self.arguments, "),", indent=indent)


@dataclass(frozen=True, slots=True)
class _BlockView:
    """One block class, its calls broken into lines."""

    class_name: str
    summary: str
    signature: tuple[str, ...]
    layers: tuple[str, ...]
    reshapes: str
    downsample: tuple[str, ...]
    forward: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """All that the template writes."""

    header: tuple[str, ...]
    docstring: tuple[str, ...]
    network_class: str
    exported: tuple[str, ...]
    """The lines of `__all__`."""
    factory_signature: tuple[str, ...]
    channels: int
    strided_padding: bool
    attentions: frozenset[str]
    max_pool: MaxPool2d | None
    average_pool: bool
    blur_padding: str | None
    identity: bool
    pads_zeros: bool
    helpers: tuple[str, ...]
    momentum: str
    torch_momentum: str
    epsilon: str
    zeroed: bool
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    forward: tuple[str, ...]
    stage_loop: tuple[str, ...]
    linear: tuple[str, ...]
    classes: int
    init_mode: str
    bias: bool
    biases: str
    """Which convolutions have a bias, those of attention too."""


_IDENTITY = _Item("identity")
_MADE = (Conv2d, BatchNorm2d, Scale, AvgPool2d, BlurPool)
"""Ops that are attributes of their module; others are functions where they are applied."""


def emit(network: Network) -> Mapping[str, bytes]:
    """The Flax source of `network`."""
    return {FILE: render("flax/model.py.jinja", _view(network)).encode()}


def usage(network: Network) -> tuple[str, ...]:
    """How to load the model with its weights."""
    return (
        "import model_flax",
        "from flax import nnx",
        "from jax import numpy as jnp",
        "",
        *call(f"model = model_flax.{network.name}(", ["rngs=nnx.Rngs(0)"], indent=0),
        'model_flax.load_safetensors(model, "model.safetensors")',
        "model.eval()",
        f"images = jnp.zeros({example_shape(network, channels_last=True)})",
        "logits = model(images)  # images are channels-last",
    )


TARGET = Target("flax", source=FILE, emit=emit, usage=usage, title="Flax NNX")


def _view(network: Network) -> _View:
    shared = constants(network)
    found = kinds(network)
    stem = literal(network.stem[1:])
    layers = (layer for kind in found for layer in (*kind.main, *kind.side))
    repeated = repeated_forms([*stem, *layers])
    returned = network_class(network)
    return _View(
        header=header(network, "flax"),
        docstring=docstring(network, "Flax NNX"),
        network_class=returned,
        exported=_items(
            "__all__ = [",
            [f'"{name}"' for name in (returned, *sorted((network.name, "load_safetensors")))],
            "]",
            indent=0,
        ),
        factory_signature=call(
            f"def {network.name}(",
            [f"num_classes: int = {network.classes}", "*", "rngs: nnx.Rngs"],
            f") -> {returned}:",
            indent=0,
        ),
        channels=network.input_channels,
        strided_padding=pads_strided(network),
        attentions=attentions(network),
        blur_padding=blur_padding(network, "stride"),
        max_pool=next((op for op in network.stem if isinstance(op, MaxPool2d)), None),
        average_pool=any(isinstance(op, AvgPool2d) and op.padding.bottom for op in network.ops),
        identity=any(_may_be_identity(kind) for kind in found),
        pads_zeros=any(kind.pads_zeros for kind in found),
        helpers=tuple(
            f"{each.name} = partial(conv, {', '.join(_window(each))})" for each in repeated
        ),
        momentum=complement(shared.momentum),
        torch_momentum=repr(shared.momentum),
        epsilon=repr(shared.epsilon),
        zeroed=any(zeroed_norm(kind) for kind in found),
        blocks=tuple(_block_view(kind, repeated) for kind in found),
        stem=_assignments(stem, repeated, indent=8),
        stages=tuple(_stage_lines(stage, found) for stage in network.stages),
        forward=_forward(stem),
        stage_loop=_stage_loop(network),
        classes=network.classes,
        init_mode=shared.conv_init.removeprefix("he_"),
        bias=shared.bias,
        biases=biases(network),
        linear=_linear_lines(shared),
    )


def _window(each: Form) -> list[str]:
    window = [f"kernel_size=({each.kernel}, {each.kernel})", f"padding={each.kernel // 2}"]
    return window if each.groups == 1 else [*window, f"feature_group_count={each.groups}"]


def _assignments(
    layers: Sequence[Layer], repeated: Sequence[Form], *, indent: int
) -> tuple[str, ...]:
    """Makes every layer that has weights an attribute."""
    lines: list[str] = []
    for member in members(layers):
        layer = member.layers[0]
        if member.is_sequence:
            made = [_made(each, repeated) for each in member.layers]
            lines += _listed(f"self.{member.name} = nnx.List(", made, indent=indent)
        elif layer.optional and isinstance(layer.op, BlurPool):
            filtered = _made(layer, repeated).text
            margin = " " * indent
            lines.append(f"{margin}self.aa = {filtered} if stride > 1 else {_IDENTITY.text}")
        elif isinstance(layer.op, _MADE):
            # Where nothing strides, an average pool takes the mean of one pixel.
            function, arguments = _call(layer, repeated)
            lines += call(f"self.{member.name} = {function}(", arguments, indent=indent)
    return tuple(lines)


def _made(layer: Layer, repeated: Sequence[Form]) -> _Item:
    """What a list has for the layer: a module, or a function where there are no weights."""
    if isinstance(layer.op, Relu):
        return _Item("nnx.relu")
    if isinstance(layer.op, MaxPool2d):
        return _Item("max_pool")
    function, arguments = _call(layer, repeated)
    return _Item(function, tuple(arguments))


def _call(layer: Layer, repeated: Sequence[Form]) -> tuple[str, list[str]]:
    """The function that makes a layer, and its arguments."""
    match layer.op:
        case Conv2d():
            return _convolution(layer, layer.op, repeated)
        case BatchNorm2d():
            function = "last_batch_norm" if layer.op.zero_gamma else "batch_norm"
            return function, [layer.text("channels"), _RNGS]
        case Scale():
            if "squeezed" in layer.expressions:
                sizes = [layer.text("channels"), layer.text("squeezed")]
                return "SqueezeExcite", [*sizes, _RNGS]
            return "EfficientChannelAttention", [layer.text("kernel_size"), _RNGS]
        case AvgPool2d():
            stride = layer.text("stride")
            if layer.op.padding.bottom:
                return "average_pool", [stride]
            window = f"({stride}, {stride})"
            return "partial", ["nnx.avg_pool", f"window_shape={window}", f"strides={window}"]
        case BlurPool():
            return "partial", ["blur_pool", f"stride={layer.text('stride')}"]
        case _:
            raise AssertionError(f"{layer.op.name}: {type(layer.op).__name__} has no weights")


def _convolution(layer: Layer, op: Conv2d, repeated: Sequence[Form]) -> tuple[str, list[str]]:
    arguments = [layer.text("in_channels"), layer.text("out_channels")]
    strides = [] if layer.text("stride") == "1" else [f"strides={layer.text('stride')}"]
    if form(op) in repeated:
        return form(op).name, [*arguments, *strides, _RNGS]
    window, *others = _window(form(op))
    return "conv", [*arguments, window, *strides, *others, _RNGS]


def _forward(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Applies the layers to x, a line up to each activation, and a loop for each list."""
    lines: list[str] = []
    for chain in chains(layers):
        applied = "x"
        for member in chain:
            if member.is_sequence:
                assert applied == "x", f"{member.name}: a list in the middle of a line"
                lines += (
                    f"        for layer in self.{member.name}:",
                    "            x = layer(x)",
                )
            else:
                applied = _applied(member.layers[0], applied)
        if applied != "x":
            lines.append(f"        x = {applied}")
    return tuple(lines)


def _applied(layer: Layer, value: str) -> str:
    match layer.op:
        case Relu():
            return f"nnx.relu({value})"
        case MaxPool2d():
            return f"max_pool({value})"
        case _:
            return f"self.{layer.name}({value})"


def _block_view(kind: Kind, repeated: Sequence[Form]) -> _BlockView:
    sizes = (f"{size}: int" for size in ("in_channels", *kind.sizes))
    parameters = ["self", *sizes, *block_parameters(kind)]
    return _BlockView(
        class_name=kind.class_name,
        summary=block_summary(kind),
        signature=call(
            "def __init__(", [*parameters, "*", "rngs: nnx.Rngs"], ") -> None:", indent=4
        ),
        layers=_assignments(kind.main, repeated, indent=8),
        reshapes=kind.reshapes,
        downsample=_downsample_lines(kind, repeated),
        forward=_block_forward(kind),
    )


def _block_forward(kind: Kind) -> tuple[str, ...]:
    shortcut: tuple[str, ...] = ()
    if kind.has_shortcut:
        shortcut = ("        shortcut = x",)
        if kind.reshapes != "never":
            shortcut += (
                "        for layer in self.downsample:",
                "            shortcut = layer(shortcut)",
            )
    end = "x + shortcut" if kind.has_shortcut else "x"
    return (*shortcut, *_forward(kind.main), f"        return nnx.relu({end})")


def _downsample_lines(kind: Kind, repeated: Sequence[Form]) -> tuple[str, ...]:
    """Fills the list of what the shortcut goes through."""
    sometimes = kind.reshapes == "sometimes"
    head = "self.downsample.extend(" if sometimes else "self.downsample = nnx.List("
    if kind.reshapes == "never":
        return ()
    if kind.pads_zeros:
        made = [_Item("ZeroPadShortcut", (f"{kind.out_channels} - in_channels", kind.stride))]
    else:
        made = [_made(layer, repeated) for layer in kind.side]
    if kind.lacks_pool:
        made.insert(0, _IDENTITY)
    elif kind.side[0].optional:
        made[0] = _Item(f"{made[0].text} if stride > 1 else {_IDENTITY.text}")
    return _listed(head, made, indent=12 if sometimes else 8)


def _stage_lines(stage: Stage, found: Sequence[Kind]) -> tuple[str, ...]:
    blocks: list[_Item] = []
    for block, kind, _, repeats in runs(stage, found):
        arguments = [
            str(block.in_channels),
            *kind.sizes_of(block),
            *block_keywords(block, kind),
            _RNGS,
        ]
        made = _Item(kind.class_name, tuple(arguments))
        if repeats > 1:
            made = _Item(f"*({made.text} for _ in range({repeats}))")
        blocks.append(made)
    return _listed(f"self.{stage.name} = nnx.List(", blocks, indent=8)


def _may_be_identity(kind: Kind) -> bool:
    """Whether some blocks have nothing where others have what strides."""
    filters = (layer for layer in kind.main if isinstance(layer.op, BlurPool))
    return kind.lacks_pool or any(layer.optional for layer in (*kind.side, *filters))


def _listed(head: str, items: Sequence[_Item], *, indent: int) -> tuple[str, ...]:
    """A call whose one argument is a list, broken as `ruff format` does."""
    outer, inner = " " * indent, " " * (indent + 4)
    listed = f"[{', '.join(item.text for item in items)}]"
    if len(outer) + len(head) + len(listed) + 1 <= LINE_LENGTH:
        return (f"{outer}{head}{listed})",)
    if len(inner) + len(listed) <= LINE_LENGTH:
        return (f"{outer}{head}", f"{inner}{listed}", f"{outer})")
    lines = [line for item in items for line in item.lines(indent=indent + 8)]
    return (f"{outer}{head}", f"{inner}[", *lines, f"{inner}]", f"{outer})")


def _stage_loop(network: Network) -> tuple[str, ...]:
    names = [f"self.{stage.name}" for stage in network.stages]
    # One name in parentheses is a tuple only with a comma behind it.
    items = [f"{names[0]},"] if len(names) == 1 else names
    return _items("for stage in (", items, "):", indent=8)


def _items(head: str, items: Sequence[str], tail: str, *, indent: int) -> tuple[str, ...]:
    """A list or tuple on one line, or one item a line."""
    margin = " " * indent
    line = f"{margin}{head}{', '.join(items)}{tail}"
    if len(line) <= LINE_LENGTH:
        return (line,)
    return (f"{margin}{head}", *(f"{margin}    {item}," for item in items), f"{margin}{tail}")


def _linear_lines(shared: Constants) -> tuple[str, ...]:
    arguments = [f"{shared.features}", "num_classes"]
    if shared.linear_init == "he_fan_in":
        before = ('he_normal = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")',)
        arguments.append("kernel_init=he_normal")
    else:
        before = (
            "# As PyTorch's nn.Linear starts: weight and bias within 1/sqrt(in_features) of zero.",
            f"bound = {shared.features}**-0.5",
            "uniform = partial(jax.random.uniform, minval=-bound, maxval=bound)",
        )
        arguments += ["kernel_init=uniform", "bias_init=uniform"]
    return (
        *(f"        {line}" for line in before),
        *call("self.fc = nnx.Linear(", [*arguments, _RNGS], indent=8),
    )
