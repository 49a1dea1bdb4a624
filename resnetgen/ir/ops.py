"""The operations of a network: frozen records that say all that is computed, and nothing twice.

An edge is the name of the op that produces the value; names are unique, and `ir.check` asserts
that each is defined before it is used. Layouts are NCHW and OIHW throughout.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BLUR_KERNEL = 3
"""The size of a BlurPool's filter."""

ConvInit = Literal["he_fan_in", "he_fan_out", "glorot_uniform", "lecun_normal"]
LinearInit = Literal["he_fan_in", "uniform_fan_in", "glorot_uniform", "lecun_normal", "normal"]
Function = Literal["relu", "silu", "gelu"]
FUNCTIONS: Mapping[Function, str] = {"relu": "ReLU", "silu": "SiLU", "gelu": "GELU"}
"""The activations, as people write them."""


@dataclass(frozen=True, slots=True)
class Padding:
    """Explicit padding in pixels; the value is the op's own (zero, or -inf for a max pool)."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def symmetric(cls, pixels: int) -> "Padding":
        """The same number of pixels on all four sides."""
        return cls(pixels, pixels, pixels, pixels)


@dataclass(frozen=True, slots=True)
class Same:
    """TensorFlow's SAME padding, whose pixels follow from the image's size: `ir.rules` says how.

    It stands only where that size decides. A layer without a stride has an odd kernel, which SAME
    pads alike on all sides: that is written as the `Padding` that it is.
    """


@dataclass(frozen=True, slots=True)
class Input:
    """The image: (N, channels, H, W)."""

    name: str
    channels: int

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Conv2d:
    """A square convolution with zero padding, in groups that do not see each other's channels.

    Its kernel reads every `dilation`-th pixel.
    """

    name: str
    inputs: tuple[str]
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    dilation: int
    padding: Padding | Same
    groups: int
    bias: bool
    init: ConvInit

    @property
    def extent(self) -> int:
        """The pixels from the first that its kernel reads to the last, both counted."""
        return self.dilation * (self.kernel - 1) + 1


@dataclass(frozen=True, slots=True)
class BatchNorm2d:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, per channel."""

    name: str
    inputs: tuple[str]
    channels: int
    epsilon: float
    momentum: float
    """The weight of the new statistic, as PyTorch counts; Keras and ONNX count 1 - momentum."""
    zero_gamma: bool
    """Whether gamma starts at zero instead of one."""


@dataclass(frozen=True, slots=True)
class GroupNorm:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with the mean and the biased variance
    of each image's `groups` groups of channels, and gamma and beta per channel."""

    name: str
    inputs: tuple[str]
    channels: int
    groups: int
    epsilon: float
    zero_gamma: bool
    """Whether gamma starts at zero instead of one."""


@dataclass(frozen=True, slots=True)
class Activation:
    """A function of each value by itself: max(x, 0), x / (1 + exp(-x)), or x times the normal
    distribution's cumulative function."""

    name: str
    inputs: tuple[str]
    function: Function


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""

    name: str
    inputs: tuple[str]


@dataclass(frozen=True, slots=True)
class ChannelConv:
    """A convolution along the channels of (N, C, 1, 1), zeros around them, without a bias."""

    name: str
    inputs: tuple[str]
    kernel: int


@dataclass(frozen=True, slots=True)
class Scale:
    """A value times its gates, one for each image and channel: (N, C, H, W) and (N, C, 1, 1)."""

    name: str
    inputs: tuple[str, str]


@dataclass(frozen=True, slots=True)
class MaxPool2d:
    """A square max pool; padding counts as minus infinity, or else as zero."""

    name: str
    inputs: tuple[str]
    kernel: int
    stride: int
    padding: Padding | Same
    pads_zeros: bool

    @property
    def extent(self) -> int:
        """The pixels that a window is long and wide."""
        return self.kernel


@dataclass(frozen=True, slots=True)
class AvgPool2d:
    """A square average pool; padding counts as zeros, or not at all."""

    name: str
    inputs: tuple[str]
    kernel: int
    stride: int
    padding: Padding
    counts_padding: bool


@dataclass(frozen=True, slots=True)
class BlurPool:
    """The binomial filter [1, 2, 1] / 4 in both directions, strided; edges are reflected."""

    name: str
    inputs: tuple[str]
    stride: int
    padding: Padding


@dataclass(frozen=True, slots=True)
class Subsample:
    """Every stride-th row and column, from the first."""

    name: str
    inputs: tuple[str]
    stride: int


@dataclass(frozen=True, slots=True)
class PadChannels:
    """Appends channels of zeros behind the existing ones."""

    name: str
    inputs: tuple[str]
    extra: int


@dataclass(frozen=True, slots=True)
class Add:
    """The elementwise sum of the main path and the shortcut, in this order."""

    name: str
    inputs: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Dropout:
    """The value itself; in training each number is 0 at random, at this rate, and the others are
    1 / (1 - rate) times what they were."""

    name: str
    inputs: tuple[str]
    rate: float


@dataclass(frozen=True, slots=True)
class DropPath:
    """The value itself; in training nothing, for a whole image at random, and 1 / (1 - rate) times
    the value for the others.

    Rates grow in proportion from the first block's, which is 0, to `highest`, the last one's.
    """

    name: str
    inputs: tuple[str]
    highest: float
    index: int
    """The block's, counted from 0 over all stages."""
    last_index: int

    @property
    def rate(self) -> float:
        return self.highest * self.index / self.last_index


@dataclass(frozen=True, slots=True)
class GlobalAvgPool:
    """The mean over height and width, kept as (N, C, 1, 1)."""

    name: str
    inputs: tuple[str]


@dataclass(frozen=True, slots=True)
class GlobalMaxPool:
    """The maximum over height and width, kept as (N, C, 1, 1)."""

    name: str
    inputs: tuple[str]


@dataclass(frozen=True, slots=True)
class Mean:
    """The elementwise mean of two values."""

    name: str
    inputs: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Concat:
    """The channels of one value, and behind them those of another."""

    name: str
    inputs: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Flatten:
    """(N, C, 1, 1) to (N, C)."""

    name: str
    inputs: tuple[str]


@dataclass(frozen=True, slots=True)
class Linear:
    """x @ weight.T + bias, with weight stored as (out, in)."""

    name: str
    inputs: tuple[str]
    in_features: int
    out_features: int
    init: LinearInit


@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x) / sum(exp(x)) over the features."""

    name: str
    inputs: tuple[str]


Norm = BatchNorm2d | GroupNorm
Drop = Dropout | DropPath
"""What draws at random in training, and does nothing in inference."""

Op = (
    Input
    | Conv2d
    | BatchNorm2d
    | GroupNorm
    | Activation
    | Sigmoid
    | ChannelConv
    | Scale
    | MaxPool2d
    | AvgPool2d
    | BlurPool
    | Subsample
    | PadChannels
    | Add
    | Dropout
    | DropPath
    | GlobalAvgPool
    | GlobalMaxPool
    | Mean
    | Concat
    | Flatten
    | Linear
    | Softmax
)
