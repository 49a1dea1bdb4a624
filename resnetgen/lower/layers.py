"""The two layers that stem and blocks are made of, with the spec's constants filled in."""

from resnetgen.ir.ops import BatchNorm2d, Conv2d, Padding
from resnetgen.spec.model import ModelSpec


def convolution(
    spec: ModelSpec,
    name: str,
    *,
    source: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    bias: bool | None = None,
) -> Conv2d:
    """A convolution padded by (kernel - 1) / 2 on each side, so that stride 1 keeps the size.

    It has a bias where the spec says so, unless `bias` decides.
    """
    return Conv2d(
        name,
        (source,),
        in_channels=in_channels,
        out_channels=out_channels,
        kernel=kernel,
        stride=stride,
        padding=Padding.symmetric((kernel - 1) // 2),
        groups=groups,
        bias=spec.convolution_bias if bias is None else bias,
        init=spec.init.convolution,
    )


def batch_norm(
    spec: ModelSpec, name: str, *, source: str, channels: int, zero_gamma: bool = False
) -> BatchNorm2d:
    """Batch normalization with the spec's epsilon and momentum."""
    return BatchNorm2d(
        name,
        (source,),
        channels=channels,
        epsilon=spec.norm.epsilon,
        momentum=spec.norm.momentum,
        zero_gamma=zero_gamma,
    )
