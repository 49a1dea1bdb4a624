"""The facts of a spec: the keys of its resolved document, and in which of them two specs differ.

They come from the document itself, so a key that is new to the language is compared like the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.dialects import Conventions
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.nodes import Entry, MappingNode, Node, Path, ScalarNode, SequenceNode, find
from resnetgen.spec.source import parse


@dataclass(frozen=True, slots=True)
class Fact:
    """A key that two documents state differently; None stands for a key that one of them lacks."""

    path: Path
    before: Node | None
    after: Node | None


def documents(before: ModelSpec, after: ModelSpec) -> tuple[MappingNode, MappingNode]:
    """Both specs with nothing left open, and with the same keys at the same level."""
    # What a dialect would fill in is a fact of its own, also where specs do not say it.
    decided = [each.name for each in fields(Conventions)]
    first, second = (
        parse(to_yaml(spec, stated=decided), file=spec.name) for spec in (before, after)
    )
    return _spread_like(first, second), _spread_like(second, first)


def differing(before: Node | None, after: Node | None, path: Path = ()) -> Iterator[Fact]:
    """What lies at other values below `path`, in the order of the documents."""
    match before, after:
        case MappingNode(), MappingNode():
            for key in dict.fromkeys([*before.entries, *after.entries]):
                yield from differing(find(before, (key,)), find(after, (key,)), (*path, key))
        case SequenceNode(), SequenceNode() if _is_named(before) and _is_named(after):
            for index in range(max(len(before.items), len(after.items))):
                step = (index,)
                yield from differing(find(before, step), find(after, step), (*path, index))
        case _ if before is None or after is None or written(before) != written(after):
            yield Fact(path, before, after)
        case _:
            pass


def changed(document: MappingNode, path: Path, value: Node | None) -> MappingNode:
    """The document with `value` at `path`, or with nothing there."""
    result = _changed(document, path, value)
    assert isinstance(result, MappingNode), f"{path} leads nowhere"
    return result


def stage_name(document: MappingNode, path: Path) -> str | None:
    """The name of the stage that `path` leads into, if it leads into one."""
    name = find(document, (*path[:2], "name")) if path[0] == "stages" else None
    return name.text if isinstance(name, ScalarNode) else None


def written(node: Node) -> str:
    """A value on one line, as `--set` takes it."""
    match node:
        case MappingNode():
            entries = (f"{key}: {written(entry.value)}" for key, entry in node.entries.items())
            return "{" + ", ".join(entries) + "}"
        case SequenceNode():
            return f"[{', '.join(map(written, node.items))}]"
        case ScalarNode():
            return f'"{node.text}"' if node.quoted else node.text


def plain(node: Node) -> object:
    """A value as JSON has it."""
    match node:
        case MappingNode():
            return {key: plain(entry.value) for key, entry in node.entries.items()}
        case SequenceNode():
            return [plain(item) for item in node.items]
        case ScalarNode():
            return node.value


def _is_named(node: SequenceNode) -> bool:
    """Whether these are stages: what has no name of its own is one fact with its neighbours.

    A block's convolutions share one stride, for which no single one of them can be changed alone.
    """
    return all(isinstance(item, MappingNode) and "name" in item.entries for item in node.items)


def _spread_like(document: MappingNode, other: MappingNode) -> MappingNode:
    """Moves into the stages what `other` states for each of them and not for the network."""
    stages = find(document, ("stages",))
    in_stages = {key for stage in _stages(other) for key in stage.entries}
    moved = {
        key: entry
        for key, entry in document.entries.items()
        if key in in_stages and key not in other.entries
    }
    kept = {key: entry for key, entry in document.entries.items() if key not in moved}
    assert stages is not None, "a document without stages"
    items = tuple(
        MappingNode(stage.span, {**stage.entries, **moved}) for stage in _stages(document)
    )
    entry = Entry(document.entries["stages"].key, SequenceNode(stages.span, items))
    return MappingNode(document.span, {**kept, "stages": entry})


def _stages(document: MappingNode) -> Iterator[MappingNode]:
    stages = find(document, ("stages",))
    assert isinstance(stages, SequenceNode), "a document without stages"
    for stage in stages.items:
        assert isinstance(stage, MappingNode), "a stage that is no mapping"
        yield stage


def _changed(node: Node | None, path: Path, value: Node | None) -> Node | None:
    if not path:
        return value
    step, rest = path[0], path[1:]
    match node, step:
        case MappingNode(), str():
            inner = _changed(find(node, (step,)), rest, value)
            entries = {key: entry for key, entry in node.entries.items() if key != step}
            if inner is None:
                return MappingNode(node.span, entries)
            key = node.entries[step].key if step in node.entries else inner.span
            return MappingNode(node.span, {**node.entries, step: Entry(key, inner)})
        case SequenceNode(), int():
            inner = _changed(find(node, (step,)), rest, value)
            items = (*node.items[:step], inner, *node.items[step + 1 :])
            return SequenceNode(node.span, tuple(item for item in items if item is not None))
        case _:
            raise AssertionError(f"{step} is not below {node}")
