"""Emits `model_flax.py`: the network as Flax NNX modules whose paths are the canonical names."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resnetgen.emit.flax_layers import (
    IDENTITY,
    RNGS,
    Style,
    activation,
    assignments,
    forward,
    listed,
    make,
    norm_name,
    window_arguments,
)
from resnetgen.emit.kinds import Kind, kinds
from resnetgen.emit.layers import literal, repeated_forms
from resnetgen.emit.padding import padding_note, with_same
from resnetgen.emit.queries import (
    Constants,
    FanMode,
    applies,
    attentions,
    biases,
    blur_padding,
    constants,
    head_dropout,
    head_layers,
)
from resnetgen.emit.render import LINE_LENGTH, Item, call, call_of, ending, render
from resnetgen.emit.source import (
    block_docstring,
    block_parameters,
    complement,
    docstring,
    example_shape,
    header,
    made,
    network_class,
    runs,
    zeroed_norm,
)
from resnetgen.emit.target import Target
from resnetgen.ir.network import HeadPool, Network, Stage
from resnetgen.ir.ops import (
    AvgPool2d,
    BatchNorm2d,
    Dropout,
    DropPath,
    GroupNorm,
    MaxPool2d,
    Op,
    Padding,
)

FILE = "model_flax.py"
_MEANS, _MAXIMA = "x.mean(axis=(1, 2))", "x.max(axis=(1, 2))"
_POOLS: Mapping[HeadPool, tuple[str, ...]] = {
    "avg": (_MEANS,),
    "max": (_MAXIMA,),
    "avgmax": (f"x = ({_MEANS} + {_MAXIMA}) / 2", "x"),
    "catavgmax": (f"x = jnp.concatenate(({_MEANS}, {_MAXIMA}), axis=1)", "x"),
}
"""What pools features x: lines, and an expression behind them."""
_SWITCHED: Mapping[type[Op], str] = {
    BatchNorm2d: "batch normalization",
    DropPath: "stochastic depth",
    Dropout: "dropout",
}
"""What does something else in training."""


@dataclass(frozen=True, slots=True)
class _BlockView:
    """One block class, its calls broken into lines."""

    class_name: str
    docstring: tuple[str, ...]
    signature: tuple[str, ...]
    layers: tuple[str, ...]
    reshapes: str
    downsample: tuple[str, ...]
    forward: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _MaxPoolView:
    """The arguments of the stem's pool, as Python writes them."""

    edge: str | None
    """What is padded above and below, left and right; None for SAME."""
    fill: str
    """What the padding is given more, where it is not zeros."""
    window: str
    strides: str


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
    notes: tuple[str, ...]
    attentions: frozenset[str]
    gelu: bool
    max_pool: _MaxPoolView | None
    average_pool: bool
    blur_padding: str | None
    identity: bool
    pads_zeros: bool
    helpers: tuple[str, ...]
    norm: tuple[str, ...]
    """The lines that give the norms their constants."""
    group_norm: bool
    zeroed: str | None
    """What stands for the norm whose gamma starts at zero."""
    blocks: tuple[_BlockView, ...]
    stem: tuple[str, ...]
    stages: tuple[tuple[str, ...], ...]
    head: tuple[str, ...]
    forward: tuple[str, ...]
    stage_loop: tuple[str, ...]
    head_forward: tuple[str, ...]
    pools: tuple[str, ...]
    dropout: tuple[str, ...]
    classified: str
    """What the last layer makes of pooled features."""
    linear: tuple[str, ...]
    classes: int
    returned: str
    fan_mode: FanMode | None
    conv_init: str
    bias: bool
    biases: str
    """Which convolutions have a bias, those of attention too."""


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
        f"{network.returns} = model(images)  # images are channels-last",
    )


TARGET = Target("flax", source=FILE, emit=emit, usage=usage, title="Flax NNX")


