"""Lowers what halves an image: pools, and the filters that stride in place of convolutions."""

from resnetgen.ir.ops import BLUR_KERNEL, AvgPool2d, BlurPool, Op, Padding
from resnetgen.spec.model import ModelSpec


def anti_alias(spec: ModelSpec, name: str, *, source: str, stride: int) -> tuple[Op, ...]:
    """What strides behind a convolution that does not; nothing where nothing strides."""
    if stride == 1:
        return ()
    match spec.anti_alias:
        case "none":
            return ()
        case "avg":
            return (AvgPool2d(name, (source,), stride, stride, Padding.symmetric(0)),)
        case "blur":
            # As timm pads: half of what the filter and the stride reach beyond a pixel.
            padding = Padding.symmetric((stride - 1 + BLUR_KERNEL - 1) // 2)
            return (BlurPool(name, (source,), stride, padding),)
