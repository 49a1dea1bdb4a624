"""The layers that stem and blocks are made of, with the spec's constants filled in."""

from resnetgen.ir.ops import Activation, BatchNorm2d, Conv2d, GroupNorm, Op, Padding, Same
from resnetgen.spec.model import Bias, ConvPadding, ModelSpec


def convolution(
    spec: ModelSpec,
    name: str,
    *,
    source: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    normalized: bool = True,
    bias: Bias | None = None,
    padding: ConvPadding = "symmetric",
) -> Conv2d:
    """A convolution padded by half of what its kernel reaches over on each side, so that stride 1
    keeps the size; or by SAME, where a stride makes that another. A kernel of 1 has nothing to
    dilate.

    It has a bias where the spec says so, unless `bias` decides; `normalized` says whether a norm
    stands right behind it.
    """
    choice = spec.convolution_bias if bias is None else bias
    if kernel == 1:
        dilation = 1
    by_size = padding == "same" and kernel > 1 and stride > 1
    has_norm = normalized and spec.norm.kind != "none"
    return Conv2d(
        name,
        (source,),
        in_channels=in_channels,
        out_channels=out_channels,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=Same() if by_size else Padding.symmetric(dilation * (kernel - 1) // 2),
        groups=groups,
        bias=not has_norm if choice == "without_norm" else choice,
        init=spec.init.convolution,
    )


def normalize(
    spec: ModelSpec, name: str, *, source: str, channels: int, zero_gamma: bool = False
) -> tuple[Op, ...]:
    """The spec's norm with its constants; nothing where it has none."""
    match spec.norm.kind:
        case "none":
            return ()
        case "batch":
            norm = BatchNorm2d(
                name,
                (source,),
                channels=channels,
                epsilon=spec.norm.epsilon,
                momentum=spec.norm.momentum,
                zero_gamma=zero_gamma,
            )
        case "group":
            norm = GroupNorm(
                name,
                (source,),
                channels=channels,
                groups=spec.norm.groups,
                epsilon=spec.norm.epsilon,
                zero_gamma=zero_gamma,
            )
    return (norm,)


def activation(spec: ModelSpec, name: str, *, source: str) -> Activation:
    """The spec's activation of the value `source`."""
    return Activation(name, (source,), spec.activation)


def normalize_and_activate(
    spec: ModelSpec, *, norm: str, act: str, source: str, channels: int, zero_gamma: bool = False
) -> tuple[Op, ...]:
    """The spec's norm, named `norm`, and behind it the activation `act`."""
    ops = normalize(spec, norm, source=source, channels=channels, zero_gamma=zero_gamma)
    return (*ops, activation(spec, act, source=ops[-1].name if ops else source))
