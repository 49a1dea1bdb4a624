"""What sources need to know of a whole network: the numbers and the choices that it makes once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from resnetgen.emit.layers import Layer, literal
from resnetgen.ir.network import Network
from resnetgen.ir.ops import (
    Activation,
    BatchNorm2d,
    BlurPool,
    ChannelConv,
    Conv2d,
    ConvInit,
    Dropout,
    Function,
    GlobalAvgPool,
    GlobalMaxPool,
    Linear,
    LinearInit,
    Norm,
)

FanMode = Literal["fan_in", "fan_out"]
"""As all frameworks call it."""
Extent = Literal["never", "sometimes", "always"]
_FAN_MODES: Mapping[ConvInit, FanMode | None] = {
    "he_fan_in": "fan_in",
    "he_fan_out": "fan_out",
    "glorot_uniform": None,
    "lecun_normal": None,
}


@dataclass(frozen=True, slots=True)
class Constants:
    """The numbers that one network's layers share."""

    norm: Norm | None
    """One of the norms, where there are any: they differ in their channels alone."""
    bias: bool
    """Whether all convolutions have a bias, those of attention aside."""
    fan_mode: FanMode | None
    """Over which fan He's normal initialization takes the convolutions; None for the others."""
    conv_init: ConvInit
    linear_init: LinearInit
    features: int


def constants(network: Network) -> Constants:
    """Reads off the shared numbers, and asserts that they are shared."""
    norms = [op for op in network.ops if isinstance(op, Norm)]
    convolutions = network.convolutions
    linear = next(op for op in network.head if isinstance(op, Linear))
    for norm in norms:
        assert _norm_constants(norm) == _norm_constants(norms[0]), norm
    for conv in convolutions:
        assert conv.init == convolutions[0].init, conv
    return Constants(
        norm=norms[0] if norms else None,
        bias=conv_biases(network) == "always",
        fan_mode=_FAN_MODES[convolutions[0].init],
        conv_init=convolutions[0].init,
        linear_init=linear.init,
        features=linear.in_features,
    )


def _norm_constants(op: Norm) -> tuple[float, float]:
    return (op.epsilon, op.momentum if isinstance(op, BatchNorm2d) else op.groups)


def biases(network: Network) -> Extent:
    """Which convolutions have a bias, those of attention too."""
    return extent(op.bias for op in network.ops if isinstance(op, Conv2d))


def conv_biases(network: Network) -> Extent:
    """Which convolutions have a bias, those of attention aside."""
    return extent(conv.bias for conv in network.convolutions)


def extent(found: Iterable[bool]) -> Extent:
    """How many of a network's layers have a property."""
    both = set(found)
    if both == {True}:
        return "always"
    return "sometimes" if True in both else "never"


def attentions(network: Network) -> frozenset[Literal["se", "eca"]]:
    """What attention the network's blocks have."""
    inner = [op for block in network.blocks for op in block.attention]
    found: set[Literal["se", "eca"]] = set()
    if any(isinstance(op, ChannelConv) for op in inner):
        found.add("eca")
    if any(isinstance(op, Conv2d) for op in inner):
        found.add("se")
    return frozenset(found)


def blur_padding(network: Network, stride: str) -> str | None:
    """What the network's blur pools pad, as an expression in `stride`; None without any."""
    found = {op.padding.top for op in network.ops if isinstance(op, BlurPool)}
    if not found:
        return None
    return str(found.pop()) if len(found) == 1 else f"({stride} + 1) // 2"


def applies(network: Network, function: Function) -> bool:
    """Whether any activation of the network is this function."""
    return any(isinstance(op, Activation) and op.function == function for op in network.ops)


def head_layers(network: Network) -> tuple[Layer, ...]:
    """What the head applies before it pools: a norm and an activation, or nothing."""
    pools = GlobalAvgPool | GlobalMaxPool
    ends = (index for index, op in enumerate(network.head) if isinstance(op, pools))
    return literal(network.head[: next(ends)])


def has_shortcuts(network: Network) -> bool:
    """Whether any block adds a shortcut; without one the network is the paper's plain net."""
    return any(block.shortcut != "none" for block in network.blocks)


def head_dropout(network: Network) -> tuple[Layer, ...]:
    """The dropout in front of the last layer, or nothing."""
    return literal(op for op in network.head if isinstance(op, Dropout))
