"""Renders templates, and breaks long calls where `ruff format` would break them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from resnetgen.resources import templates_directory

if TYPE_CHECKING:
    from jinja2 import Environment

LINE_LENGTH = 100
_INDENT = 4


def render(template: str, view: object) -> str:
    """The text of `template`, a path under `templates/`, which knows its view as `view`."""
    return _environment().get_template(template).render(view=view)


def call(head: str, arguments: Sequence[str], tail: str = ")", *, indent: int) -> tuple[str, ...]:
    """`head`, the arguments and `tail` on one line, or broken over several.

    `head` ends with the opening bracket. The breaks are those of `ruff format` at 100 columns:
    all arguments on one line of their own if they fit there, else one a line.
    """
    margin = " " * indent
    joined = ", ".join(arguments)
    line = f"{margin}{head}{joined}{tail}"
    if len(line) <= LINE_LENGTH:
        return (line,)
    inner = " " * (indent + _INDENT)
    # A function's only parameter gets a trailing comma all the same.
    alone = head.startswith("def ") and len(arguments) == 1
    if len(inner) + len(joined) <= LINE_LENGTH and not alone:
        body: tuple[str, ...] = (f"{inner}{joined}",)
    else:
        body = tuple(f"{inner}{argument}," for argument in arguments)
    return (f"{margin}{head}", *body, f"{margin}{tail}")


@dataclass(frozen=True, slots=True)
class Item:
    """What stands in a list: a name or an expression, or the call of a function."""

    function: str
    arguments: tuple[str, ...] | None = None
    loop: str | None = None
    """The clause of the loop that makes it several times, such as `for _ in range(5)`."""

    @property
    def text(self) -> str:
        """It on one line."""
        return self._made if self.loop is None else f"*({self.repeated})"

    @property
    def repeated(self) -> str:
        """What makes it in a loop, on one line."""
        return f"{self._made} {self.loop}"

    @property
    def _made(self) -> str:
        if self.arguments is None:
            return self.function
        return f"{self.function}({', '.join(self.arguments)})"

    def lines(self, *, indent: int) -> tuple[str, ...]:
        """It on lines of its own, with a comma behind it."""
        margin = " " * indent
        if self.loop is None:
            return self._made_lines(",", indent=indent)
        if indent + len(self.text) < LINE_LENGTH:
            return (f"{margin}{self.text},",)
        return (f"{margin}*(", *self.repeated_lines(indent=indent + _INDENT), f"{margin}),")

    def repeated_lines(self, *, indent: int) -> tuple[str, ...]:
        """What makes it in a loop, over several lines."""
        return (*self._made_lines("", indent=indent), f"{' ' * indent}{self.loop}")

    def _made_lines(self, behind: str, *, indent: int) -> tuple[str, ...]:
        if self.arguments is None:
            return (f"{' ' * indent}{self.function}{behind}",)
        return call(f"{self.function}(", self.arguments, f"){behind}", indent=indent)


def call_of(head: str, items: Sequence[Item], *, indent: int) -> tuple[str, ...]:
    """A call whose arguments may be calls, which break where they are too long for one line."""
    lines = call(head, [item.text for item in items], indent=indent)
    if max(map(len, lines)) <= LINE_LENGTH:
        return lines
    inner = (line for item in items for line in item.lines(indent=indent + _INDENT))
    return (lines[0], *inner, lines[-1])


def applied(head: str, arguments: Sequence[str], value: str, *, indent: int) -> tuple[str, ...]:
    """A call of what a call gives, `head(arguments)(value)`: the last brackets break first."""
    margin = " " * indent
    first = f"{margin}{head}{', '.join(arguments)})("
    if len(first) + len(value) + 1 > LINE_LENGTH >= len(first):
        return (first, f"{margin}{' ' * _INDENT}{value}", f"{margin})")
    return call(head, arguments, f")({value})", indent=indent)


def ending(lines: Sequence[str], value: str) -> tuple[str, ...]:
    """Lines of a method that assign to x, and behind them the return of `value`."""
    if value == "x":
        return (*lines[:-1], lines[-1].replace("x = ", "return ", 1))
    return (*lines, f"{' ' * 2 * _INDENT}return {value}")


def where_strided(name: str, value: str, otherwise: str, *, indent: int) -> tuple[str, ...]:
    """Assigns `value` to `name` in blocks with a stride, and `otherwise` in others."""
    margin, inner = " " * indent, " " * (indent + _INDENT)
    line = f"{margin}{name} = {value} if stride > 1 else {otherwise}"
    if len(line) <= LINE_LENGTH:
        return (line,)
    parts = (f"{inner}{value}", f"{inner}if stride > 1", f"{inner}else {otherwise}")
    return (f"{margin}{name} = (", *parts, f"{margin})")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Autoescaping is for HTML; what may stand in a spec's names and licence is checked on loading.
    return Environment(
        loader=FileSystemLoader(templates_directory()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
