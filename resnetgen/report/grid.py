"""A table as data: what the renderers for terminals, Markdown and LaTeX take."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and on which side its cells stand."""

    title: str
    side: Literal["left", "right"] = "left"
    drop: int = 0
    """Columns with a number go, in its order, where a terminal is too narrow; 0 stays."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """A stage's blocks as the paper writes them: stacked convolutions, and how many times.

    `text` says it all on one line; `stride` is the first block's, `dilation` the stage's largest.
    """

    text: str
    convolutions: tuple[str, ...]
    repeats: int
    stride: int
    dilation: int


Cell = str | Bracket


@dataclass(frozen=True, slots=True)
class Grid:
    """A titled table; `totals` are rows below a rule, and every row has a cell per column."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: tuple[tuple[str, ...], ...] = ()


def plain(cell: Cell) -> str:
    """A cell on one line."""
    return cell.text if isinstance(cell, Bracket) else cell
