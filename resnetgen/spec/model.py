"""The resolved spec: every decision made and every default filled in; what lowering reads."""

from dataclasses import dataclass
from typing import Literal

Dialect = Literal["torchvision", "paper", "timm", "keras", "keras_v2", "caffe", "flax"]
Pool = Literal["max", "conv", "none"]
ConvPadding = Literal["symmetric", "same"]
PoolPadding = Literal["symmetric", "zeros", "ceil", "same"]
Order = Literal["post", "pre"]
Norm = Literal["batch", "group", "none"]
Bias = bool | Literal["without_norm"]
BlockName = Literal["basic", "bottleneck"]
Shortcut = Literal["zero_pad", "projection", "projection_all", "none"]
Downsample = Literal["conv", "avg"]
AntiAlias = Literal["none", "avg", "blur"]
Activation = Literal["relu", "silu", "gelu"]
Attention = Literal["none", "se", "eca"]
AttentionAt = Literal["end", "middle"]
SqueezeOf = Literal["output", "input"]
Rounding = Literal["torchvision", "pycls"]
StrideOn = Literal["1x1", "3x3"]
StrideBlock = Literal["first", "last"]
ConvInit = Literal["he_fan_in", "he_fan_out", "glorot_uniform", "lecun_normal"]
LinearInit = Literal["he_fan_in", "uniform_fan_in", "glorot_uniform", "lecun_normal", "normal"]
HeadPool = Literal["avg", "max", "avgmax", "catavgmax"]
OutputStride = Literal[8, 16, 32]
Output = Literal["logits", "softmax"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The image that the counts are stated for: channels and size in pixels."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class StemSpec:
    """The convolutions in front of the stages, the first with the stride, and what pools them.

    `pool` is a 3x3 max pool or convolution with stride 2.
    """

    hidden: tuple[int, ...]
    """Output channels of the convolutions before the last."""
    width: int
    kernel: int
    stride: int
    bias: Bias
    norm: bool
    """Whether a norm and an activation follow the last convolution, as they do the others."""
    pool: Pool
    pool_padding: PoolPadding


@dataclass(frozen=True, slots=True)
class ConvolutionSpec:
    """One convolution on a block's main path; a last one has `expansion` times the stage's width,
    any other that multiple of the inner width."""

    kernel: int
    expansion: int
    strided: bool
    """Whether the block's stride sits here; true of exactly one convolution in a block."""


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A block's main path; `name` is None for a list of one's own."""

    name: BlockName | None
    convolutions: tuple[ConvolutionSpec, ...]


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A run of equal blocks, of which one carries the stride."""

    name: str
    repeats: int
    width: int
    stride: int
    block: BlockSpec
    shortcut: Shortcut
    groups: int
    """Of every convolution on the main path whose kernel is above 1."""
    pruned: tuple[tuple[int, ...], ...] | None = None
    """Output channels of each block's convolutions, where pruning left others than the width's."""


@dataclass(frozen=True, slots=True)
class NormSpec:
    """Which norm, and its constants; `momentum` is the weight of the new statistic."""

    kind: Norm
    groups: int
    epsilon: float
    momentum: float


@dataclass(frozen=True, slots=True)
class InitSpec:
    """How weights start: by layer, and whether each block's last gamma starts at zero."""

    convolution: ConvInit
    linear: LinearInit
    zero_last_gamma: bool


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A whole network as its author means it; the input of lowering."""

    name: str
    dialect: Dialect
    license: str | None
    input: InputSpec
    classes: int
    stem: StemSpec
    order: Order
    """Whether norms and activations stand behind their convolutions, or in front of them."""
    stride_on: StrideOn
    stride_block: StrideBlock
    output_stride: OutputStride | None
    """At which stride of all together the stages take no more of their own, and dilate instead."""
    drop_path: float
    """At what rate training leaves out the last block's main path; 0 for none in any block."""
    block_dropout: float
    """At what rate training drops what each block's last convolution reads."""
    head_pool: HeadPool
    """What becomes of the last block's pixels: means, maxima, their mean, or the ones behind the
    others."""
    dropout: float
    """At what rate training drops what the last layer reads."""
    width_per_group: int | None
    """Makes the inner width the groups times this at width 64, and in proportion at others."""
    reduce_first: int
    """What the inner width is divided by in each block's first convolution."""
    downsample: Downsample
    projection_kernel: int
    attention: Attention
    attention_at: AttentionAt
    se_ratio: float
    se_of: SqueezeOf
    """Of which of the block's channels those inside squeeze-and-excitation are a part."""
    se_divisor: int
    """What their number is a multiple of."""
    anti_alias: AntiAlias
    activation: Activation
    """Of stem, blocks and head; the one inside squeeze-and-excitation is a ReLU always."""
    convolution_bias: Bias
    conv_padding: ConvPadding
    """Of the blocks' convolutions, which decides something where they have a stride."""
    norm: NormSpec
    init: InitSpec
    output: Output
    stages: tuple[StageSpec, ...]
