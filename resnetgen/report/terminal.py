"""Renders a grid for a terminal: text folds where the table is too wide, numbers never do."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from resnetgen.report.grid import Column, Grid, plain

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {"passed": "green", "failed": "bold red", "partial": "yellow", "not run": "yellow"}
"""How a status looks."""
_GAP = "  "
_NARROWEST = 7
"""Text that is cut into shorter pieces is harder to read than a table that is too wide."""


def terminal(grid: Grid, *, width: int) -> "Text":
    """The title and the table; no line ends with spaces."""
    from rich.text import Text

    titles = [column.title for column in grid.columns]
    body = [[plain(cell) for cell in row] for row in grid.rows]
    if _across(_natural([titles, *body, *grid.totals])) > width:
        # Folded at its commas, a cell keeps together what belongs together.
        body = [[cell.replace(", ", ",\n") for cell in row] for row in body]
    widths = _widths([titles, *body, *grid.totals], grid.columns, width)
    lines = [
        Text(textwrap.fill(grid.title, width, break_long_words=False), "bold"),
        _row(titles, widths, grid.columns, "bold"),
        Text("─" * _across(widths)),
        *(_row(row, widths, grid.columns, None) for row in body),
    ]
    if grid.totals:
        lines += [Text(), *(_row(row, widths, grid.columns, "bold") for row in grid.totals)]
    return Text("\n").join(lines)


def _widths(rows: Sequence[Sequence[str]], columns: Sequence[Column], width: int) -> list[int]:
    """Text folds between its words, and inside them only if the table fits then."""
    natural = _natural(rows)
    words = _natural([[cell.replace(" ", "\n") for cell in row] for row in rows])
    numbers = [column.side == "right" for column in columns]
    whole = [
        wide if number else word for wide, word, number in zip(natural, words, numbers, strict=True)
    ]
    pieces = [
        wide if number else min(wide, _NARROWEST)
        for wide, number in zip(whole, numbers, strict=True)
    ]
    if _across(whole) <= width:
        return _narrowed(natural, whole, width)
    return _narrowed(whole, pieces, width) if _across(pieces) <= width else whole


def _natural(rows: Sequence[Sequence[str]]) -> list[int]:
    """The widths of the columns where lines end at their newlines alone."""
    return [
        max(len(line) for cell in cells for line in cell.split("\n"))
        for cells in zip(*rows, strict=True)
    ]


def _narrowed(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Takes from the column that has most to spare until the table fits."""
    narrowed = list(widths)
    while _across(narrowed) > width:
        spare = [now - end for now, end in zip(narrowed, least, strict=True)]
        narrowed[spare.index(max(spare))] -= 1
    return narrowed


def _across(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _row(
    cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column], style: str | None
) -> "Text":
    from rich.text import Text

    folded = [_folded(cell, width) for cell, width in zip(cells, widths, strict=True)]
    styles = [style or STYLES.get(cell, "") for cell in cells]
    lines: list[Text] = []
    for parts in zip_longest(*folded, fillvalue=""):
        padded = [
            part.rjust(width) if column.side == "right" else part.ljust(width)
            for part, width, column in zip(parts, widths, columns, strict=True)
        ]
        line = Text(_GAP).join(Text(*pair) for pair in zip(padded, styles, strict=True))
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)


def _folded(cell: str, width: int) -> list[str]:
    """The lines of a cell; a word that is too long is cut, but only after it has its own line."""
    parts = cell.split("\n")
    lines = [line for part in parts for line in textwrap.wrap(part, width, break_long_words=False)]
    return [piece for line in lines for piece in textwrap.wrap(line, width)]
