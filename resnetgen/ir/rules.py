"""What each op means in numbers: output shape, parameters and multiply-accumulates.

Shapes leave out the batch: (channels, height, width), or (features,) behind the flatten.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from resnetgen.ir.network import Network
from resnetgen.ir.ops import (
    BLUR_KERNEL,
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
    Op,
    PadChannels,
    Padding,
    Same,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A tensor of an op; `trainable` is false of running statistics."""

    name: str
    shape: Shape
    trainable: bool

    @property
    def kind(self) -> str:
        """What it is of its op: `weight`, `bias`, `running_mean` or `running_var`."""
        return self.name.rpartition(".")[2]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums over ops: trainable parameters, buffers (running statistics) and MACs."""

    trainable: int
    buffers: int
    macs: int


def output_shape(op: Op, inputs: tuple[Shape, ...], *, input_size: tuple[int, int]) -> Shape:
    """The shape that `op` makes of its inputs' shapes; `input_size` is the image's (H, W)."""
    match op:
        case Input():
            return (op.channels, *input_size)
        case Conv2d():
            _, height, width = inputs[0]
            padding = explicit_padding(op, (height, width))
            return (op.out_channels, *_window(height, width, op.extent, op.stride, padding))
        case MaxPool2d():
            channels, height, width = inputs[0]
            padding = explicit_padding(op, (height, width))
            return (channels, *_window(height, width, op.kernel, op.stride, padding))
        case AvgPool2d():
            channels, height, width = inputs[0]
            return (channels, *_window(height, width, op.kernel, op.stride, op.padding))
        case BlurPool():
            channels, height, width = inputs[0]
            return (channels, *_window(height, width, BLUR_KERNEL, op.stride, op.padding))
        case Subsample():
            channels, height, width = inputs[0]
            return (channels, -(-height // op.stride), -(-width // op.stride))
        case PadChannels():
            channels, height, width = inputs[0]
            return (channels + op.extra, height, width)
        case GlobalAvgPool() | GlobalMaxPool():
            return (inputs[0][0], 1, 1)
        case Concat():
            return (inputs[0][0] + inputs[1][0], *inputs[0][1:])
        case Flatten():
            return (math.prod(inputs[0]),)
        case Linear():
            return (op.out_features,)
        case (
            BatchNorm2d()
            | GroupNorm()
            | Activation()
            | Sigmoid()
            | ChannelConv()
            | Scale()
            | Add()
            | Mean()
            | Dropout()
            | DropPath()
            | Softmax()
        ):
            return inputs[0]
        case _:
            assert_never(op)


def explicit_padding(op: Conv2d | MaxPool2d, size: tuple[int, int]) -> Padding:
    """The pixels by which `op` pads an image of this height and width.

    SAME pads for as many windows as there are strides in the image, the last one counted whole; of
    an odd number of pixels, one more lies at the bottom and the right than at the top and the left.
    """
    match op.padding:
        case Padding():
            return op.padding
        case Same():
            windows = (-(-pixels // op.stride) for pixels in size)
            height, width = (
                max((count - 1) * op.stride + op.extent - pixels, 0)
                for count, pixels in zip(windows, size, strict=True)
            )
            top, left = height // 2, width // 2
            return Padding(top, left, height - top, width - left)


def pads_same(op: Op) -> bool:
    """Whether the op has SAME padding."""
    return isinstance(op, Conv2d | MaxPool2d) and isinstance(op.padding, Same)


def may_pad_same(op: Op) -> bool:
    """Whether an image's size would decide how SAME pads it: it pads, and has a stride."""
    return isinstance(op, Conv2d | MaxPool2d) and op.stride > 1 and op.kernel > 1


