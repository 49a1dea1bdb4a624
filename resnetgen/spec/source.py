"""Parses YAML text to nodes with positions, and refuses what a spec has no use for in YAML.

Tags, anchors, aliases, repeated keys and further documents are each a diagnostic; all of them in
one text are reported together.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, quote
from resnetgen.spec.nodes import Entry, MappingNode, Node, ScalarNode, SequenceNode, plain_scalar
from resnetgen.spec.syntax import syntax_mistake

DEEPEST_NESTING = 16

_LINE_END = re.compile(r"\r\n|\r|\n")
# What YAML allows in a text, without the line ends that only some of its readers know.
_NOT_ALLOWED = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


# Many bundled specs extend the same few.
@lru_cache(maxsize=64)
def parse(text: str, *, file: str) -> MappingNode:
    """The document that `text` is; raises DiagnosticError with all that is wrong with its form."""
    node = _Parser(text, file, text).document()
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        raise DiagnosticError.of(
            "empty", "the file is empty", Span.of_file(file), expected="a spec in YAML"
        )
    if not isinstance(node, MappingNode):
        message = "a spec is a mapping of keys to values"
        raise DiagnosticError.of(
            "not-a-mapping", message, node.span, expected="lines such as `name: resnet50`"
        )
    return node


def parse_value(text: str, *, file: str, line: str) -> Node:
    """The value at the end of the one-line text `line`; columns count from the line's start."""
    # Spaces in place of what comes before give every position its column.
    indented = " " * (len(line) - len(text)) + text
    parser = _Parser(indented, file, line)
    node = parser.document()
    if node is None:
        return ScalarNode(parser.span(0, len(line) - len(text), 0, len(line)), None, "", False)
    return node


