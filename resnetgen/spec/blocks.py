"""What a `block` means: the named ones as lists of convolutions, and where the stride sits."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnetgen.spec.dialects import fill_in
from resnetgen.spec.model import BlockName, BlockSpec, ConvolutionSpec, StrideOn

if TYPE_CHECKING:
    from resnetgen.spec.schema import Convolution, Document, Stage

BOTTLENECK_EXPANSION = 4
"""A bottleneck's output channels in multiples of its width, unless a spec states others."""

# (kernel, expansion) of each convolution; Figure 5 of the paper.
_NAMED: Mapping[BlockName, tuple[tuple[int, int], ...]] = {
    "basic": ((3, 1), (3, 1)),
    "bottleneck": ((1, 1), (3, 1), (1, BOTTLENECK_EXPANSION)),
}


def document_blocks(document: "Document") -> tuple[BlockSpec | None, ...]:
    """Each stage's block; None where neither the stage nor the network has one."""
    return tuple(_stage_block(document, stage) for stage in document.stages)


def block_spec(
    choice: "BlockName | tuple[Convolution, ...]",
    *,
    stride_on: StrideOn,
    expansion: int = BOTTLENECK_EXPANSION,
) -> BlockSpec:
    """The main path of a block, with its stride on exactly one convolution.

    `expansion` replaces a bottleneck's own.
    """
    if isinstance(choice, str):
        name, shapes, stated = choice, _NAMED[choice], None
        if choice == "bottleneck":
            shapes = (*shapes[:-1], (shapes[-1][0], expansion))
    else:
        name, shapes = None, tuple((item.kernel, item.expansion) for item in choice)
        stated = next((index for index, item in enumerate(choice) if item.strided), None)
    strided = _strided(shapes, stride_on) if stated is None else stated
    return BlockSpec(
        name,
        tuple(
            ConvolutionSpec(kernel, expansion, index == strided)
            for index, (kernel, expansion) in enumerate(shapes)
        ),
    )


def _stage_block(document: "Document", stage: "Stage") -> BlockSpec | None:
    choice = document.block if stage.block is None else stage.block
    if choice is None:
        return None
    return block_spec(choice, stride_on=fill_in(document).stride_on, expansion=document.expansion)


def _strided(shapes: tuple[tuple[int, int], ...], stride_on: StrideOn) -> int:
    """The index of the convolution that carries the stride."""
    if stride_on == "1x1":
        return 0
    return next((index for index, (kernel, _) in enumerate(shapes) if kernel > 1), 0)
