"""Lowers the head: global average pool, flatten, and the linear layer that gives the logits."""

from resnetgen.ir.ops import Dropout, Flatten, GlobalAvgPool, Linear, Op, Softmax
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
    ops += (GlobalAvgPool("avgpool", (source,)), Flatten("flatten", ("avgpool",)))
    if spec.dropout > 0:
        ops += (Dropout("dropout", ("flatten",), spec.dropout),)
    ops += (
        Linear(
            "fc",
            (ops[-1].name,),
            in_features=features,
            out_features=spec.classes,
            init=spec.init.linear,
        ),
    )
    return ops if spec.output == "logits" else (*ops, Softmax("softmax", ("fc",)))
