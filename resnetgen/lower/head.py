"""Lowers the head: global average pool, flatten, and the linear layer that gives the logits."""

from resnetgen.ir.ops import Flatten, GlobalAvgPool, Linear, Op
from resnetgen.spec.model import ModelSpec


def lower_head(spec: ModelSpec, *, source: str, features: int) -> tuple[Op, ...]:
    """The ops from the last block's output, with `features` channels, to the logits."""
    return (
        GlobalAvgPool("avgpool", (source,)),
        Flatten("flatten", ("avgpool",)),
        Linear(
            "fc",
            ("flatten",),
            in_features=features,
            out_features=spec.classes,
            init=spec.init.linear,
        ),
    )
