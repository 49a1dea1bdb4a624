"""The interpreter, which judges every framework, against PyTorch's functions op by op."""

from typing import Any, get_args

import numpy as np
import pytest
from draws import RANDOM, draw

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
from resnetgen.verify.reference import Array, evaluate, run


def closely(actual: Array, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11)])
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
    value, weight, offset = draw(2, 4, *size), draw(6, 4 // groups, kernel, kernel), draw(6)
    expected = torch.nn.functional.conv2d(
        torch.tensor(value),
        torch.tensor(weight),
        torch.tensor(offset) if bias else None,
        stride=stride,
        dilation=dilation,
        padding=padding,
        groups=groups,
    )

    closely(evaluate(op, (value,), tensors={"weight": weight, "bias": offset}), expected)


def test_convolution_pads_each_side_by_its_own_number() -> None:
    torch = pytest.importorskip("torch")
    op = Conv2d("conv", ("x",), 3, 5, 3, 2, 1, Padding(0, 1, 2, 3), 1, False, "he_fan_out")
    value, weight = draw(2, 3, 8, 9), draw(5, 3, 3, 3)
    padded = torch.nn.functional.pad(torch.tensor(value), (1, 3, 0, 2))
    expected = torch.nn.functional.conv2d(padded, torch.tensor(weight), stride=2)

    closely(evaluate(op, (value,), tensors={"weight": weight}), expected)


def test_batch_norm() -> None:
    torch = pytest.importorskip("torch")
    value, mean, gamma, beta = draw(2, 4, 5, 6), draw(4), draw(4), draw(4)
    variance = RANDOM.uniform(0.5, 2, 4)
    op = BatchNorm2d("bn", ("x",), 4, 1e-3, 0.1, zero_gamma=False)
    tensors = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}
    expected = torch.nn.functional.batch_norm(
        *map(torch.tensor, (value, mean, variance, gamma, beta)), eps=1e-3
    )

    closely(evaluate(op, (value,), tensors=tensors), expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11)])
def test_max_pool_of_negative_values(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    value = -1.0 - np.abs(draw(2, 3, *size))
    op = MaxPool2d("pool", ("x",), 3, 2, Padding.symmetric(1), pads_zeros=False)
    expected = torch.nn.functional.max_pool2d(torch.tensor(value), 3, stride=2, padding=1)

    closely(evaluate(op, (value,), tensors={}), expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11)])
def test_max_pool_that_pads_with_zeros(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    value = -1.0 - np.abs(draw(2, 3, *size))
    op = MaxPool2d("pool", ("x",), 3, 2, Padding.symmetric(1), pads_zeros=True)
    padded = torch.nn.functional.pad(torch.tensor(value), (1, 1, 1, 1))

    closely(evaluate(op, (value,), tensors={}), torch.nn.functional.max_pool2d(padded, 3, stride=2))


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11)])
def test_max_pool_that_rounds_sizes_up(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    value = -1.0 - np.abs(draw(2, 3, *size))
    op = MaxPool2d("pool", ("x",), 3, 2, Padding(0, 0, 1, 1), pads_zeros=False)
    expected = torch.nn.functional.max_pool2d(torch.tensor(value), 3, stride=2, ceil_mode=True)

    closely(evaluate(op, (value,), tensors={}), expected)


def test_group_norm() -> None:
    torch = pytest.importorskip("torch")
    value, gamma, beta = draw(2, 6, 3, 4), draw(6), draw(6)
    op = GroupNorm("norm", ("x",), 6, groups=3, epsilon=0.1, zero_gamma=False)
    expected = torch.nn.functional.group_norm(
        torch.tensor(value), 3, torch.tensor(gamma), torch.tensor(beta), eps=0.1
    )

    closely(evaluate(op, (value,), tensors={"weight": gamma, "bias": beta}), expected)


def test_softmax() -> None:
    torch = pytest.importorskip("torch")
    value = 30 * draw(2, 5)
    expected = torch.softmax(torch.tensor(value), dim=1)

    closely(evaluate(Softmax("softmax", ("x",)), (value,), tensors={}), expected)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11)])
def test_average_pool_does_not_count_what_an_odd_size_lacks(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    value = draw(2, 3, *size)
    op = AvgPool2d("pool", ("x",), 2, 2, Padding(0, 0, 1, 1), counts_padding=False)
    expected = torch.nn.functional.avg_pool2d(
        torch.tensor(value), 2, ceil_mode=True, count_include_pad=False
    )

    closely(evaluate(op, (value,), tensors={}), expected)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 1), (2, 2), (3, 3), (3, 2)])
def test_average_pool(kernel: int, stride: int) -> None:
    torch = pytest.importorskip("torch")
    value = draw(2, 3, 9, 12)
    op = AvgPool2d("pool", ("x",), kernel, stride, Padding.symmetric(0), counts_padding=False)
    expected = torch.nn.functional.avg_pool2d(torch.tensor(value), kernel, stride=stride)

    closely(evaluate(op, (value,), tensors={}), expected)


