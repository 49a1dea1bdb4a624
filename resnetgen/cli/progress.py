"""Shows on stderr what each target is doing; where that is no terminal, a line as each ends."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from resnetgen.cli.printing import console, say

if TYPE_CHECKING:
    from rich.table import Table

    from resnetgen.verify.check import Progress

_ENDED = ("passed", "failed", "not_run")


@contextmanager
def progress() -> "Generator[Callable[[str], Progress]]":
    """Gives a function from a network's name to what its verification reports to.

    On a terminal the lines stay while the block runs and vanish with it.
    """
    if not sys.stderr.isatty():
        yield _log
        return
    from rich.live import Live

    lines: dict[tuple[str, str], str] = {}

    def reporter(network: str) -> "Progress":
        def report(target: str, state: str) -> None:
            lines[network, target] = state
            live.update(_table(lines))

        return report

    with Live(console=console(stderr=True), transient=True, refresh_per_second=8) as live:
        yield reporter


def _log(network: str) -> "Progress":
    def report(target: str, state: str) -> None:
        if state in _ENDED:
            say(f"{network}: {target} {state.replace('_', ' ')}")

    return report


def _table(lines: dict[tuple[str, str], str]) -> "Table":
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for (network, target), state in list(lines.items()):
        mark = Text() if state in _ENDED else Spinner("line")
        table.add_row(mark, Text(network), Text(target), Text(state, style="dim"))
    return table
