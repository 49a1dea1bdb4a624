"""The interpreter's backward pass against PyTorch's autograd, op by op."""

import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pytest
from draws import draw

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
    Function,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    Linear,
    MaxPool2d,
    Mean,
    Op,
    PadChannels,
    Padding,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)
from resnetgen.verify.gradient import cross_entropy, gradients
from resnetgen.verify.reference import Array

SIZES = [(8, 8), (9, 9), (8, 11)]


def hold_to_autograd(
    op: Op, compute: Any, *inputs: Array, tensors: Mapping[str, Array] | None = None
) -> None:
    """`compute` is the op in PyTorch, given its inputs and then its tensors."""
    torch = pytest.importorskip("torch")
    own = dict(tensors or {})
    variables = [torch.tensor(each, requires_grad=True) for each in (*inputs, *own.values())]
    output = compute(*variables)
    gradient = draw(*output.shape)
    output.backward(torch.tensor(gradient))
    of_inputs, of_tensors = gradients(op, inputs, gradient, tensors=own)

    assert of_tensors.keys() == own.keys()
    found = (*of_inputs, *(of_tensors[kind] for kind in own))
    for actual, variable in zip(found, variables, strict=True):
        np.testing.assert_allclose(actual, variable.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3)]
)
@pytest.mark.parametrize(("groups", "bias"), [(1, False), (1, True), (2, False)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_convolution(
    *,
    kernel: int,
    stride: int,
    dilation: int,
    padding: int,
    groups: int,
    bias: bool,
    size: tuple[int, int],
) -> None:
    torch = pytest.importorskip("torch")
    padded = Padding.symmetric(padding)
    op = Conv2d("conv", ("x",), 4, 6, kernel, stride, dilation, padded, groups, bias, "he_fan_out")
    tensors = {"weight": draw(6, 4 // groups, kernel, kernel)}
    if bias:
        tensors["bias"] = draw(6)

    def compute(value: Any, weight: Any, bias: Any = None) -> Any:
        return torch.nn.functional.conv2d(
            value,
            weight,
            bias,
            stride=stride,
            dilation=dilation,
            padding=padding,
            groups=groups,
        )

    hold_to_autograd(op, compute, draw(2, 4, *size), tensors=tensors)


def test_convolution_pads_each_side_by_its_own_number() -> None:
    torch = pytest.importorskip("torch")
    op = Conv2d("conv", ("x",), 3, 5, 3, 2, 1, Padding(0, 1, 2, 3), 1, False, "he_fan_out")

    def compute(value: Any, weight: Any) -> Any:
        padded = torch.nn.functional.pad(value, (1, 3, 0, 2))
        return torch.nn.functional.conv2d(padded, weight, stride=2)

    hold_to_autograd(op, compute, draw(2, 3, 8, 9), tensors={"weight": draw(5, 3, 3, 3)})


def test_batch_norm_normalizes_by_the_batch() -> None:
    torch = pytest.importorskip("torch")
    op = BatchNorm2d("bn", ("x",), 4, 0.1, 0.1, zero_gamma=False)

    def compute(value: Any, gamma: Any, beta: Any) -> Any:
        return torch.nn.functional.batch_norm(
            value, None, None, gamma, beta, training=True, eps=0.1
        )

    tensors = {"weight": draw(4), "bias": draw(4)}
    hold_to_autograd(op, compute, draw(2, 4, 5, 6), tensors=tensors)


def test_group_norm() -> None:
    torch = pytest.importorskip("torch")
    op = GroupNorm("norm", ("x",), 6, groups=3, epsilon=0.1, zero_gamma=False)

    def compute(value: Any, gamma: Any, beta: Any) -> Any:
        return torch.nn.functional.group_norm(value, 3, gamma, beta, eps=0.1)

    tensors = {"weight": draw(6), "bias": draw(6)}
    hold_to_autograd(op, compute, draw(2, 6, 3, 4), tensors=tensors)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zeros", [False, True])
def test_max_pool(*, size: tuple[int, int], zeros: bool) -> None:
    torch = pytest.importorskip("torch")
    op = MaxPool2d("pool", ("x",), 3, 2, Padding.symmetric(1), pads_zeros=zeros)

    def compute(value: Any) -> Any:
        if zeros:
            padded = torch.nn.functional.pad(value, (1, 1, 1, 1))
            return torch.nn.functional.max_pool2d(padded, 3, stride=2)
        return torch.nn.functional.max_pool2d(value, 3, stride=2, padding=1)

    hold_to_autograd(op, compute, draw(2, 3, *size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("counted", [False, True])
def test_average_pool(*, size: tuple[int, int], counted: bool) -> None:
    torch = pytest.importorskip("torch")
    op = AvgPool2d("pool", ("x",), 3, 2, Padding.symmetric(1), counts_padding=counted)

    def compute(value: Any) -> Any:
        return torch.nn.functional.avg_pool2d(
            value, 3, stride=2, padding=1, count_include_pad=counted
        )

    hold_to_autograd(op, compute, draw(2, 3, *size))


@pytest.mark.parametrize("size", SIZES)
def test_average_pool_does_not_count_what_an_odd_size_lacks(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    odd = Padding(0, 0, size[0] % 2, size[1] % 2)
    op = AvgPool2d("pool", ("x",), 2, 2, odd, counts_padding=False)

    def compute(value: Any) -> Any:
        return torch.nn.functional.avg_pool2d(value, 2, ceil_mode=True, count_include_pad=False)

    hold_to_autograd(op, compute, draw(2, 3, *size))


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("size", SIZES)
def test_blur_pool(stride: int, padding: int, size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    op = BlurPool("blur", ("x",), stride, Padding.symmetric(padding))
    row = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    kernel = torch.outer(row, row).expand(3, 1, 3, 3)

    def compute(value: Any) -> Any:
        padded = torch.nn.functional.pad(value, [padding] * 4, mode="reflect")
        return torch.nn.functional.conv2d(padded, kernel, stride=stride, groups=3)

    hold_to_autograd(op, compute, draw(2, 3, *size))


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_channel_convolution(kernel: int) -> None:
    torch = pytest.importorskip("torch")
    op = ChannelConv("conv", ("x",), kernel)

    def compute(value: Any, weight: Any) -> Any:
        channels = value.reshape(2, 1, 7)
        convolved = torch.nn.functional.conv1d(channels, weight, padding=kernel // 2)
        return convolved.reshape(2, 7, 1, 1)

    hold_to_autograd(op, compute, draw(2, 7, 1, 1), tensors={"weight": draw(1, 1, kernel)})


@pytest.mark.parametrize("function", get_args(Function))
def test_activation(function: Function) -> None:
    torch = pytest.importorskip("torch")
    op = Activation("act", ("x",), function)
    value = np.concatenate([3 * draw(100), [0.0, -1000.0, 1000.0]])

    hold_to_autograd(op, getattr(torch.nn.functional, function), value)


def test_linear() -> None:
    torch = pytest.importorskip("torch")
    op = Linear("fc", ("x",), 6, 4, "uniform_fan_in")
    tensors = {"weight": draw(4, 6), "bias": draw(4)}

    hold_to_autograd(op, torch.nn.functional.linear, draw(2, 6), tensors=tensors)


def test_ops_without_tensors() -> None:
    torch = pytest.importorskip("torch")
    x = draw(2, 3, 5, 6)
    hold_to_autograd(Sigmoid("gate", ("x",)), torch.sigmoid, x)
    hold_to_autograd(Scale("scale", ("x", "y")), torch.mul, x, draw(2, 3, 1, 1))
    hold_to_autograd(Subsample("pick", ("x",), 2), lambda value: value[:, :, ::2, ::2], x)
    hold_to_autograd(
        PadChannels("pad", ("x",), 2),
        lambda value: torch.nn.functional.pad(value, (0, 0, 0, 0, 0, 2)),
        x,
    )
    hold_to_autograd(Add("add", ("x", "y")), torch.add, x, draw(2, 3, 5, 6))
    hold_to_autograd(
        GlobalAvgPool("mean", ("x",)), lambda value: value.mean((2, 3), keepdim=True), x
    )
    hold_to_autograd(Flatten("flat", ("x",)), lambda value: value.flatten(1), draw(2, 3, 1, 1))
    hold_to_autograd(Softmax("softmax", ("x",)), lambda value: value.softmax(1), draw(2, 5))
    hold_to_autograd(
        GlobalMaxPool("max", ("x",)), lambda value: value.amax((2, 3), keepdim=True), x
    )
    hold_to_autograd(
        Mean("mean", ("x", "y")), lambda first, second: (first + second) / 2, x, draw(2, 3, 5, 6)
    )
    hold_to_autograd(
        Concat("concat", ("x", "y")), lambda *values: torch.cat(values, 1), x, draw(2, 4, 5, 6)
    )


@pytest.mark.parametrize("op", [Dropout("drop", ("x",), 0.5), DropPath("path", ("x",), 0.5, 1, 2)])
def test_what_drops_rests(op: Op) -> None:
    """As it does in steps that are compared."""
    hold_to_autograd(op, lambda value: value.clone(), draw(2, 3, 5, 6))


@pytest.mark.parametrize("probabilities", [False, True])
def test_cross_entropy(*, probabilities: bool) -> None:
    torch = pytest.importorskip("torch")
    logits, labels = draw(3, 5), np.array([4, 0, 4])
    output = torch.tensor(logits).softmax(1) if probabilities else torch.tensor(logits)
    output.requires_grad_()
    logarithms = output.log() if probabilities else output.log_softmax(1)
    expected = torch.nn.functional.nll_loss(logarithms, torch.tensor(labels))
    expected.backward()
    loss, gradient = cross_entropy(output.detach().numpy(), labels, probabilities=probabilities)

    assert math.isclose(loss, expected.item(), rel_tol=1e-14)
    np.testing.assert_allclose(gradient, output.grad.numpy(), rtol=0, atol=1e-14)


def test_the_loss_of_what_is_too_unlikely_for_a_probability_is_finite() -> None:
    loss, gradient = cross_entropy(np.array([[0.0, 2000.0]]), np.array([0]), probabilities=False)
    assert loss == 2000.0
    assert gradient.tolist() == [[-1.0, 1.0]]
