"""Lowers the head: global pool, flatten, and the linear layer that gives the logits."""

from resnetgen.ir.ops import (
    Concat,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Linear,
    Mean,
    Op,
    Softmax,
)
from resnetgen.lower.parts import normalize_and_activate
from resnetgen.spec.model import ModelSpec


def lower_head(spec: ModelSpec, *, source: str, features: int) -> tuple[Op, ...]:
    """The ops from the last block's output, with `features` channels, to the logits or softmax.

    In the order `pre` the sum of all blocks is still to be normalized: by `norm`, as in timm.
    """
    ops: tuple[Op, ...] = ()
    if spec.order == "pre":
        ops = normalize_and_activate(spec, norm="norm", act="act", source=source, channels=features)
        source = ops[-1].name
    ops += _pool(spec, source=source)
    ops += (Flatten("flatten", (ops[-1].name,)),)
    if spec.dropout > 0:
        ops += (Dropout("dropout", ("flatten",), spec.dropout),)
    ops += (
        Linear(
            "fc",
            (ops[-1].name,),
            in_features=2 * features if spec.head_pool == "catavgmax" else features,
            out_features=spec.classes,
            init=spec.init.linear,
        ),
    )
    return ops if spec.output == "logits" else (*ops, Softmax("softmax", ("fc",)))


def _pool(spec: ModelSpec, *, source: str) -> tuple[Op, ...]:
    """One value for each channel, or two, from all of its pixels: timm's `global_pool`."""
    mean, maximum = GlobalAvgPool("avgpool", (source,)), GlobalMaxPool("globalmaxpool", (source,))
    match spec.head_pool:
        case "avg":
            return (mean,)
        case "max":
            return (maximum,)
        case "avgmax":
            return (mean, maximum, Mean("avgmax", (mean.name, maximum.name)))
        case "catavgmax":
            return (mean, maximum, Concat("catavgmax", (mean.name, maximum.name)))
