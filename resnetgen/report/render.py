"""Renders grids for terminals, Markdown and LaTeX."""

from itertools import zip_longest
from typing import TYPE_CHECKING

from resnetgen.report.grid import Bracket, Cell, Column, Grid, plain

if TYPE_CHECKING:
    from rich.console import Group

_GAP = 2
"""Columns of space between cells on a terminal."""
_STYLES = {"passed": "green", "failed": "bold red", "partial": "yellow", "not run": "yellow"}
_LATEX_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "#$%&_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def terminal(grid: Grid, *, width: int) -> "Group":
    """The title and a table for Rich; cells break at their commas where `width` is too small."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    comma = ", " if _natural_width(grid) <= width else ",\n"
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in grid.columns:
        table.add_column(column.title, justify=column.side, overflow="fold")
    for number, row in enumerate(grid.rows, start=1):
        texts = [plain(cell).replace(", ", comma) for cell in row]
        cells = [Text(text, style=_STYLES.get(text, "")) for text in texts]
        table.add_row(*cells, end_section=bool(grid.totals) and number == len(grid.rows))
    for row in grid.totals:
        table.add_row(*(Text(cell, style="bold") for cell in row))
    return Group(Text(grid.title, style="bold"), table, Text())


def markdown(grid: Grid) -> str:
    """A GitHub table below its title, its columns padded so that the source reads well too."""
    rows = [[_markdown(cell) for cell in row] for row in grid.rows]
    rows += [[f"**{cell}**" if cell else "" for cell in row] for row in grid.totals]
    titles = [column.title for column in grid.columns]
    widths = [max(map(len, cells)) for cells in zip_longest(titles, *rows, fillvalue="")]
    lines = [_markdown_line(titles, widths, grid.columns), _markdown_rule(widths, grid.columns)]
    lines += [_markdown_line(row, widths, grid.columns) for row in rows]
    return "\n".join([f"**{grid.title}**", "", *lines]) + "\n"


def latex(grid: Grid) -> str:
    """A `table` whose rules are booktabs'; blocks are bracketed as in the paper."""
    sides = "".join("r" if column.side == "right" else "l" for column in grid.columns)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_latex(grid.title)}}}",
        rf"  \begin{{tabular}}{{{sides}}}",
        r"    \toprule",
        _latex_line([column.title for column in grid.columns]),
        r"    \midrule",
        *map(_latex_line, grid.rows),
    ]
    if grid.totals:
        lines += [r"    \midrule", *map(_latex_line, grid.totals)]
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _natural_width(grid: Grid) -> int:
    """Columns that the table takes if nothing wraps."""
    titles = [column.title for column in grid.columns]
    rows = [titles, *([plain(cell) for cell in row] for row in (*grid.rows, *grid.totals))]
    return sum(max(map(len, cells)) + _GAP for cells in zip(*rows, strict=True))


def _markdown(cell: Cell) -> str:
    return plain(cell).replace("|", r"\|")


def _markdown_line(cells: list[str], widths: list[int], columns: tuple[Column, ...]) -> str:
    padded = [
        cell.rjust(width) if column.side == "right" else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _markdown_rule(widths: list[int], columns: tuple[Column, ...]) -> str:
    dashes = [
        "-" * (width + 1) + ":" if column.side == "right" else "-" * (width + 2)
        for width, column in zip(widths, columns, strict=True)
    ]
    return f"|{'|'.join(dashes)}|"


def _latex_line(cells: tuple[Cell, ...] | list[str]) -> str:
    return f"    {' & '.join(_latex(cell) for cell in cells)} \\\\"


def _latex(cell: Cell) -> str:
    if isinstance(cell, Bracket):
        lines = r" \\ ".join(line.replace("x", r" \times ", 1) for line in cell.convolutions)
        return rf"$\left[\begin{{array}}{{c}} {lines} \end{{array}}\right] \times {cell.repeats}$"
    return cell.translate(_LATEX_SPECIAL)
