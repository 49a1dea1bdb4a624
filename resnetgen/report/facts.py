"""A network's facts as JSON: what `--json` and `show --format json` print."""

from collections import Counter
from collections.abc import Sequence

from resnetgen.ir.network import Block, Network, Stage
from resnetgen.ir.ops import BatchNorm2d, Conv2d, Op
from resnetgen.ir.rules import Shape, count, shapes
from resnetgen.ir.summary import Row, rows, total
from resnetgen.report.network import distinct_blocks, operation

Facts = dict[str, object]


def network_facts(network: Network) -> Facts:
    """Name, hash, depth and counts."""
    counts = total(network)
    return {
        "name": network.name,
        "spec_sha256": network.spec_sha256,
        "depth": network.depth,
        "macs": counts.macs,
        "params": {"trainable": counts.trainable, "buffers": counts.buffers},
    }


def table_facts(network: Network) -> Facts:
    """The facts of the table: those of the network, and a row per stage with NCHW shapes."""
    stages = {stage.name: stage for stage in network.stages}
    return {
        **network_facts(network),
        "input": [network.input_channels, *network.input_size],
        "classes": network.classes,
        "stages": [_row_facts(row, stages.get(row.name)) for row in rows(network)],
    }


def stage_facts(network: Network, stage: Stage) -> Facts:
    """The facts of one stage's distinct blocks, op by op."""
    known = shapes(network)
    return {
        "name": network.name,
        "spec_sha256": network.spec_sha256,
        "stage": stage.name,
        "title": stage.title,
        "blocks": [_block_facts(blocks, known) for blocks in distinct_blocks(stage)],
    }


def _row_facts(row: Row, stage: Stage | None) -> Facts:
    facts: Facts = {
        "name": row.name,
        "title": row.title or row.name,
        "output_shape": list(row.output),
        "content": row.content,
        **_counts(row.counts.trainable, row.counts.buffers, row.counts.macs),
    }
    if stage is not None:
        facts["repeats"] = len(stage.blocks)
        facts["shortcuts"] = dict(Counter(block.shortcut for block in stage.blocks))
    return facts


def _block_facts(blocks: Sequence[Block], known: dict[str, Shape]) -> Facts:
    block = blocks[0]
    counts = count(block.ops, known)
    return {
        "blocks": [block.name for block in blocks],
        "kind": block.kind.title,
        "shortcut": block.shortcut,
        "in_channels": block.in_channels,
        "out_channels": block.out_channels,
        "stride": block.stride,
        **_counts(counts.trainable, counts.buffers, counts.macs),
        "convolution_params": count(_of_kind(block, Conv2d), known).trainable,
        "norm_params": count(_of_kind(block, BatchNorm2d), known).trainable,
        "ops": [_op_facts(op, known) for op in block.ops],
    }


def _of_kind(block: Block, kind: type[Op]) -> tuple[Op, ...]:
    return tuple(op for op in block.ops if isinstance(op, kind))


def _op_facts(op: Op, known: dict[str, Shape]) -> Facts:
    counts = count((op,), known)
    return {
        "name": op.name,
        "does": operation(op),
        "output_shape": list(known[op.name]),
        **_counts(counts.trainable, counts.buffers, counts.macs),
    }


def _counts(trainable: int, buffers: int, macs: int) -> Facts:
    return {"params": {"trainable": trainable, "buffers": buffers}, "macs": macs}
