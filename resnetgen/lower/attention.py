"""Lowers attention: gates for a block's channels, from their means, and their application."""

import math

from resnetgen.ir.ops import Activation, ChannelConv, GlobalAvgPool, Op, Scale, Sigmoid
from resnetgen.lower.parts import convolution
from resnetgen.spec.model import ModelSpec

_SHORTEST_KERNEL = 3


def lower_attention(
    spec: ModelSpec, block: str, *, source: str, channels: int, unpruned: int, squeezed: int
) -> tuple[Op, ...]:
    """The ops that weigh the value `source` of `block`, named below `se` as in timm.

    `unpruned` are the channels that there were when attention got its size, and `squeezed` those
    of the block that the ones inside are a part of.
    """
    name = f"{block}.se"
    pool = GlobalAvgPool(f"{name}.pool", (source,))
    match spec.attention:
        case "none":
            return ()
        case "se":
            inside = _inside(squeezed, spec.se_ratio, divisor=spec.se_divisor)
            gates = _squeeze(spec, name, source=pool.name, channels=channels, inside=inside)
        case "eca":
            gates = (ChannelConv(f"{name}.conv", (pool.name,), eca_kernel(unpruned)),)
    gate = Sigmoid(f"{name}.gate", (gates[-1].name,))
    return (pool, *gates, gate, Scale(f"{name}.scale", (source, gate.name)))


def _squeeze(
    spec: ModelSpec, name: str, *, source: str, channels: int, inside: int
) -> tuple[Op, ...]:
    """Hu et al., "Squeeze-and-Excitation Networks", 2018, equation 3."""
    down = convolution(
        spec,
        f"{name}.fc1",
        source=source,
        in_channels=channels,
        out_channels=inside,
        kernel=1,
        bias=True,
    )
    # As in timm, whatever activation the network has.
    act = Activation(f"{name}.act", (down.name,), "relu")
    up = convolution(
        spec,
        f"{name}.fc2",
        source=act.name,
        in_channels=inside,
        out_channels=channels,
        kernel=1,
        bias=True,
    )
    return (down, act, up)


def _inside(channels: int, ratio: float, *, divisor: int) -> int:
    """The nearest multiple of the divisor, and at least that: timm's `make_divisible`."""
    return max(divisor, int(channels * ratio + divisor / 2) // divisor * divisor)


def eca_kernel(channels: int) -> int:
    """The odd number near (log2(channels) + 1) / 2: Wang et al., "ECA-Net", 2020, equation 12."""
    near = int(abs(math.log2(channels) + 1) / 2)
    return max(near if near % 2 else near + 1, _SHORTEST_KERNEL)