def _view(network: Network) -> _View:
    network = with_same(network)
    shared = constants(network)
    found = kinds(network)
    stem, head, dropout = literal(network.stem[1:]), head_layers(network), head_dropout(network)
    *pools, pooled = _POOLS[network.head_pool]
    layers = (layer for kind in found for layer in (*kind.main, *kind.side))
    style = Style(repeated_forms([*stem, *layers]), shared)
    class_name = network_class(network)
    return _View(
        header=header(network, "flax"),
        docstring=docstring(network, "Flax NNX"),
        network_class=class_name,
        exported=_items(
            "__all__ = [",
            [f'"{name}"' for name in (class_name, *sorted((network.name, "load_safetensors")))],
            "]",
            indent=0,
        ),
        factory_signature=call(
            f"def {network.name}(",
            [f"num_classes: int = {network.classes}", "*", "rngs: nnx.Rngs"],
            f") -> {class_name}:",
            indent=0,
        ),
        channels=network.input_channels,
        notes=_notes(network, shared),
        attentions=attentions(network),
        gelu=applies(network, "gelu"),
        blur_padding=blur_padding(network, "stride"),
        max_pool=_max_pool_view(network),
        average_pool=any(
            isinstance(op, AvgPool2d) and op.padding.bottom and not op.counts_padding
            for op in network.ops
        ),
        identity=any(_may_be_identity(kind) for kind in found),
        pads_zeros=any(kind.pads_zeros for kind in found),
        helpers=tuple(
            line
            for each, name in style.helpers.items()
            for line in call(
                f"{name} = partial(", ["conv", *window_arguments(each, shared)], indent=0
            )
        ),
        norm=_norm_lines(shared),
        group_norm=isinstance(shared.norm, GroupNorm),
        zeroed=norm_name(shared) if any(zeroed_norm(kind) for kind in found) else None,
        blocks=tuple(_block_view(kind, style) for kind in found),
        stem=assignments(stem, style, indent=8),
        stages=tuple(_stage_lines(stage, found) for stage in network.stages),
        head=assignments(head, style, indent=8),
        forward=forward(stem),
        stage_loop=_stage_loop(network),
        head_forward=forward(head),
        classes=network.classes,
        returned=network.returns,
        fan_mode=shared.fan_mode,
        conv_init=shared.conv_init,
        bias=shared.bias,
        biases=biases(network),
        pools=tuple(pools),
        dropout=assignments(dropout, style, indent=8),
        classified=f"self.fc(self.dropout({pooled}))" if dropout else f"self.fc({pooled})",
        linear=_linear_lines(shared),
    )


def _max_pool_view(network: Network) -> _MaxPoolView | None:
    op = next((op for op in network.stem if isinstance(op, MaxPool2d)), None)
    if op is None:
        return None
    edge, side = None, op.padding
    if isinstance(side, Padding):
        # The source pads rows and columns alike.
        assert (side.left, side.right) == (side.top, side.bottom), op
        edge = f"({side.top}, {side.bottom})"
    return _MaxPoolView(
        edge=edge,
        fill="" if op.pads_zeros else ", constant_values=-jnp.inf",
        window=f"({op.kernel}, {op.kernel})",
        strides=f"({op.stride}, {op.stride})",
    )


def _notes(network: Network, shared: Constants) -> tuple[str, ...]:
    """What a user of the source has to know, as lines."""
    padding = padding_note(network, same="SAME", explicit="Padding is explicit")
    notes = ["Images are channels-last.", *padding]
    kinds_there = {type(op) for op in network.ops}
    switched = [name for kind, name in _SWITCHED.items() if kind in kinds_there]
    if switched:
        *others, last = switched
        subject = f"{', '.join(others)} and {last} follow" if others else f"{last} follows"
        notes.append(f"{subject.capitalize()} model.train() and model.eval().")
    return tuple(textwrap.wrap(" ".join(notes), LINE_LENGTH))


def _norm_lines(shared: Constants) -> tuple[str, ...]:
    match shared.norm:
        case None:
            return ()
        case BatchNorm2d(momentum=momentum, epsilon=epsilon):
            constants = f"momentum={complement(momentum)}, epsilon={epsilon!r}"
            return (
                "# NNX keeps `momentum` of the old statistic;"
                f" this is PyTorch's momentum={momentum!r}.",
                f"batch_norm = partial(nnx.BatchNorm, {constants})",
            )
        case GroupNorm(groups=groups, epsilon=epsilon):
            # NNX's fast variance, a difference of two means, rounds more.
            arguments = ["nnx.GroupNorm", f"num_groups={groups}", f"epsilon={epsilon!r}"]
            return call("group_norm = partial(", [*arguments, "use_fast_variance=False"], indent=0)