@pytest.mark.parametrize("counted", [False, True])
def test_average_pool_counts_its_padding_or_not(*, counted: bool) -> None:
    torch = pytest.importorskip("torch")
    value = draw(2, 3, 8, 11)
    op = AvgPool2d("pool", ("x",), 3, 2, Padding.symmetric(1), counts_padding=counted)
    expected = torch.nn.functional.avg_pool2d(
        torch.tensor(value), 3, stride=2, padding=1, count_include_pad=counted
    )

    closely(evaluate(op, (value,), tensors={}), expected)


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11)])
def test_blur_pool(stride: int, padding: int, size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    value = draw(2, 3, *size)
    op = BlurPool("blur", ("x",), stride, Padding.symmetric(padding))
    row = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    padded = torch.nn.functional.pad(torch.tensor(value), [padding] * 4, mode="reflect")
    kernel = torch.outer(row, row).expand(3, 1, 3, 3)
    expected = torch.nn.functional.conv2d(padded, kernel, stride=stride, groups=3)

    closely(evaluate(op, (value,), tensors={}), expected)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_channel_convolution(kernel: int) -> None:
    torch = pytest.importorskip("torch")
    value, weight = draw(2, 7, 1, 1), draw(1, 1, kernel)
    op = ChannelConv("conv", ("x",), kernel)
    channels = torch.tensor(value).reshape(2, 1, 7)
    expected = torch.nn.functional.conv1d(channels, torch.tensor(weight), padding=kernel // 2)

    closely(evaluate(op, (value,), tensors={"weight": weight}), expected.reshape(2, 7, 1, 1))


def test_gates() -> None:
    torch = pytest.importorskip("torch")
    value, gates = draw(2, 3, 4, 5), 100 * draw(2, 3, 1, 1)
    expected = torch.sigmoid(torch.tensor(gates))
    opened = evaluate(Sigmoid("gate", ("x",)), (gates,), tensors={})

    closely(opened, expected)
    scaled = evaluate(Scale("scale", ("x", "gate")), (value, opened), tensors={})
    closely(scaled, torch.tensor(value) * expected)


@pytest.mark.parametrize("function", get_args(Function))
def test_activation(function: Function) -> None:
    torch = pytest.importorskip("torch")
    value = np.concatenate([3 * draw(100), [0.0, -1000.0, 1000.0]])
    expected = getattr(torch.nn.functional, function)(torch.tensor(value))

    closely(evaluate(Activation("act", ("x",), function), (value,), tensors={}), expected)


def test_linear() -> None:
    torch = pytest.importorskip("torch")
    value, weight, bias = draw(2, 6), draw(4, 6), draw(4)
    op = Linear("fc", ("x",), 6, 4, "uniform_fan_in")
    expected = torch.nn.functional.linear(*map(torch.tensor, (value, weight, bias)))

    closely(evaluate(op, (value,), tensors={"weight": weight, "bias": bias}), expected)


def test_ops_without_tensors() -> None:
    x = np.array([[[[1.0, -2.0, 3.0], [4.0, 5.0, -6.0], [7.0, 8.0, 9.0]]]])

    def value_of(op: Op, *inputs: Array) -> list[Any]:
        return evaluate(op, inputs or (x,), tensors={}).tolist()

    assert value_of(Subsample("pick", ("x",), 2)) == [[[[1.0, 3.0], [7.0, 9.0]]]]
    assert value_of(PadChannels("pad", ("x",), 1)) == [
        [x[0, 0].tolist(), np.zeros((3, 3)).tolist()]
    ]
    assert value_of(Add("add", ("x", "x")), x, x) == (2 * x).tolist()
    assert value_of(Dropout("drop", ("x",), 0.5)) == x.tolist()
    assert value_of(DropPath("drop", ("x",), 0.5, index=3, last_index=3)) == x.tolist()
    assert value_of(GlobalAvgPool("mean", ("x",))) == [[[[29.0 / 9]]]]
    assert value_of(GlobalMaxPool("max", ("x",))) == [[[[9.0]]]]
    assert value_of(Mean("mean", ("x", "y")), x, 3 * x) == (2 * x).tolist()
    assert value_of(Concat("cat", ("x", "y")), x, 3 * x) == [
        [x[0, 0].tolist(), (3 * x[0, 0]).tolist()]
    ]
    assert value_of(Flatten("flat", ("x",)), x[:, :, :1, :1]) == [[1.0]]


def test_a_value_lives_until_its_last_reader() -> None:
    ops = (
        Activation("a", ("x",), "relu"),
        Activation("b", ("a",), "relu"),
        Add("c", ("b", "x")),
        Add("d", ("c", "c")),
    )
    values = run(ops, {"x": np.array([-1.0, 2.0])}, tensors=lambda op, _: {})

    assert {op.name: value.tolist() for op, value in values} == {
        "a": [0.0, 2.0],
        "b": [0.0, 2.0],
        "c": [-1.0, 4.0],
        "d": [-2.0, 8.0],
    }


def test_small_gates_keep_their_digits() -> None:
    found = evaluate(
        Sigmoid("gate", ("x",)), (np.array([-800.0, -34.0, -20.0, 800.0]),), tensors={}
    )
    exact = [0.0, np.exp(-34.0) / (1 + np.exp(-34.0)), 1 / (1 + np.exp(20.0)), 1.0]
    np.testing.assert_allclose(found, exact, rtol=1e-14, atol=0)
