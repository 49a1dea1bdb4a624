"""A YAML document as a tree whose every key and value knows where it was written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from resnetgen.diagnostics import Span, quote

Value = None | bool | int | float | str
Path = tuple[str | int, ...]
"""Keys and indices that lead from the document to a node."""

# YAML 1.2's core schema, less what 1.1 reads differently (010, 0x10): that stays text, and is
# refused wherever a number is due.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)(\.inf|\.Inf|\.INF)|(\.nan|\.NaN|\.NAN)")
_WORDS: Mapping[str, Value] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# More digits than Python converts; a number cut to these is out of every range all the same.
_MOST_DIGITS = 4000


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A value as it means and as it was written (`text`, without its quotes)."""

    span: Span
    value: Value
    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list; `span` is its key where it is written over several lines."""

    span: Span
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys and values; `span` is its own key where it is written over several lines."""

    span: Span
    entries: Mapping[str, "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, and where its key stands."""

    key: Span
    value: "Node"


Node = ScalarNode | SequenceNode | MappingNode


def plain_scalar(text: str) -> Value:
    """What unquoted `text` means in YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text[:_MOST_DIGITS])
    if _FLOAT.fullmatch(text):
        return float(text)
    if special := _SPECIAL.fullmatch(text):
        return float(special[0].lower().replace(".", ""))
    return text


def locate(document: MappingNode, path: Path, *, key: bool = False) -> Span:
    """Where `path` was written, or the nearest node above it; with `key`, its key."""
    node: Node = document
    span = document.span
    for step in path:
        match node, step:
            case MappingNode(), str() if step in node.entries:
                entry = node.entries[step]
                node, span = entry.value, entry.key if key else entry.value.span
            case SequenceNode(), int() if step < len(node.items):
                node = node.items[step]
                span = node.span
            case _:
                break
    return span


def find(document: Node, path: Path) -> Node | None:
    """The node at `path`, if there is one."""
    node = document
    for step in path:
        match node, step:
            case MappingNode(), str() if step in node.entries:
                node = node.entries[step].value
            case SequenceNode(), int() if step < len(node.items):
                node = node.items[step]
            case _:
                return None
    return node


def dotted(path: Path) -> str:
    """A path as people write it after `--set`."""
    return ".".join(str(step) for step in path)


def describe(node: Node) -> str:
    """What kind of value was found, for messages."""
    match node:
        case MappingNode():
            return "a mapping"
        case SequenceNode():
            return f"a list of {len(node.items)}" if node.items else "an empty list"
        case ScalarNode(value=None):
            return "empty"
        case ScalarNode(value=bool()):
            return f"the boolean {quote(node.text)}"
        case ScalarNode(value=int()):
            return quote(node.text)
        case ScalarNode(value=float()):
            return f"the float {quote(node.text)}"
        case ScalarNode():
            written = f'"{node.text}"' if node.quoted else node.text
            return f"the text {quote(written)}"
