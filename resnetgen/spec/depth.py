"""Depth: what it counts, and which repeats give a depth that is asked for.

Depth = 1 (the stem) + the convolutions on the main path of all blocks + 1 (the head). Three stages
of equal blocks with c convolutions each, n blocks in each stage, have depth 3cn + 2: the paper's
6n + 2 for basic blocks (section 4.2), and 9n + 2 for bottlenecks.
"""

from collections.abc import Iterable, Sequence

from resnetgen.spec.model import BlockSpec

FAMILY_STAGES = 3


def depth(repeats: Iterable[int], blocks: Iterable[BlockSpec]) -> int:
    """The depth of stages with these repeats of these blocks."""
    pairs = zip(repeats, blocks, strict=True)
    return 2 + sum(count * len(block.convolutions) for count, block in pairs)


def family_step(blocks: Sequence[BlockSpec]) -> int | None:
    """By how much one more block in every stage adds to the depth; None where stages differ."""
    kinds = {block.convolutions for block in blocks}
    if len(blocks) != FAMILY_STAGES or len(kinds) != 1:
        return None
    return FAMILY_STAGES * len(blocks[0].convolutions)


def solve(wanted: int, *, step: int) -> int | None:
    """How many blocks per stage give the depth `wanted`, if any number does."""
    count, remainder = divmod(wanted - 2, step)
    return count if remainder == 0 and count > 0 else None


def nearest_depths(wanted: int, *, step: int) -> tuple[int, ...]:
    """The depths of the family on both sides of `wanted`, without itself."""
    below = (wanted - 3) // step * step + 2
    above = max(1, (wanted - 2) // step + 1) * step + 2
    return (below, above) if below > 2 else (above,)
