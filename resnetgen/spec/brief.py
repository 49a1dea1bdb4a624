"""Writes a spec as a person would: without what would be so anyway, or as a change to another."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeGuard

from resnetgen.diagnostics import DiagnosticError
from resnetgen.spec.canonical import aligned, to_yaml
from resnetgen.spec.facts import Fact, changed, differing, documents, written
from resnetgen.spec.load import meaning
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.nodes import Entry, MappingNode, Node, Path, ScalarNode, SequenceNode, find
from resnetgen.spec.overlay import overlay, spread_repeats
from resnetgen.spec.source import parse


def brief(spec: ModelSpec) -> str:
    """The shortest document of the spec: a key stays where another spec is meant without it."""
    document = parse(to_yaml(spec), file=spec.name)
    for path in list(_keys(document)):
        if find(document, path) is not None:
            shorter = changed(document, path, None)
            document = shorter if _means(shorter, spec) else document
    return _text(document)


def extension(spec: ModelSpec, base: ModelSpec) -> str | None:
    """The spec as one that `extends` the base, if that can say it.

    What the base states and the spec does not cannot be taken back.
    """
    inherited, stated = documents(base, spec)
    layer = _layer(inherited, stated, list(differing(inherited, stated)))
    merged = overlay(spread_repeats(inherited), layer)
    return f"extends: {base.name}\n{_text(layer)}" if _means(merged, spec) else None


def _layer(inherited: MappingNode, stated: MappingNode, facts: Sequence[Fact]) -> MappingNode:
    """The keys of `stated` that have other values, and of mappings only such entries."""
    entries: dict[str, Entry] = {}
    for key, below in groupby(facts, key=lambda fact: fact.path[0]):
        keys = {fact.path[-1] for fact in below}
        value, before = stated.entries.get(str(key)), find(inherited, (key,))
        match value, before:
            case None, _:
                pass
            case Entry(at, SequenceNode(span, rows)), SequenceNode() if keys == {"repeats"}:
                counts = tuple(row.entries["repeats"].value for row in rows if _is_mapping(row))
                entries["repeats"] = Entry(at, SequenceNode(span, counts))
            case Entry(at, MappingNode(span, inner)), MappingNode():
                changes = {each: inner[each] for each in inner if each in keys}
                entries[str(key)] = Entry(at, MappingNode(span, changes))
            case _:
                entries[str(key)] = value
    return MappingNode(stated.span, entries)


def _is_mapping(node: Node) -> TypeGuard[MappingNode]:
    return isinstance(node, MappingNode)


def _means(document: MappingNode, spec: ModelSpec) -> bool:
    try:
        return meaning(document) == spec
    except DiagnosticError:
        return False


def _keys(node: Node, path: Path = ()) -> Iterator[Path]:
    """The paths of all keys of a document."""
    match node:
        case MappingNode():
            for key, entry in node.entries.items():
                yield (*path, key)
                yield from _keys(entry.value, (*path, key))
        case SequenceNode():
            for index, item in enumerate(node.items):
                yield from _keys(item, (*path, index))
        case ScalarNode():
            pass


def _text(document: MappingNode) -> str:
    """A key on each line, and below it on lines of their own the mappings of a list."""
    lines: list[str] = []
    for key, entry in document.entries.items():
        match entry.value:
            case SequenceNode(_, items) if rows := [row for row in items if _is_mapping(row)]:
                texts = [
                    {name: written(cell.value) for name, cell in row.entries.items()}
                    for row in rows
                ]
                lines += [f"{key}:", *(f"  - {line}" for line in aligned(texts))]
            case value:
                lines.append(f"{key}: {written(value)}")
    return "\n".join(lines) + "\n"
