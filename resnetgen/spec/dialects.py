"""What each ecosystem takes for granted: the numbers on which they silently differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from resnetgen.spec.model import ConvInit, Dialect, InitSpec, LinearInit, NormSpec, StrideOn

if TYPE_CHECKING:
    from resnetgen.spec.schema import Document


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Conventions:
    """All that a dialect decides; every field is also a key of the document."""

    stride_on: StrideOn
    epsilon: float
    momentum: float
    conv_bias: bool
    conv_init: ConvInit
    linear_init: LinearInit
    zero_init_last: bool

    @property
    def norm(self) -> NormSpec:
        return NormSpec(self.epsilon, self.momentum)

    @property
    def init(self) -> InitSpec:
        return InitSpec(self.conv_init, self.linear_init, self.zero_init_last)


TORCHVISION = Conventions(
    stride_on="3x3",
    epsilon=1e-5,
    momentum=0.1,
    conv_bias=False,
    conv_init="he_fan_out",
    linear_init="uniform_fan_in",
    zero_init_last=False,
)
"""torchvision/models/resnet.py: its note on ResNet V1.5 for the stride, `kaiming_normal_` with fan
out for convolutions, `zero_init_residual=False`; else the defaults of PyTorch's BatchNorm2d and
Linear."""

PAPER = Conventions(
    stride_on="1x1",
    epsilon=1e-5,
    momentum=0.1,
    conv_bias=False,
    conv_init="he_fan_in",
    linear_init="he_fan_in",
    zero_init_last=False,
)
"""He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385): the stride on the
first convolution of a block as in the authors' Caffe models, epsilon from the same; initialization
"as in [13]" (section 3.4), which is He et al., "Delving Deep into Rectifiers" (arXiv 1502.01852),
equation 10. The paper names no momentum (the authors' models fix the average): PyTorch's is
taken."""

DIALECTS: Mapping[Dialect, Conventions] = {"torchvision": TORCHVISION, "paper": PAPER}


def fill_in(document: "Document") -> Conventions:
    """The document's own choices, and its dialect's where it makes none."""
    defaults = DIALECTS[document.dialect]
    return Conventions(
        stride_on=_stated(document.stride_on, defaults.stride_on),
        epsilon=_stated(document.epsilon, defaults.epsilon),
        momentum=_stated(document.momentum, defaults.momentum),
        conv_bias=_stated(document.conv_bias, defaults.conv_bias),
        conv_init=_stated(document.conv_init, defaults.conv_init),
        linear_init=_stated(document.linear_init, defaults.linear_init),
        zero_init_last=_stated(document.zero_init_last, defaults.zero_init_last),
    )


def _stated(value: _T | None, default: _T) -> _T:
    return default if value is None else value
