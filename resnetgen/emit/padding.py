"""Where a network has SAME padding, and where a source writes it although numbers say as much."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from resnetgen.emit.queries import Extent, extent
from resnetgen.ir.network import Block, Network
from resnetgen.ir.ops import Conv2d, Op, Padding, Same
from resnetgen.ir.rules import may_pad_same, pads_same


def convolutions_pad_same(ops: Iterable[Op]) -> bool:
    """Whether any convolution among them has SAME padding."""
    return any(pads_same(op) for op in ops if isinstance(op, Conv2d))


def same_paddings(ops: Iterable[Op]) -> Extent:
    """Which of the convolutions that a kernel above 1 lets pad have SAME padding."""
    return extent(pads_same(op) for op in ops if isinstance(op, Conv2d) and op.kernel > 1)


def padding_note(network: Network, *, same: str, explicit: str) -> Iterator[str]:
    """What a reader has to know of strided layers that pad: what the framework calls SAME, and what
    says that they are padded explicitly."""
    strided = [op for op in network.ops if may_pad_same(op)]
    if any(map(pads_same, strided)):
        yield (
            f'Strided layers with padding="{same}" pad an even-sized input more at the bottom and'
            " right than at the top and left."
        )
    elif strided:
        yield (
            f'{explicit}: on an even-sized input a strided padding="{same}" pads more at the bottom'
            " and right, which shifts the feature maps by a pixel."
        )


def with_same(network: Network) -> Network:
    """The network with SAME in place of all equal paddings of convolutions, if it has SAME at all.

    For frameworks that have it: who writes SAME where a convolution has a stride does so elsewhere.
    """
    if not convolutions_pad_same(network.ops):
        return network
    stages = (
        replace(stage, blocks=tuple(_block(block) for block in stage.blocks))
        for stage in network.stages
    )
    return replace(network, stem=_written_same(network.stem), stages=tuple(stages))


def _block(block: Block) -> Block:
    return replace(block, main=_written_same(block.main), side=_written_same(block.side))


def _written_same(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    return tuple(replace(op, padding=Same()) if _equals_same(op) else op for op in ops)


def _equals_same(op: Op) -> bool:
    if not isinstance(op, Conv2d) or op.kernel == 1 or op.stride > 1:
        return False
    return op.padding == Padding.symmetric(op.extent // 2)
