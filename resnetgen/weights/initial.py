"""Draws a network's initial weights from a seed, as its spec's initialization says."""

import hashlib
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Network
from resnetgen.ir.ops import BatchNorm2d, ChannelConv, Conv2d, GroupNorm, Linear, Op
from resnetgen.ir.rules import parameters

Tensor = NDArray[np.float32]
_CUT = 2.0
"""At how many deviations a normal's tails are cut off."""
_LEFT = 0.87962566103423978
"""What deviation a normal of deviation 1 has then."""


def initial(network: Network, *, seed: int) -> Iterator[Tensor]:
    """All tensors in the layout's order.

    Each tensor has a random stream of its own, keyed by the seed and its name: neither order nor
    the rest of the network has an influence, so the trunk is the same for any number of classes.
    """
    owned = [(parameter, op) for op in network.ops for parameter in parameters(op)]
    for parameter, op in sorted(owned, key=lambda pair: pair[0].name):
        yield _initial_tensor(op, parameter.name, parameter.shape, seed)


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream that belongs to one name."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, key])))


def _initial_tensor(op: Op, name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    kind = name.rpartition(".")[2]
    match op:
        case Conv2d():
            if kind == "bias":
                return np.zeros(shape, np.float32)
            if op.init == "glorot_uniform":
                fans = (shape[0] + shape[1]) * op.kernel**2
                return _uniform(seed, name, shape, bound=math.sqrt(6 / fans))
            if op.init == "lecun_normal":
                return _cut_normal(seed, name, shape, std=1 / math.sqrt(shape[1] * op.kernel**2))
            # A group's inputs, but all outputs: as PyTorch counts, and Keras and JAX alike.
            channels = shape[1] if op.init == "he_fan_in" else shape[0]
            return _normal(seed, name, shape, std=math.sqrt(2 / (channels * op.kernel**2)))
        case Linear():
            if op.init == "uniform_fan_in":
                return _uniform(seed, name, shape, bound=1 / math.sqrt(op.in_features))
            if kind == "bias":
                return np.zeros(shape, np.float32)
            if op.init == "he_fan_in":
                return _normal(seed, name, shape, std=math.sqrt(2 / op.in_features))
            if op.init == "lecun_normal":
                return _cut_normal(seed, name, shape, std=1 / math.sqrt(op.in_features))
            if op.init == "normal":
                return _normal(seed, name, shape, std=0.01)
            bound = math.sqrt(6 / (op.in_features + op.out_features))
            return _uniform(seed, name, shape, bound=bound)
        case ChannelConv():
            return _uniform(seed, name, shape, bound=1 / math.sqrt(op.kernel))
        case BatchNorm2d() | GroupNorm():
            ones = kind == "running_var" or (kind == "weight" and not op.zero_gamma)
            return np.full(shape, 1.0 if ones else 0.0, np.float32)
        case _:
            raise AssertionError(f"{op.name}: {type(op).__name__} owns no tensors")


def _normal(seed: int, name: str, shape: tuple[int, ...], *, std: float) -> Tensor:
    tensor = stream(seed, name).standard_normal(shape, dtype=np.float32)
    tensor *= np.float32(std)
    return tensor


def _cut_normal(seed: int, name: str, shape: tuple[int, ...], *, std: float) -> Tensor:
    """A normal whose tails are cut off, with the deviation `std` of what is left."""
    random = stream(seed, name)
    tensor = random.standard_normal(shape, dtype=np.float32)
    while (outside := np.abs(tensor) > _CUT).any():
        tensor[outside] = random.standard_normal(int(outside.sum()), dtype=np.float32)
    tensor *= np.float32(std / _LEFT)
    return tensor


def _uniform(seed: int, name: str, shape: tuple[int, ...], *, bound: float) -> Tensor:
    tensor = stream(seed, name).random(shape, dtype=np.float32)
    tensor *= np.float32(2 * bound)
    tensor -= np.float32(bound)
    return tensor
