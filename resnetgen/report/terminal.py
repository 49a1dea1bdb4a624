"""Renders a grid for a terminal: text folds between words where a table is too wide, numbers never.

Where that is not enough, columns that can be spared go. A table whose words still do not fit sticks
out: in pieces they would be harder to read.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress, zip_longest
from typing import TYPE_CHECKING

from resnetgen.ir.summary import Bracket
from resnetgen.report.grid import Cell, Column, Grid, plain

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {"passed": "green", "failed": "bold red", "partial": "yellow", "not run": "yellow"}
"""How a status looks."""
_GAP = "  "


def terminal(grid: Grid, *, width: int, rule: str) -> "Text":
    """The title, and the table with a line of `rule` below its head; no line ends with spaces."""
    from rich.text import Text

    grid = _narrowed(grid, width)
    titles = [column.title for column in grid.columns]
    body = [[plain(cell) for cell in row] for row in grid.rows]
    if _across(_natural([titles, *body, *grid.totals])) > width:
        # Folded at its commas, a cell keeps together what belongs together.
        body = [[_at_commas(cell) for cell in row] for row in body]
    widths = _widths(
        _natural([titles, *body, *grid.totals]), _hanging(_least(grid), grid, width), width
    )
    lines = [
        Text("\n".join(_wrapped(grid.title, width)), "bold"),
        _row(titles, widths, grid.columns, "bold"),
        Text(rule * _across(widths)),
        *(_row(row, widths, grid.columns, None) for row in body),
    ]
    if grid.totals:
        lines += [Text(), *(_row(row, widths, grid.columns, "bold") for row in grid.totals)]
    return Text("\n").join(lines)


def fits(grid: Grid, *, width: int) -> bool:
    """Whether the table, folded and with all of its columns, sticks out nowhere."""
    return _across(_hanging(_least(grid), grid, width)) <= width


def _narrowed(grid: Grid, width: int) -> Grid:
    """The grid without the columns that have to go for the rest to fit."""
    while _across(_least(grid)) > width and any(column.drop for column in grid.columns):
        first = min(column.drop for column in grid.columns if column.drop)
        stays = [column.drop != first for column in grid.columns]
        grid = replace(
            grid,
            columns=tuple(compress(grid.columns, stays)),
            rows=tuple(tuple(compress(row, stays)) for row in grid.rows),
            totals=tuple(tuple(compress(row, stays)) for row in grid.totals),
        )
    return grid


def _least(grid: Grid) -> list[int]:
    """How narrow the columns may be: text folds between words, a bracket at its commas alone."""
    titles = [column.title for column in grid.columns]
    rows = [
        [
            plain(cell) if column.side == "right" else _folded_most(cell)
            for cell, column in zip(row, grid.columns, strict=True)
        ]
        for row in (titles, *grid.rows, *grid.totals)
    ]
    return _natural(rows)


def _folded_most(cell: Cell) -> str:
    return _at_commas(cell.text) if isinstance(cell, Bracket) else cell.replace(" ", "\n")


def _at_commas(cell: str) -> str:
    return cell.replace(", ", ",\n")


def _hanging(least: list[int], grid: Grid, width: int) -> list[int]:
    """Narrows the first column where that lets the table fit: what is longer gets its own line."""
    left = width - _across([0, *least[1:]])
    return [left, *least[1:]] if len(grid.columns[0].title) <= left < least[0] else least


def _widths(natural: list[int], least: Sequence[int], width: int) -> list[int]:
    """Takes from the column that has most to spare until the table fits, or none has any."""
    widths = list(natural)
    while _across(widths) > max(width, _across(least)):
        spare = [now - end for now, end in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


def _natural(rows: Sequence[Sequence[str]]) -> list[int]:
    """The widths of the columns where lines end at their newlines alone."""
    return [
        max(len(line) for cell in cells for line in cell.split("\n"))
        for cells in zip(*rows, strict=True)
    ]


def _across(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _row(
    cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column], style: str | None
) -> "Text":
    from rich.text import Text

    folded = [_folded(cell, width) for cell, width in zip(cells, widths, strict=True)]
    if any(len(line) > widths[0] for line in folded[0]):
        folded = [folded[0], *(["", *parts] for parts in folded[1:])]
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
    """The lines of a cell, none of which ends within a word."""
    parts = cell.split("\n")
    return [line for part in parts for line in _wrapped(part, width)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
