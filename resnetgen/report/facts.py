"""A network's facts as JSON: what `--json` and `show --format json` print."""

from collections import Counter
from collections.abc import Sequence

from resnetgen.ir.network import Block, Network, Stage
from resnetgen.ir.ops import Conv2d, Norm, Op
from resnetgen.ir.rules import Counts, Shape, count, shapes
from resnetgen.ir.summary import Row, rows, total
from resnetgen.report.row import (
    distinct_blocks,
    label,
    of_kind,
    operation,
    ops_outside,
    stage_of,
)

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
    return {
        **network_facts(network),
        "input": [network.input_channels, *network.input_size],
        "classes": network.classes,
        "stages": [_row_facts(row, stage_of(row, network)) for row in rows(network)],
    }


def row_facts(row: Row, network: Network) -> Facts:
    """The facts of a stage's distinct blocks, or of the stem or the head, op by op."""
    known = shapes(network)
    stage = stage_of(row, network)
    facts: Facts = {
        "name": network.name,
        "spec_sha256": network.spec_sha256,
        "stage": row.name,
        "title": label(row),
    }
    if stage is None:
        return {**facts, **_ops_facts(ops_outside(row, network), known)}
    return {**facts, "blocks": [_block_facts(blocks, known) for blocks in distinct_blocks(stage)]}


def _row_facts(row: Row, stage: Stage | None) -> Facts:
    facts: Facts = {
        "name": row.name,
        "title": label(row),
        "output_shape": list(row.output),
        "content": row.content_text,
        **_counts(row.counts),
    }
    if stage is not None:
        facts["repeats"] = len(stage.blocks)
        facts["shortcuts"] = dict(Counter(block.shortcut for block in stage.blocks))
    return facts


def _block_facts(blocks: Sequence[Block], known: dict[str, Shape]) -> Facts:
    block = blocks[0]
    return {
        "blocks": [block.name for block in blocks],
        "kind": block.title,
        "shortcut": block.shortcut,
        "in_channels": block.in_channels,
        "out_channels": block.out_channels,
        "stride": block.stride,
        "dilation": block.dilation,
        **({} if block.drop_path is None else {"drop_path": _rates(blocks)}),
        **_ops_facts(block.ops, known),
    }


def _rates(blocks: Sequence[Block]) -> list[float]:
    """Each block's of stochastic depth."""
    return [block.drop_path.rate for block in blocks if block.drop_path is not None]


def _ops_facts(ops: tuple[Op, ...], known: dict[str, Shape]) -> Facts:
    return {
        **_counts(count(ops, known)),
        "convolution_params": count(of_kind(ops, Conv2d), known).trainable,
        "norm_params": count(of_kind(ops, Norm), known).trainable,
        "ops": [_op_facts(op, known) for op in ops],
    }


def _op_facts(op: Op, known: dict[str, Shape]) -> Facts:
    return {
        "name": op.name,
        "does": operation(op),
        "output_shape": list(known[op.name]),
        **_counts(count((op,), known)),
    }


def _counts(counts: Counts) -> Facts:
    return {
        "params": {"trainable": counts.trainable, "buffers": counts.buffers},
        "macs": counts.macs,
    }