class _Parser:
    """One pass over the parser's events; mistakes gather in `problems`.

    Events are told apart by the names of their classes, which are not imported before they are
    needed.
    """

    def __init__(self, text: str, file: str, shown: str) -> None:
        self.text = text
        self.file = file
        self.lines = _LINE_END.split(shown)
        self.problems: list[Diagnostic] = []

    def document(self) -> Node | None:
        """The one document of the text, or None where there is none."""
        self._check_characters()
        node = self._parse()
        if self.problems:
            raise DiagnosticError(self.problems)
        return node

    def span(self, line: int, column: int, end_line: int, end_column: int) -> Span:
        """A span from positions that count from 0; cut to its first line."""
        shown = self.lines[line] if line < len(self.lines) else ""
        end = end_column if end_line == line else len(shown.rstrip())
        return Span(self.file, line + 1, column + 1, max(end, column + 1) + 1, shown)

    def _check_characters(self) -> None:
        found = _NOT_ALLOWED.search(self.text)
        if found is None:
            return
        *above, before = _LINE_END.split(self.text[: found.start()])
        span = self.span(len(above), len(before), len(above), len(before) + 1)
        message = f"the character U+{ord(found[0]):04X} has no place in a spec"
        raise DiagnosticError.of("bad-character", message, span, expected="printable text")

    def _parse(self) -> Node | None:
        # Imported when there is something to parse: start-up has no time for it.
        from ruamel.yaml.error import MarkedYAMLError

        events = _events(self.text)
        root: Node | None = None
        try:
            for event in events:
                match type(event).__name__:
                    case "DocumentStartEvent" if root is not None:
                        span, message = self._span_of(event), "a second document starts here"
                        expected = "one spec per file"
                        self.problems.append(
                            Diagnostic("several-documents", message, span, expected=expected)
                        )
                        return root
                    case "MappingStartEvent" | "SequenceStartEvent" | "ScalarEvent" | "AliasEvent":
                        root = self._node(event, events, depth=1)
                    case _:
                        pass
        except MarkedYAMLError as error:
            self.problems.append(self._syntax(error))
        except (ValueError, OverflowError):
            # An escape such as "\UFFFFFFFF" for which there is no character.
            span = Span.of_file(self.file)
            self.problems.append(Diagnostic("yaml", "not YAML: an impossible escape", span))
        return root

    def _node(self, event: Any, events: Iterator[Any], *, depth: int) -> Node:
        span = self._span_of(event)
        self._refuse_references(event, span)
        if depth > DEEPEST_NESTING:
            message, expected = "nested too deep", f"at most {DEEPEST_NESTING} levels"
            found = Diagnostic("too-deep", message, span, expected=expected)
            raise DiagnosticError([*self.problems, found])
        match type(event).__name__:
            case "MappingStartEvent":
                return self._mapping(event, span, events, depth)
            case "SequenceStartEvent":
                return self._sequence(event, span, events, depth)
            case "ScalarEvent":
                text: str = event.value
                plain = event.style is None
                return ScalarNode(span, plain_scalar(text) if plain else text, text, not plain)
            case _:
                return ScalarNode(span, None, "", quoted=False)

    def _sequence(self, start: Any, span: Span, events: Iterator[Any], depth: int) -> SequenceNode:
        items: list[Node] = []
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                span = self._collection_span(start, event)
                break
            items.append(self._node(event, events, depth=depth + 1))
        return SequenceNode(span, tuple(items))

    def _mapping(self, start: Any, span: Span, events: Iterator[Any], depth: int) -> MappingNode:
        entries: dict[str, Entry] = {}
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                span = self._collection_span(start, event)
                break
            key = self._node(event, events, depth=depth + 1)
            value = self._node(next(events), events, depth=depth + 1)
            if not isinstance(key, ScalarNode):
                self.problems.append(Diagnostic("bad-key", "a key must be a word", key.span))
            elif key.text in entries:
                first = entries[key.text].key.line
                message = f"{quote(key.text)} is stated twice, first in line {first}"
                self.problems.append(
                    Diagnostic("duplicate-key", message, key.span, expected="each key once")
                )
            else:
                entries[key.text] = Entry(key.span, _at_key(value, key.span))
        return MappingNode(span, entries)

    def _refuse_references(self, event: Any, span: Span) -> None:
        anchor: str | None = event.anchor
        if type(event).__name__ == "AliasEvent":
            message = f"the alias {quote(f'*{anchor}')}: a spec has no aliases"
            self._refuse("alias", message, span, "the value written out, or `extends`")
        elif anchor is not None:
            message = f"the anchor {quote(f'&{anchor}')}: a spec has no anchors"
            self._refuse("anchor", message, span, "values written out, or `extends`")
        tag: object = getattr(event, "ctag", None)
        if tag is not None:
            shown = str(tag).replace("tag:yaml.org,2002:", "!!")
            message = f"the tag {quote(shown)}: a spec has no tags"
            self._refuse("tag", message, span, "the plain value")

    def _refuse(self, code: str, message: str, span: Span, expected: str) -> None:
        # Of `&anchor value` only the first word is at fault.
        word = re.match(r"\S+", span.text[span.column - 1 :])
        end = span.column + (word.end() if word else 1)
        marked = Span(span.file, span.line, span.column, min(end, span.end_column), span.text)
        self.problems.append(Diagnostic(code, message, marked, expected=expected))

    def _span_of(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        return self.span(start.line, start.column, end.line, end.column)

    def _collection_span(self, start: Any, end: Any) -> Span:
        first, last = start.start_mark, end.end_mark
        return self.span(first.line, first.column, last.line, last.column)

    def _syntax(self, error: Any) -> Diagnostic:
        found = syntax_mistake(error, self.lines)
        span = self.span(found.line, found.column, found.line, found.column + 1)
        return Diagnostic("yaml", f"not YAML: {found.message}", span, found.hint, found.expected)


def _events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML

    parser: Any = YAML(typ="safe", pure=True)
    return iter(parser.parse(text))


def _at_key(value: Node, key: Span) -> Node:
    """Values that are empty or spread over lines below their key are shown at the key."""
    if value.span.line == key.line and not (isinstance(value, ScalarNode) and value.text == ""):
        return value
    match value:
        case MappingNode():
            return MappingNode(key, value.entries)
        case SequenceNode():
            return SequenceNode(key, value.items)
        case ScalarNode(value=None):
            return ScalarNode(key, None, value.text, value.quoted)
        case ScalarNode():
            return value
