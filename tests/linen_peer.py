"""Residual networks of flax.linen, with the layers and the names of Flax's ImageNet example."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn


def normalized(x: Any, **named: Any) -> Any:
    return nn.BatchNorm(use_running_average=True, momentum=0.9, epsilon=1e-5, **named)(x)


class ResNetBlock(nn.Module):
    """Convolutions of these kernels, of which the first 3x3 strides, plus the input."""

    width: int
    stride: int
    kernels: Sequence[int] = (3, 3)
    expansion: int = 1

    @nn.compact
    def __call__(self, carried: Any) -> Any:
        x, out = carried, self.width * self.expansion
        *others, last = range(len(self.kernels))
        for number in others:
            strides = self.stride if number == self.kernels.index(3) else 1
            x = nn.relu(normalized(self._convolution(x, number, self.width, strides)))
        x = normalized(self._convolution(x, last, out, 1))
        if self.stride > 1 or carried.shape[-1] != out:
            projection = nn.Conv(out, (1, 1), self.stride, use_bias=False, name="conv_proj")
            carried = normalized(projection(carried), name="norm_proj")
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
    width: int
    repeats: Sequence[int]
    classes: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        stem = nn.Conv(self.width, (7, 7), 2, 3, use_bias=False, name="conv_init")
        x = nn.relu(normalized(stem(x), name="bn_init"))
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        for stage, count in enumerate(self.repeats):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                x = self.block(self.width << stage, stride)(x)
        return nn.Dense(self.classes)(x.mean((1, 2)))


def drawn(model: LinenPeer) -> Any:
    """Variables that differ from each other everywhere, with variances above 0."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32))

    def draw(path: Any, leaf: Any) -> Any:
        kind = path[-1].key
        scale = 1 / np.sqrt(np.prod(leaf.shape[:-1])) if kind == "kernel" else 0.3
        shift = 1.0 if kind in ("scale", "var") else 0.0
        values = shift + scale * random.uniform(-1, 1, leaf.shape)
        return values.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def logits(model: LinenPeer, variables: Any, image: Any) -> Any:
    """What the model makes of an NCHW image, in float64."""
    with jax.enable_x64(True):
        double = jax.tree.map(lambda each: np.asarray(each, np.float64), variables)
        return np.asarray(model.apply(double, image.transpose(0, 2, 3, 1).astype(np.float64)))