def parameters(op: Op) -> tuple[Parameter, ...]:
    """The tensors that `op` owns, named and ordered as PyTorch's state_dict has them."""
    match op:
        case Conv2d():
            shape = (op.out_channels, op.in_channels // op.groups, op.kernel, op.kernel)
            weight = Parameter(f"{op.name}.weight", shape, trainable=True)
            if not op.bias:
                return (weight,)
            return (weight, Parameter(f"{op.name}.bias", (op.out_channels,), trainable=True))
        case Linear():
            return (
                Parameter(f"{op.name}.weight", (op.out_features, op.in_features), trainable=True),
                Parameter(f"{op.name}.bias", (op.out_features,), trainable=True),
            )
        case ChannelConv():
            return (Parameter(f"{op.name}.weight", (1, 1, op.kernel), trainable=True),)
        case GroupNorm():
            return (
                Parameter(f"{op.name}.weight", (op.channels,), trainable=True),
                Parameter(f"{op.name}.bias", (op.channels,), trainable=True),
            )
        case BatchNorm2d():
            return (
                Parameter(f"{op.name}.weight", (op.channels,), trainable=True),
                Parameter(f"{op.name}.bias", (op.channels,), trainable=True),
                Parameter(f"{op.name}.running_mean", (op.channels,), trainable=False),
                Parameter(f"{op.name}.running_var", (op.channels,), trainable=False),
            )
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
            return ()
        case _:
            assert_never(op)


def macs(op: Op, output: Shape) -> int:
    """Multiply-accumulates for one image: convolutions and the linear layer, biases not counted."""
    match op:
        case Conv2d():
            return math.prod(output) * (op.in_channels // op.groups) * op.kernel**2
        case ChannelConv():
            return math.prod(output) * op.kernel
        case Linear():
            return op.in_features * op.out_features
        case (
            Input()
            | BatchNorm2d()
            | GroupNorm()
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
            return 0
        case _:
            assert_never(op)


def shapes(network: Network, input_size: tuple[int, int] | None = None) -> dict[str, Shape]:
    """Every op's output shape by name, at `input_size` or else the size the spec states."""
    size = network.input_size if input_size is None else input_size
    known: dict[str, Shape] = {}
    for op in network.ops:
        inputs = tuple(known[name] for name in op.inputs)
        known[op.name] = output_shape(op, inputs, input_size=size)
    return known


def unfit_op(network: Network, input_size: tuple[int, int]) -> str | None:
    """The first op that such an image does not fit, if any.

    An addition needs two values of one size, an edge is reflected only by what is larger, a
    pool's window has to fit into its image, and a group of one value has no variance.
    """
    known = shapes(network, input_size)
    for op in network.ops:
        inputs = [known[name] for name in op.inputs]
        match op:
            case Add() if inputs[0] != inputs[1]:
                return op.name
            case BlurPool() if min(inputs[0][1:]) <= op.padding.top:
                return op.name
            case MaxPool2d() | AvgPool2d() if min(known[op.name]) <= 0:
                return op.name
            case GroupNorm() if math.prod(inputs[0]) == op.groups:
                return op.name
            case _:
                pass
    return None


def total_stride(network: Network) -> int:
    """The product of all strides from the image to the last block."""
    strided = (Conv2d, MaxPool2d, AvgPool2d, BlurPool)
    stem = math.prod(op.stride for op in network.stem if isinstance(op, strided))
    return stem * math.prod(block.stride for block in network.blocks)


def largest_dilation(network: Network) -> int:
    """That of the convolution that has the largest."""
    return max(stage.dilation for stage in network.stages)


def network_parameters(network: Network) -> Iterator[Parameter]:
    """All tensors in the order of the ops."""
    for op in network.ops:
        yield from parameters(op)


def trainable(ops: Iterable[Op]) -> int:
    """The trainable parameters of `ops`, for which no shapes need be known."""
    return sum(each.size for op in ops for each in parameters(op) if each.trainable)


def count(ops: Iterable[Op], known: Mapping[str, Shape]) -> Counts:
    """Sums parameters and MACs over `ops`, given every op's output shape."""
    counted = tuple(ops)
    buffers = sum(each.size for op in counted for each in parameters(op) if not each.trainable)
    return Counts(trainable(counted), buffers, sum(macs(op, known[op.name]) for op in counted))


def _window(height: int, width: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    return (
        (height + padding.top + padding.bottom - kernel) // stride + 1,
        (width + padding.left + padding.right - kernel) // stride + 1,
    )
