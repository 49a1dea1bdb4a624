"""Draws weights that hide nothing and keep every value in range, however deep the network is.

Statistics drawn blindly blow a deep network up. Here the interpreter goes layer by layer, and
each norm's statistics are set from what that norm sees, moved by a seeded factor and offset. They
are set from the mean square, not from the variance: a norm that takes the whole mean away
amplifies the rounding errors in what is left, by a fifth per layer.
Everything is drawn in float32, so that each framework can hold it exactly, and is keyed by
(seed, canonical name).
"""

import math
from collections.abc import Iterator, Mapping
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

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
    Norm,
    Op,
    PadChannels,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)
from resnetgen.ir.rules import parameters
from resnetgen.verify.reference import Array, Inputs, Tensors, evaluate, run
from resnetgen.weights.initial import stream

Single = NDArray[np.float32]

_CONVOLUTION_GAIN = 0.03
"""Times He's deviation: norms then divide by a variance near 0.001, so that half of 1e-5 more
epsilon moves their output by 2e-3, far above what float32 rounds away."""
_SMALLEST_SHARE = 0.5
"""The least variance that a norm divides by, as a share of its channels' mean: a channel that is
nearly silent on this image would else amplify rounding."""


_LARGEST_BEFORE_GATE = 4.0
"""What a sigmoid is given at most: beyond it gates are open or shut, and show nothing of what is in
front of them."""


class Drawn:
    """The drawn tensors by canonical name, filled while `walk` goes through the network."""

    def __init__(self, network: Network, *, seed: int) -> None:
        self.tensors: dict[str, Single] = {}
        self._network = network
        self._seed = seed
        self._branch_share = _branch_shares(network)
        self._normalized = {op.inputs[0] for op in network.ops if isinstance(op, Norm)}
        self._gating = {op.inputs[0] for op in network.ops if isinstance(op, Sigmoid)}

    def walk(self, image: Array) -> Iterator[tuple[Op, Array]]:
        """Draws every op's tensors from what it sees of `image`; yields each op and its value."""
        return run(self._network.ops, {self._network.stem[0].name: image}, tensors=self._draw)

    def _draw(self, op: Op, inputs: tuple[Array, ...]) -> Tensors:
        single = self._draw_single(op, inputs)
        if op.name in self._gating:
            single = _held_down(op, inputs, single)
        for parameter in parameters(op):
            kind = parameter.kind
            assert single[kind].shape == parameter.shape, parameter.name
            self.tensors[parameter.name] = single[kind]
        return _doubles(single)

    def _draw_single(self, op: Op, inputs: tuple[Array, ...]) -> dict[str, Single]:
        match op:
            case Conv2d():
                shape = parameters(op)[0].shape
                weight = self._normal(f"{op.name}.weight", shape)
                gain = _CONVOLUTION_GAIN if op.name in self._normalized else 1.0
                gain *= self._branch_share.get(op.name, 1.0)
                weight *= np.float32(gain * math.sqrt(2 / math.prod(shape[1:])))
                if not op.bias:
                    return {"weight": weight}
                bias = self._normal(f"{op.name}.bias", (op.out_channels,))
                return {"weight": weight, "bias": bias * np.float32(gain)}
            case ChannelConv():
                return {"weight": self._normal(f"{op.name}.weight", (1, 1, op.kernel))}
            case BatchNorm2d():
                return self._draw_norm(op, inputs[0])
            case GroupNorm():
                return self._draw_affine(op)
            case Linear():
                shape = (op.out_features, op.in_features)
                weight = self._normal(f"{op.name}.weight", shape)
                weight *= np.float32(1 / math.sqrt(op.in_features))
                return {"weight": weight, "bias": self._normal(f"{op.name}.bias", shape[:1])}
            case (
                Input()
                | Activation()
                | Sigmoid()
                | Scale()
                | MaxPool2d()
                | AvgPool2d()
                | BlurPool()
                | Subsample()
                | PadChannels()
                | Add()
                | Dropout()
                | DropPath()
                | GlobalAvgPool()
                | GlobalMaxPool()
                | Mean()
                | Concat()
                | Flatten()
                | Softmax()
            ):
                return {}
            case _:
                assert_never(op)

    def _draw_norm(self, op: BatchNorm2d, seen: Array) -> dict[str, Single]:
        square = np.square(seen).mean(axis=(0, 2, 3))
        variance = np.maximum(square, _SMALLEST_SHARE * square.mean())
        factor = np.exp2(stream(self._seed, f"{op.name}.running_var").uniform(-1, 1, op.channels))
        offset = stream(self._seed, f"{op.name}.running_mean").uniform(-1, 1, op.channels)
        return {
            **self._draw_affine(op),
            "running_mean": (np.sqrt(variance) * offset).astype(np.float32),
            "running_var": (variance * factor).astype(np.float32),
        }

    def _draw_affine(self, op: Norm) -> dict[str, Single]:
        gamma_stream = stream(self._seed, f"{op.name}.weight")
        gamma = gamma_stream.uniform(0.5, 1.5, op.channels)
        gamma *= gamma_stream.choice((-1.0, 1.0), op.channels)
        gamma *= self._branch_share.get(op.name, 1.0)
        return {
            "weight": gamma.astype(np.float32),
            "bias": self._normal(f"{op.name}.bias", (op.channels,)) * np.float32(0.3),
        }

    def _normal(self, name: str, shape: tuple[int, ...]) -> Single:
        return stream(self._seed, name).standard_normal(shape, dtype=np.float32)


def _doubles(single: Mapping[str, Single]) -> dict[str, Array]:
    return {kind: tensor.astype(np.float64) for kind, tensor in single.items()}


def _held_down(op: Op, inputs: Inputs, single: dict[str, Single]) -> dict[str, Single]:
    """The tensors, or so much less of them that a sigmoid behind the op is not saturated.

    They are turned round where that leaves the widest gate open: if the image is then scaled up and
    all were shut, the values behind them would be those of rounding.
    """
    value = evaluate(op, inputs, tensors=_doubles(single))
    highest, lowest = float(value.max()), float(value.min())
    peak = max(highest, -lowest)
    share = min(1.0, _LARGEST_BEFORE_GATE / peak) if peak else 1.0
    turned = np.float32(share if highest >= -lowest else -share)
    return {kind: tensor * turned for kind, tensor in single.items()}


def _branch_shares(network: Network) -> dict[str, float]:
    """What each branch's last gamma or kernel is multiplied by, so that a stage's sum stays near
    one."""
    shares: dict[str, float] = {}
    for stage in network.stages:
        share = 1 / math.sqrt(len(stage.blocks))
        for block in stage.blocks:
            if block.shortcut != "none":
                scaling = (op for op in block.main if op not in block.attention)
                scaled = [op.name for op in scaling if isinstance(op, Norm | Conv2d)]
                shares[scaled[-1]] = share
    return shares
