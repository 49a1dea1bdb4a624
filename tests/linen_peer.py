"""Residual networks of flax.linen, with the layers and the names of Flax's ImageNet example.

As a program it saves one of them, and what it computes, for `peers.computed`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.serialization import msgpack_serialize
from numpy.typing import NDArray
from peers import images_in, leave

MOMENTUM = 0.9


def normalized(x: Any, train: bool, **named: Any) -> Any:
    norm = nn.BatchNorm(use_running_average=not train, momentum=MOMENTUM, epsilon=1e-5, **named)
    return norm(x)


class ResNetBlock(nn.Module):
    """Convolutions of these kernels, of which the first 3x3 strides, plus the input."""

    width: int
    stride: int
    train: bool
    kernels: Sequence[int] = (3, 3)
    expansion: int = 1

    @nn.compact
    def __call__(self, carried: Any) -> Any:
        x, out = carried, self.width * self.expansion
        *others, last = range(len(self.kernels))
        for number in others:
            strides = self.stride if number == self.kernels.index(3) else 1
            x = self._convolution(x, number, self.width, strides)
            x = nn.relu(normalized(x, self.train))
        x = normalized(self._convolution(x, last, out, 1), self.train)
        if self.stride > 1 or carried.shape[-1] != out:
            projection = nn.Conv(out, (1, 1), self.stride, use_bias=False, name="conv_proj")
            carried = normalized(projection(carried), self.train, name="norm_proj")
        return nn.relu(carried + x)

    def _convolution(self, x: Any, number: int, channels: int, strides: int) -> Any:
        kernel = self.kernels[number]
        return nn.Conv(channels, (kernel, kernel), strides, use_bias=False)(x)


class BottleneckResNetBlock(ResNetBlock):
    kernels: Sequence[int] = (1, 3, 1)
    expansion: int = 4


class LinenPeer(nn.Module):
    """Stages of blocks of one kind; all but the first stride, in their first block."""

    block: type[ResNetBlock]
    repeats: Sequence[int]
    width: int = 64
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        stem = nn.Conv(self.width, (7, 7), 2, 3, use_bias=False, name="conv_init")
        x = nn.relu(normalized(stem(x), train, name="bn_init"))
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        for stage, count in enumerate(self.repeats):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                x = self.block(self.width << stage, stride, train)(x)
        return nn.Dense(self.classes)(x.mean((1, 2)))


NETWORKS = {
    "flax_resnet18": LinenPeer(ResNetBlock, (2, 2, 2, 2)),
    "flax_resnet34": LinenPeer(ResNetBlock, (3, 4, 6, 3)),
    "flax_resnet50": LinenPeer(BottleneckResNetBlock, (3, 4, 6, 3)),
    "flax_resnet101": LinenPeer(BottleneckResNetBlock, (3, 4, 23, 3)),
    "flax_resnet152": LinenPeer(BottleneckResNetBlock, (3, 8, 36, 3)),
    "flax_resnet200": LinenPeer(BottleneckResNetBlock, (3, 24, 36, 3)),
}
"""What the example has, by the names that they have here."""


def drawn(model: LinenPeer) -> Any:
    """As `parity.randomize`: every tensor is drawn, and statistics lie around a real batch's."""
    random = np.random.default_rng(0)
    batch = random.standard_normal((4, 96, 96, 3), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)

    def draw(path: Any, leaf: Any) -> NDArray[np.float32]:
        match path[-1].key:
            case "kernel":
                values = random.standard_normal(leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
            case "scale":
                values = random.uniform(0.5, 1.5, leaf.shape) * random.choice([-1, 1], leaf.shape)
            case "bias":
                values = random.normal(0, 0.3, leaf.shape)
            case _:
                values = np.zeros(leaf.shape)
        return values.astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    _, seen = model.apply(variables, batch, train=True, mutable=["batch_stats"])
    return {**variables, "batch_stats": _around(seen["batch_stats"], random)}


def _around(statistics: Mapping[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """Statistics about a batch's, which moved those of the model from zero."""
    if "mean" not in statistics:
        return {name: _around(each, random) for name, each in statistics.items()}
    mean, variance = (np.asarray(statistics[name]) / (1 - MOMENTUM) for name in ("mean", "var"))
    offset = 0.3 * np.sqrt(variance) * random.standard_normal(mean.shape)
    factor = random.uniform(0.5, 2.0, variance.shape)
    return {
        "mean": (mean + offset).astype(np.float32),
        "var": (variance * factor).astype(np.float32),
    }


def logits(model: LinenPeer, variables: Any, image: Any, dtype: str = "float64") -> NDArray[Any]:
    """What the model makes of an NCHW image, in this precision."""
    with jax.enable_x64(dtype == "float64"):
        cast = jax.tree.map(lambda each: np.asarray(each, dtype), variables)
        return np.asarray(model.apply(cast, image.transpose(0, 2, 3, 1).astype(dtype)))


def main() -> None:
    name, place, *files = sys.argv[1:]
    folder = Path(place)
    model = NETWORKS[name]
    variables = drawn(model)
    for file in files:
        (folder / file).write_bytes(msgpack_serialize(variables))
    for dtype in ("float32", "float64"):
        for number, image in enumerate(images_in(folder)):
            leave(logits(model, variables, image, dtype), folder, dtype, number)
    print(json.dumps(sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))))


if __name__ == "__main__":
    main()
