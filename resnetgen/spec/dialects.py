"""What each ecosystem takes for granted: the numbers on which they silently differ."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from resnetgen.spec.model import (
    Bias,
    ConvInit,
    ConvPadding,
    Dialect,
    InitSpec,
    LinearInit,
    Norm,
    NormSpec,
    Output,
    PoolPadding,
    StrideBlock,
    StrideOn,
)

if TYPE_CHECKING:
    from resnetgen.spec.schema import Document


@dataclass(frozen=True, slots=True)
class Conventions:
    """All that a dialect decides; every field is also a key of the document."""

    stride_on: StrideOn
    stride_block: StrideBlock
    epsilon: float
    momentum: float
    conv_bias: Bias
    conv_padding: ConvPadding
    pool_padding: PoolPadding
    conv_init: ConvInit
    linear_init: LinearInit
    zero_init_last: bool
    output: Output

    def normalization(self, kind: Norm, groups: int) -> NormSpec:
        return NormSpec(kind, groups, self.epsilon, self.momentum)

    @property
    def init(self) -> InitSpec:
        return InitSpec(self.conv_init, self.linear_init, self.zero_init_last)


TORCHVISION = Conventions(
    stride_on="3x3",
    stride_block="first",
    epsilon=1e-5,
    momentum=0.1,
    conv_bias=False,
    conv_padding="symmetric",
    pool_padding="symmetric",
    conv_init="he_fan_out",
    linear_init="uniform_fan_in",
    zero_init_last=False,
    output="logits",
)
"""torchvision/models/resnet.py: its note on ResNet V1.5 for the stride, `kaiming_normal_` with fan
out for convolutions, `zero_init_residual=False`; else the defaults of PyTorch's BatchNorm2d and
Linear."""

PAPER = replace(TORCHVISION, stride_on="1x1", conv_init="he_fan_in", linear_init="he_fan_in")
"""He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385): the stride on the
first convolution of a block as in the authors' Caffe models, epsilon from the same; initialization
"as in [13]" (section 3.4), which is He et al., "Delving Deep into Rectifiers" (arXiv 1502.01852),
equation 10. The paper names no momentum (the authors' models fix the average): PyTorch's is
taken."""

TIMM = replace(TORCHVISION, zero_init_last=True)
"""timm/models/resnet.py: as torchvision, but `zero_init_last=True`."""

KERAS = Conventions(
    stride_on="1x1",
    stride_block="first",
    epsilon=1.001e-5,
    momentum=0.01,
    conv_bias=True,
    conv_padding="symmetric",
    pool_padding="zeros",
    conv_init="glorot_uniform",
    linear_init="glorot_uniform",
    zero_init_last=False,
    output="softmax",
)
"""keras/src/applications/resnet.py, `residual_block_v1`: the stride on the first convolution, and
the defaults of Keras's Conv2D and BatchNormalization but for epsilon."""

KERAS_V2 = replace(KERAS, stride_on="3x3", stride_block="last", conv_bias="without_norm")
"""keras/src/applications/resnet.py, `residual_block_v2` and `stack_residual_blocks_v2`: the stride
on the second convolution of a stage's last block."""

CAFFE = replace(PAPER, pool_padding="ceil", output="softmax")
"""The authors' deploy files (github.com/KaimingHe/deep-residual-networks): PAPER's numbers, which
come from there, and Caffe's pooling, which rounds sizes up."""

FLAX = replace(
    TORCHVISION,
    conv_padding="same",
    pool_padding="same",
    conv_init="lecun_normal",
    linear_init="lecun_normal",
    zero_init_last=True,
)
"""The ResNets of Flax's ImageNet example (github.com/google/flax, examples/imagenet/models.py): the
stem's convolution is padded by numbers, all others and the pool by SAME, the last scale of a block
starts at zero, and what else starts somewhere does as by Flax's defaults for Conv and Dense. A
momentum of 0.9 there is one of 0.1 here."""

DIALECTS: Mapping[Dialect, Conventions] = {
    "torchvision": TORCHVISION,
    "paper": PAPER,
    "timm": TIMM,
    "keras": KERAS,
    "keras_v2": KERAS_V2,
    "caffe": CAFFE,
    "flax": FLAX,
}


def fill_in(document: "Document") -> Conventions:
    """The document's own choices, and its dialect's where it makes none."""
    stated = {
        each.name: value
        for each in fields(Conventions)
        if (value := getattr(document, each.name)) is not None
    }
    return replace(DIALECTS[document.dialect], **stated)
