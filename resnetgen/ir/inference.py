"""What of a network is computed once it is trained: from a network to one without drops."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from resnetgen.ir.network import Block, Network
from resnetgen.ir.ops import Drop, Input, Op


def inference(network: Network) -> Network:
    """The network without the ops that do something in training alone.

    What reads one of them reads what that reads.
    """
    sources: dict[str, str] = {}
    for op in network.ops:
        if isinstance(op, Drop):
            sources[op.name] = sources.get(op.inputs[0], op.inputs[0])
    stages = (
        replace(stage, blocks=tuple(_block(block, sources) for block in stage.blocks))
        for stage in network.stages
    )
    return replace(network, stages=tuple(stages), head=_kept(network.head, sources))


def _block(block: Block, sources: Mapping[str, str]) -> Block:
    return replace(block, main=_kept(block.main, sources), tail=_kept(block.tail, sources))


def _kept(ops: Sequence[Op], sources: Mapping[str, str]) -> tuple[Op, ...]:
    """The ops that stay, with what they read by now."""
    return tuple(_reading(op, sources) for op in ops if op.name not in sources)


def _reading(op: Op, sources: Mapping[str, str]) -> Op:
    if isinstance(op, Input) or sources.keys().isdisjoint(op.inputs):
        return op
    return replace(op, inputs=tuple(sources.get(name, name) for name in op.inputs))
