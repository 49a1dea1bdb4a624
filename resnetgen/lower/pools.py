"""Lowers what halves an image: pools, and the filters that stride in place of convolutions."""

from resnetgen.ir.ops import BLUR_KERNEL, AvgPool2d, BlurPool, Op, Padding
from resnetgen.spec.model import ModelSpec


def anti_alias(
    spec: ModelSpec, name: str, *, source: str, stride: int, dilates: bool = False
) -> tuple[Op, ...]:
    """What strides behind a convolution that does not; nothing where nothing strides.

    Where what comes behind dilates instead, a filter stays, as in timm.
    """
    if stride == 1 and not (dilates and spec.anti_alias == "blur"):
        return ()
    match spec.anti_alias:
        case "none":
            return ()
        case "avg":
            pool = AvgPool2d(
                name,
                (source,),
                kernel=stride,
                stride=stride,
                padding=Padding.symmetric(0),
                counts_padding=False,
            )
            return (pool,)
        case "blur":
            # As timm pads: half of what the filter and the stride reach beyond a pixel.
            padding = Padding.symmetric((stride - 1 + BLUR_KERNEL - 1) // 2)
            return (BlurPool(name, (source,), stride, padding),)
