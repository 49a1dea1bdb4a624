"""SAME padding is what JAX calls so: in pixels, in an op's value and in its gradients."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from draws import draw
from verification import network_of

from resnetgen.ir.check import check
from resnetgen.ir.network import Network
from resnetgen.ir.ops import Conv2d, MaxPool2d, Op, Padding, Same
from resnetgen.ir.rules import explicit_padding, output_shape, shapes
from resnetgen.verify.gradient import gradients
from resnetgen.verify.reference import Array, Tensors, evaluate

SIZES = [(8, 8), (9, 9), (8, 11), (7, 10)]
NUMBERS = ("NCHW", "OIHW", "NCHW")
TOLERANCE = 1e-4
"""JAX computes in float32 here; a pixel's shift is off by about as much as the values are."""


def convolution(kernel: int, stride: int, *, groups: int = 1) -> Conv2d:
    return Conv2d("c", ("x",), 4, 6, kernel, stride, 1, Same(), groups, False, "lecun_normal")


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_pixels_are_what_jax_pads(kernel: int, stride: int) -> None:
    lax = pytest.importorskip("jax").lax
    for height, width in ((height, width) for height in range(1, 20) for width in range(1, 20)):
        rows, columns = lax.padtype_to_pads(
            (height, width), (kernel, kernel), (stride, stride), "SAME"
        )
        found = explicit_padding(convolution(kernel, stride), (height, width))
        assert (found.top, found.bottom, found.left, found.right) == (*rows, *columns)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kernel", "stride", "groups"), [(3, 2, 1), (5, 2, 2), (3, 3, 1)])
def test_convolution(kernel: int, stride: int, groups: int, size: tuple[int, int]) -> None:
    lax = pytest.importorskip("jax").lax
    op = convolution(kernel, stride, groups=groups)

    def theirs(value: Any, weight: Any) -> Any:
        return lax.conv_general_dilated(
            value,
            weight,
            (stride, stride),
            "SAME",
            dimension_numbers=NUMBERS,
            feature_group_count=groups,
            precision="highest",
        )

    weight = draw(6, 4 // groups, kernel, kernel)
    hold_to_jax(op, theirs, draw(2, 4, *size), {"weight": weight})


@pytest.mark.parametrize("size", SIZES)
def test_max_pool_of_negative_values(size: tuple[int, int]) -> None:
    """Of zeros, the padding would be the maximum."""
    nn = pytest.importorskip("flax.linen")

    def theirs(value: Any) -> Any:
        pooled = nn.max_pool(value.transpose(0, 2, 3, 1), (3, 3), strides=(2, 2), padding="SAME")
        return pooled.transpose(0, 3, 1, 2)

    value = -1 - np.abs(draw(2, 3, *size))
    hold_to_jax(MaxPool2d("p", ("x",), 3, 2, Same(), pads_zeros=False), theirs, value, {})


def hold_to_jax(op: Op, theirs: Any, value: Array, tensors: Tensors) -> None:
    """The op's value, and its gradients on the way back from an arbitrary one of that."""
    jax = pytest.importorskip("jax")
    arguments = [value.astype(np.float32), *(each.astype(np.float32) for each in tensors.values())]
    expected, back = jax.vjp(theirs, *arguments)
    found = evaluate(op, (value,), tensors=tensors)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert found.shape[1:] == output_shape(op, (value.shape[1:],), input_size=(0, 0))
    given = draw(*found.shape)
    of_inputs, of_tensors = gradients(op, (value,), given, tensors=tensors)
    of_ours = [*of_inputs, *of_tensors.values()]
    for ours, other in zip(of_ours, back(given.astype(np.float32)), strict=True):
        np.testing.assert_allclose(ours, other, rtol=0, atol=TOLERANCE)


SPEC = """
name: padded
input: {channels: 3, size: 32}
classes: 10
conv_padding: same
stem: {width: 8, kernel: 3, stride: 2, pool: max}
block: bottleneck
stages:
  - {name: a, repeats: 2, width: 4, stride: 2}
"""


def paddings(network: Network) -> dict[str, Padding | Same]:
    """What SAME may be: the paddings of what has a stride and a kernel above 1."""
    strided = (op for op in network.ops if isinstance(op, Conv2d | MaxPool2d) and op.stride > 1)
    return {op.name: op.padding for op in strided if op.kernel > 1}


def test_each_key_decides_its_layers_and_none_the_stem_s_convolution(tmp_path: Path) -> None:
    one = Padding.symmetric(1)
    assert paddings(network_of(SPEC, tmp_path)) == {
        "conv1": one,
        "maxpool": one,
        "layer1.0.conv2": Same(),
    }
    pooled = SPEC.replace("conv_padding", "pool_padding")
    assert paddings(network_of(pooled, tmp_path)) == {
        "conv1": one,
        "maxpool": Same(),
        "layer1.0.conv2": one,
    }
    dialect = SPEC.replace("conv_padding: same", "dialect: flax")
    assert paddings(network_of(dialect, tmp_path)) == {
        "conv1": one,
        "maxpool": Same(),
        "layer1.0.conv2": Same(),
    }


def test_shapes_and_counts_are_those_of_symmetric_padding(tmp_path: Path) -> None:
    same, symmetric = (
        network_of(text, tmp_path) for text in (SPEC, SPEC.replace("same", "symmetric"))
    )
    for size in ((32, 32), (33, 33), (34, 47)):
        assert shapes(same, size) == shapes(symmetric, size)


def test_checker_refuses_same_padding_that_no_size_decides(tmp_path: Path) -> None:
    network = network_of(SPEC, tmp_path)
    check(network)
    for name in ("conv1", "layer1.1.conv2", "layer1.0.conv1"):
        with pytest.raises(AssertionError, match=name):
            check(padded_same(network, name))


def padded_same(network: Network, name: str) -> Network:
    """The network with SAME padding of one convolution more."""

    def changed(ops: tuple[Op, ...]) -> tuple[Op, ...]:
        return tuple(
            replace(op, padding=Same()) if isinstance(op, Conv2d) and op.name == name else op
            for op in ops
        )

    stages = (
        replace(
            stage,
            blocks=tuple(replace(block, main=changed(block.main)) for block in stage.blocks),
        )
        for stage in network.stages
    )
    return replace(network, stem=changed(network.stem), stages=tuple(stages))
