"""Renders grids as LaTeX: tables with booktabs' rules, and blocks bracketed as in the paper."""

import re
from collections.abc import Sequence

from resnetgen.ir.summary import Bracket, BracketLine
from resnetgen.report.grid import Cell, Grid

_HEADER = "% These tables need \\usepackage{booktabs} in the preamble.\n"
_SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "#$%&_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)
_PRODUCT = re.compile(r"\b\d+(x\d+)+\b")
"""A kernel or a shape; no part of a name like `net_3x3`, where `_` and letters are no border."""


def latex(grids: Sequence[Grid]) -> str:
    """A `table` for each grid, below a comment that says what the document has to load."""
    return _HEADER + "\n".join(map(_table, grids))


def _table(grid: Grid) -> str:
    sides = "".join("r" if column.side == "right" else "l" for column in grid.columns)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_text(grid.title)}}}",
        rf"  \begin{{tabular}}{{{sides}}}",
        r"    \toprule",
        _line([column.title for column in grid.columns]),
        r"    \midrule",
        *map(_line, grid.rows),
    ]
    if grid.totals:
        lines += [r"    \midrule", *map(_line, grid.totals)]
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[Cell]) -> str:
    return f"    {' & '.join(map(_cell, cells))} \\\\"


def _cell(cell: Cell) -> str:
    return _bracket(cell) if isinstance(cell, Bracket) else _text(cell)


def _bracket(cell: Bracket) -> str:
    lines = r" \\ ".join(map(_bracket_line, cell.lines))
    array = rf"\left[\begin{{array}}{{c}} {lines} \end{{array}}\right]"
    return rf"${array} \times {cell.repeats}${cell.ending}"


def _bracket_line(line: BracketLine) -> str:
    # Words would be set as products of variables.
    gives = line.gives if line.gives.isdecimal() else rf"\mbox{{{line.gives}}}"
    return gives if line.kernel is None else f"{_times(line.kernel)}, {gives}"


def _text(text: str) -> str:
    return _PRODUCT.sub(lambda found: f"${_times(found[0])}$", text.translate(_SPECIAL))


def _times(product: str) -> str:
    """In mathematics, which has a sign for what `x` stands for."""
    return product.replace("x", r" \times ")
