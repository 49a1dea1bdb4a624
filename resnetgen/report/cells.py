"""How counts and sizes stand in the cells of a table."""

from collections.abc import Iterable

from resnetgen.ir.rules import Counts
from resnetgen.report.grid import Column

COUNTS = (Column("params", "right"), Column("MACs", "right"))


def counted(counts: Counts) -> tuple[str, str]:
    """The cells below `COUNTS`."""
    return (f"{counts.trainable:,}", f"{counts.macs:,}")


def sized(sizes: Iterable[int]) -> str:
    """Such as `3x224x224`."""
    return "x".join(map(str, sizes))
