"""What is wrong with the user's input, and where: records that print with the line and a caret."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SHOWN_LINE = 120
_SHOWN_BEFORE_CARET = 40
_SHOWN_VALUE = 60
_MOST_DIAGNOSTICS = 50
_SHORTEST_START = 3
_ELSEWHERE = {
    "gpu": ("cuda",),
    "tf": ("keras", "keras-tensorflow"),
    "tensorflow": ("keras", "keras-tensorflow"),
    "jax": ("flax",),
    "pytorch": ("torch",),
    "fp64": ("float64",),
    "double": ("float64",),
    "fp32": ("float32",),
    "fp16": ("float16",),
    "half": ("float16",),
    "bf16": ("bfloat16",),
    "swish": ("silu",),
    "dilation": ("output_stride",),
}
"""Words of other tools, and which of ours they may mean."""
_NUMBERED = re.compile(r"([^0-9]+)([0-9]{1,9})(.*)", re.DOTALL)
"""A word with a number in it, such as a network's name with its depth."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one line of a file; `text` is that whole line.

    Line and columns count characters from 1, and `end_column` is the one behind the last. Line 0
    means the file as a whole.
    """

    file: str
    line: int
    column: int
    end_column: int
    text: str

    @classmethod
    def of_file(cls, file: str) -> "Span":
        """The file as a whole, for what is wrong before there are lines."""
        return cls(file, 0, 0, 0, "")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: `message` says what was found, `expected` what would be right."""

    code: str
    message: str
    span: Span | None = None
    hint: str | None = None
    expected: str | None = None

    def render(self) -> str:
        """Several lines of plain text without a newline at the end."""
        lines = [f"{self._place()}error: {self.message}"]
        if self.span is not None and self.span.line > 0:
            lines += _excerpt(self.span)
        if self.expected is not None:
            lines.append(f"expected: {self.expected}")
        if self.hint is not None:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def _place(self) -> str:
        if self.span is None:
            return ""
        file = printable(self.span.file)
        if self.span.line == 0:
            return f"{file}: "
        return f"{file}:{self.span.line}:{self.span.column}: "


class DiagnosticError(Exception):
    """All mistakes that one pass found, without repetition, in the order of their places."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        ordered = sorted(dict.fromkeys(diagnostics), key=_position)
        assert ordered, "an error needs at least one diagnostic"
        self.diagnostics = tuple(ordered)
        # The argument is what pickling rebuilds the error from in another process.
        super().__init__(self.diagnostics)

    @classmethod
    def of(
        cls,
        code: str,
        message: str,
        span: Span | None = None,
        hint: str | None = None,
        *,
        expected: str | None = None,
    ) -> "DiagnosticError":
        """The error with one diagnostic."""
        return cls([Diagnostic(code, message, span, hint, expected)])

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """The diagnostics with an empty line between them; of very many, the first ones."""
        shown = [diagnostic.render() for diagnostic in self.diagnostics[:_MOST_DIAGNOSTICS]]
        if len(shown) < len(self.diagnostics):
            shown.append(f"... and {len(self.diagnostics) - len(shown):,} more errors")
        return "\n\n".join(shown)


def printable(text: str) -> str:
    """`text` with everything escaped that could move a cursor, hide or reorder characters."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else _escape(character) for character in text
    )


def quote(text: str) -> str:
    """`text` in backticks, printable and cut to a length that fits in a message."""
    if len(text) > _SHOWN_VALUE:
        return f"`{printable(text[:_SHOWN_VALUE])}...`"
    return f"`{printable(text)}`"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def called_elsewhere(word: str, known: Iterable[str]) -> str | None:
    """The known word for what other tools call `word`, if there is one."""
    return next((each for each in known if each in _ELSEWHERE.get(word.lower(), ())), None)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that other tools call so, that `word` is the start of, or has another number
    than, or is most likely a misspelling of."""
    words = list(known)
    if meant := called_elsewhere(word, words):
        return meant
    started = [each for each in words if len(word) >= _SHORTEST_START and each.startswith(word)]
    if started:
        return started[0]
    if numbered := _of_nearest_number(word, words):
        return numbered
    close = difflib.get_close_matches(word[:_SHOWN_VALUE].lower(), words, n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known word, if one is near."""
    found = nearest(word, known)
    return None if found is None else f"did you mean `{found}`?"


def _of_nearest_number(word: str, known: Iterable[str]) -> str | None:
    """The known word that differs in its first number alone, and least; if `word` ends with that
    number, failing that one that goes on."""
    found = _NUMBERED.fullmatch(word)
    if found is None:
        return None
    before, number, behind = found.groups()
    ranks = {
        each: (other[3] != behind, abs(int(other[2]) - int(number)), len(each))
        for each in known
        if (other := _NUMBERED.fullmatch(each)) and other[1] == before
        if behind in ("", other[3])
    }
    return min(ranks, key=ranks.__getitem__, default=None)


def _position(diagnostic: Diagnostic) -> tuple[str, int, int]:
    span = diagnostic.span
    return ("", 0, 0) if span is None else (span.file, span.line, span.column)


def _excerpt(span: Span) -> list[str]:
    """The line and, below it, carets under the stretch as it is displayed."""
    start, end = span.column - 1, max(span.end_column - 1, span.column)
    first = max(0, start - _SHOWN_BEFORE_CARET) if len(span.text) > _SHOWN_LINE else 0
    last = first + _SHOWN_LINE
    before = ("..." if first > 0 else "") + _display(span.text[first:start])
    marked = _display(span.text[start : min(end, last)])
    behind = _display(span.text[end:last]) + ("..." if len(span.text) > last else "")
    gutter = " " * len(str(span.line))
    carets = "^" * max(1, _columns(marked))
    return [
        f"  {span.line} | {before}{marked}{behind}".rstrip(),
        f"  {gutter} | {' ' * _columns(before)}{carets}",
    ]


def _display(text: str) -> str:
    return printable(text.replace("\t", "    "))


def _columns(text: str) -> int:
    """How many columns a terminal gives to printable text."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
