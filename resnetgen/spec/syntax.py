"""Says in words of a spec why a text is not YAML, where the parser speaks of its own states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SyntaxMistake:
    """What a text has wrong, at a line and column that count from 0."""

    message: str
    line: int
    column: int
    hint: str | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What the parser's words mean for who wrote the text."""

    problem: str
    """How the parser's words begin."""
    message: str
    expected: str
    at_start: bool = False
    """Whether what is wrong is where it began to read, not where it could not go on."""
    first: bool = False
    """Whether that is so only of what stands first in its line."""


_KNOWN = (
    _Known(
        "mapping values are not allowed",
        "a second `:` in what the indentation makes one line",
        "keys of one mapping below each other, a space behind each `:`, text with a `: ` in quotes",
    ),
    _Known(
        "expected <block end>",
        "a line that continues nothing above it",
        "the indentation of what it belongs to, and `- ` in front of an item",
        first=True,
    ),
    _Known(
        "expected <block end>",
        "what stands here continues nothing before it",
        "the end of the line",
    ),
    _Known("expected ',' or ']'", "a list in brackets does not go on like this", "`,` or `]`"),
    _Known("expected ',' or '}'", "a mapping in braces does not go on like this", "`,` or `}`"),
    _Known(
        "could not find expected ':'",
        "a line that is neither a key with its value nor an item",
        "`key: value` or `- item`, each with its space",
        at_start=True,
    ),
    _Known(
        "found unexpected end of stream",
        "a quote that nothing closes",
        "a second one",
        at_start=True,
    ),
    _Known("found character '\\t'", "a tab in the indentation", "spaces", first=True),
    _Known("found character '\\t'", "a tab between words", "a space"),
    _Known("found character", "a value cannot begin like this", "text in quotes"),
)


def syntax_mistake(error: Any, lines: Sequence[str]) -> SyntaxMistake:
    """What a MarkedYAMLError means in a text of these lines; what is not known, in the parser's own
    words."""
    mark, begun = error.problem_mark or error.context_mark, error.context_mark
    is_first = not "".join(lines[mark.line : mark.line + 1])[: mark.column].strip()
    known = next((each for each in _KNOWN if _is(each, str(error.problem), is_first)), None)
    if known is None:
        context = "" if error.context is None else f" {error.context}"
        message, expected = f"{error.problem}{context}", None
    else:
        message, expected = known.message, known.expected
        mark = begun if known.at_start and begun is not None else mark
    hint = None
    if begun is not None and begun.line < mark.line:
        hint = f"what is being read began at {begun.line + 1}:{begun.column + 1}"
    return SyntaxMistake(message, mark.line, mark.column, hint, expected)


def _is(known: _Known, problem: str, is_first: bool) -> bool:
    return problem.startswith(known.problem) and (is_first or not known.first)
