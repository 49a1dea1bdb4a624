"""Renders grids as the tables of GitHub's Markdown."""

from collections.abc import Sequence
from itertools import zip_longest

from resnetgen.report.grid import Cell, Column, Grid, plain


def markdown(grids: Sequence[Grid]) -> str:
    """Titles and tables, whose columns are padded so that the source reads well too."""
    return "\n".join(map(_table, grids))


def _table(grid: Grid) -> str:
    rows = [[_cell(cell) for cell in row] for row in grid.rows]
    rows += [[f"**{cell}**" if cell else "" for cell in row] for row in grid.totals]
    titles = [column.title for column in grid.columns]
    widths = [max(map(len, cells)) for cells in zip_longest(titles, *rows, fillvalue="")]
    lines = [_line(titles, widths, grid.columns), _rule(widths, grid.columns)]
    lines += [_line(row, widths, grid.columns) for row in rows]
    return "\n".join([f"**{grid.title}**", "", *lines]) + "\n"


def _cell(cell: Cell) -> str:
    return plain(cell).replace("|", r"\|")


def _line(cells: list[str], widths: list[int], columns: tuple[Column, ...]) -> str:
    padded = [
        cell.rjust(width) if column.side == "right" else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _rule(widths: list[int], columns: tuple[Column, ...]) -> str:
    dashes = [
        "-" * (width + 1) + ":" if column.side == "right" else "-" * (width + 2)
        for width, column in zip(widths, columns, strict=True)
    ]
    return f"|{'|'.join(dashes)}|"
