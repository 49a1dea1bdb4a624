"""Prints: tables and lines for people, JSON for programs, diagnostics for both."""

import errno
import json
import os
import sys
import textwrap
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from resnetgen.diagnostics import Diagnostic, DiagnosticError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from resnetgen.report.grid import Grid

PASSED = 0
FAILED = 1
BAD_INPUT = 2
NOT_INSTALLED = 3
INTERRUPTED = 130
READER_GONE = 141
"""What a shell makes of SIGPIPE."""

_WIDTH_OF_PIPES = 240
_UNTOLD = suppress(OSError)
"""Around what is said on stderr, which may take nothing, as on a full disk: the exit code tells."""


@contextmanager
def reporting(*, as_json: bool) -> Generator[None]:
    """Turns what is wrong with the user's input into a message and exit code 2."""
    try:
        yield
    except DiagnosticError as error:
        diagnose(error.diagnostics, error.render(), as_json=as_json)
        raise typer.Exit(BAD_INPUT) from None


def diagnose(diagnostics: Iterable[Diagnostic], rendered: str, *, as_json: bool) -> None:
    """Prints what is wrong: in JSON on stdout, for people on stderr."""
    if as_json:
        print_json({"diagnostics": [diagnostic_facts(diagnostic) for diagnostic in diagnostics]})
        return
    from rich.text import Text

    text = Text(rendered)
    text.highlight_regex(r"(?m)\berror: ", "bold red")
    text.highlight_regex(r"(?m)^(expected|hint): ", "cyan")
    _tell(text)


def diagnostic_facts(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as JSON; without a place, or without a line in it, these are null."""
    span = diagnostic.span
    in_line = span is not None and span.line > 0
    return {
        "code": diagnostic.code,
        "message": diagnostic.message,
        "file": None if span is None else span.file,
        "line": span.line if span is not None and in_line else None,
        "column": span.column if span is not None and in_line else None,
        "expected": diagnostic.expected,
        "hint": diagnostic.hint,
    }


def usage_error(error: typer.BadParameter, *, as_json: bool) -> None:
    """Prints a mistake in the arguments themselves, which Typer found."""
    if as_json:
        message = error.format_message()
        diagnose([Diagnostic("usage", message)], message, as_json=True)
    else:
        with _UNTOLD:
            error.show()


def print_json(document: object) -> None:
    """Prints one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_grids(grids: "Iterable[Grid]") -> None:
    """Prints tables on stdout."""
    from resnetgen.report.terminal import terminal

    screen = console()
    for grid in grids:
        text = terminal(grid, width=screen.width, rule=_rule())
        screen.print(text, end="\n\n", soft_wrap=True)


def has_room(grid: "Grid") -> bool:
    """Whether `print_grids` can show the table with all of its columns."""
    from resnetgen.report.terminal import fits

    return fits(grid, width=console().width)


def print_wrapped(lines: Iterable[str], *, indent: str) -> None:
    """Prints lines on stdout, and what does not fit on further ones, indented."""
    width = console().width
    for line in lines:
        start = line[: len(line) - len(line.lstrip())]
        folded = textwrap.wrap(
            line.strip(),
            width,
            initial_indent=start,
            subsequent_indent=start + indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        typer.echo("\n".join(folded))


def prepare_streams() -> None:
    """Has stdout take every character: one that its encoding lacks as an escape, as stderr does.

    One that the caller closed refuses what is written, and no other file takes its number.
    """
    if sys.stdout is None:
        refusing = os.open(os.devnull, os.O_RDONLY)
        sys.stdout = open(refusing, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        # What would be said there goes nowhere, and the exit code stays what it is.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    stdout = cast(TextIOWrapper, sys.stdout)
    if stdout.errors == "strict":
        stdout.reconfigure(errors="backslashreplace")


def give_up_stdout(error: OSError) -> int:
    """Ends after stdout refused what was written, without a word if its reader has gone."""
    # What is still in the buffer is written when Python ends, and would be refused again.
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return READER_GONE
    diagnose([], f"stdout: error: cannot be written: {error.strerror}", as_json=False)
    return BAD_INPUT


def say(message: str) -> None:
    """Prints a remark on stderr."""
    _tell(message)


def _tell(text: "str | Text") -> None:
    with _UNTOLD:
        console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def say_waiting(parent: Path) -> None:
    """Says why nothing happens while another run holds a directory."""
    say(f"waiting for another build in {parent}")


def _rule() -> str:
    """What the line below a table's head is made of."""
    try:
        "─".encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return "-"
    return "─"


def console(*, stderr: bool = False) -> "Console":
    """Where people read; a pipe has no width, so tables keep theirs there."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    columns = os.environ.get("COLUMNS")
    # Into a width of 0 Rich would print nothing.
    has_width = file.isatty() if columns is None else columns != "0"
    width = None if has_width else _WIDTH_OF_PIPES
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)