def _block_view(kind: Kind, style: Style) -> _BlockView:
    sizes = (f"{size}: int" for size in ("in_channels", *kind.sizes))
    parameters = ["self", *sizes, *block_parameters(kind)]
    return _BlockView(
        class_name=kind.class_name,
        docstring=block_docstring(kind),
        signature=call(
            "def __init__(", [*parameters, "*", "rngs: nnx.Rngs"], ") -> None:", indent=4
        ),
        layers=assignments((*kind.preactivation, *kind.main), style, indent=8),
        reshapes=kind.reshapes,
        downsample=_downsample_lines(kind, style),
        forward=_block_forward(kind),
    )


def _block_forward(kind: Kind) -> tuple[str, ...]:
    end = "x + shortcut" if kind.has_shortcut else "x"
    if kind.activation is not None:
        end = f"{activation(kind.activation)}({end})"
    return (*_shortcut_lines(kind), *ending(forward(kind.main), end))


def _shortcut_lines(kind: Kind) -> tuple[str, ...]:
    """Keeps what is added at the end, and activates the input where that comes first."""
    activated = forward(kind.preactivation)
    kept = ("        shortcut = x",)
    loop = ("        for layer in self.downsample:", "            shortcut = layer(shortcut)")
    match kind.reshapes:
        case _ if not kind.has_shortcut:
            return activated
        case "never":
            return (*kept, *activated)
        case "always" if kind.projects:
            return (*activated, *kept, *loop)
        case "sometimes" if activated and kind.projects:
            inner = (f"    {line}" for line in (*kept, *loop))
            return (*kept, *activated, "        if self.downsample:", *inner)
        case _:
            return (*kept, *loop, *activated)


def _downsample_lines(kind: Kind, style: Style) -> tuple[str, ...]:
    """Fills the list of what the shortcut goes through."""
    sometimes = kind.reshapes == "sometimes"
    head = "self.downsample.extend(" if sometimes else "self.downsample = nnx.List("
    if kind.reshapes == "never":
        return ()
    if kind.pads_zeros:
        layers = [Item("ZeroPadShortcut", (f"{kind.out_channels} - in_channels", kind.stride))]
    else:
        layers = [make(layer, style) for layer in kind.side]
    if kind.lacks_pool:
        layers.insert(0, IDENTITY)
    elif kind.side[0].optional:
        layers[0] = Item(f"{layers[0].text} if stride > 1 else {IDENTITY.text}")
    if sometimes and len(layers) == 1:
        return call_of("self.downsample.append(", layers, indent=12)
    return listed(head, layers, indent=12 if sometimes else 8)


def _stage_lines(stage: Stage, found: Sequence[Kind]) -> tuple[str, ...]:
    blocks = [made(block, kind, repeats, RNGS) for block, kind, _, repeats in runs(stage, found)]
    return listed(f"self.{stage.name} = nnx.List(", blocks, indent=8)


def _may_be_identity(kind: Kind) -> bool:
    """Whether some blocks have nothing where others have what strides."""
    return kind.lacks_pool or any(layer.optional for layer in (*kind.side, *kind.main))


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
    before: tuple[str, ...] = ()
    if shared.linear_init == "glorot_uniform":
        arguments.append("kernel_init=nnx.initializers.glorot_uniform()")
    elif shared.linear_init == "he_fan_in":
        before = ('he_normal = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")',)
        arguments.append("kernel_init=he_normal")
    elif shared.linear_init == "lecun_normal":
        arguments.append("kernel_init=nnx.initializers.lecun_normal()")
    elif shared.linear_init == "normal":
        arguments.append("kernel_init=nnx.initializers.normal(0.01)")
    else:
        before = (
            "# As PyTorch's nn.Linear starts: weight and bias within 1/sqrt(in_features) of zero.",
            f"bound = {shared.features}**-0.5",
            "uniform = partial(jax.random.uniform, minval=-bound, maxval=bound)",
        )
        arguments += ["kernel_init=uniform", "bias_init=uniform"]
    return (
        *(f"        {line}" for line in before),
        *call("self.fc = nnx.Linear(", [*arguments, RNGS], indent=8),
    )
