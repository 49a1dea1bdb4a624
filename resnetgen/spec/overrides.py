"""Applies `--set KEY=VALUE`: the last layer over a document, addressed by dotted paths."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, quote
from resnetgen.spec.nodes import Entry, MappingNode, Node, ScalarNode, SequenceNode, describe
from resnetgen.spec.overlay import discard, merge, spread_repeats, states_repeats
from resnetgen.spec.source import parse_value

FILE = "--set"
"""What stands for a file's name where an override is at fault."""
_FORM = "KEY=VALUE, such as `stages.2.repeats=15`"


@dataclass(frozen=True, slots=True)
class _Step:
    """One component of a path and where it stands in the override."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class _Override:
    """A value for the node at a path."""

    path: tuple[_Step, ...]
    value: Node

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(step.text for step in self.path)


def override(document: MappingNode, texts: Sequence[str]) -> MappingNode:
    """`document` with every override applied, in order."""
    problems: list[Diagnostic] = []
    parsed: list[_Override] = []
    for text in texts:
        try:
            parsed.append(_parse(text))
        except DiagnosticError as error:
            problems += error.diagnostics
    changed = discard(
        document,
        {change.keys[0] for change in parsed if len(change.keys) == 1},
        repeats=any(_says_repeats(change) for change in parsed),
    )
    for change in parsed:
        try:
            changed = _changed_mapping(changed, change.path, change.value)
        except DiagnosticError as error:
            problems += error.diagnostics
    if problems:
        raise DiagnosticError(problems)
    return spread_repeats(changed)


def keys(texts: Sequence[str]) -> frozenset[str]:
    """The keys of the document that overrides change, or change something in."""
    return frozenset(re.split(r"[.=]", text, maxsplit=1)[0] for text in texts)


def _parse(text: str) -> _Override:
    name, equals, value = text.partition("=")
    whole = Span(FILE, 1, 1, len(text) + 1, text)
    if not equals:
        raise DiagnosticError.of("bad-override", f"{quote(text)} has no `=`", whole, expected=_FORM)
    steps = tuple(
        _Step(found[0], Span(FILE, 1, found.start() + 1, found.end() + 1, text))
        for found in re.finditer(r"[^.]+", name)
    )
    if ".".join(step.text for step in steps) != name or not steps:
        raise DiagnosticError.of(
            "bad-override", f"{quote(name)} is not the path of a key", whole, expected=_FORM
        )
    if steps[0].text == "extends":
        message = "`extends` belongs in a file, where its folder is known"
        raise DiagnosticError.of("bad-override", message, steps[0].span, expected=_FORM)
    node = parse_value(value, file=FILE, line=text)
    # Repeats have been spread over the stages by the time that overrides apply.
    if steps[0].text == "repeats" and len(steps) == 2:
        stages, repeats = (_Step(key, steps[0].span) for key in ("stages", "repeats"))
        steps = (stages, steps[1], repeats)
    return _Override(steps, node)


def _says_repeats(change: _Override) -> bool:
    match change.keys:
        case ("repeats",) | ("stages", _, "repeats"):
            return True
        case ("stages",) | ("stages", _):
            return states_repeats(change.value)
        case _:
            return False


def _changed(node: Node, step: _Step, rest: tuple[_Step, ...], value: Node) -> Node:
    """The node at `step` with the value set at the path `rest` below it."""
    match node:
        case MappingNode():
            return _changed_mapping(node, rest, value)
        case SequenceNode():
            return _changed_sequence(node, rest, value)
        case _:
            message = f"{quote(step.text)} is {describe(node)} and holds no {quote(rest[0].text)}"
            raise DiagnosticError.of("bad-override", message, rest[0].span, expected=_FORM)


def _changed_mapping(node: MappingNode, path: tuple[_Step, ...], value: Node) -> MappingNode:
    step, rest = path[0], path[1:]
    present = node.entries.get(step.text)
    if not rest:
        layer = MappingNode(node.span, {step.text: Entry(step.span, value)})
        return merge(node, layer)
    # A key that nobody knows is left to the schema, which suggests the nearest.
    inner = MappingNode(step.span, {}) if present is None else present.value
    key = step.span if present is None else present.key
    entry = Entry(key, _changed(inner, step, rest, value))
    return MappingNode(node.span, {**node.entries, step.text: entry})


def _changed_sequence(node: SequenceNode, path: tuple[_Step, ...], value: Node) -> SequenceNode:
    step, rest = path[0], path[1:]
    items = list(node.items)
    index = int(step.text) if re.fullmatch(r"[0-9]{1,9}", step.text) else None
    if index is None or index >= len(items):
        expected = f"an index from 0 to {len(items) - 1}" if items else "a list with items"
        message = f"{quote(step.text)} is no index of a list of {len(items)}"
        named = (f"`{step.text}` is at {at}" for at in _named(items, step.text))
        raise DiagnosticError.of(
            "bad-override", message, step.span, next(named, None), expected=expected
        )
    items[index] = _changed(items[index], step, rest, value) if rest else value
    return SequenceNode(node.span, tuple(items))


def _named(items: Sequence[Node], name: str) -> Iterator[int]:
    """Where in a list what has this name stands."""
    for index, item in enumerate(items):
        entry = item.entries.get("name") if isinstance(item, MappingNode) else None
        if entry is not None and isinstance(entry.value, ScalarNode) and entry.value.text == name:
            yield index
