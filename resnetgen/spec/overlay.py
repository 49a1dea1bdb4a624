"""Lays one document over another: what `extends` and `--set` do.

Mappings merge, everything else is replaced. Depth and repeats say the same thing twice, and so do
RegNet's rule and stages: a layer that states one of them discards the other where it is inherited;
a layer that states both is checked later, by the rules.
"""

from collections.abc import Collection
from dataclasses import dataclass

from resnetgen.spec.nodes import Entry, MappingNode, Node, ScalarNode, SequenceNode, find


@dataclass(frozen=True, slots=True)
class Repeats:
    """How often each stage repeats its blocks, and the file that says so."""

    counts: tuple[int, ...]
    file: str


def overlay(base: MappingNode, layer: MappingNode) -> MappingNode:
    """`layer` over `base`, with repeats spread over the stages."""
    kept = discard(base, layer.entries.keys(), repeats=states_repeats(layer))
    return spread_repeats(merge(kept, layer))


def merge(base: MappingNode, layer: MappingNode) -> MappingNode:
    """The keys of both; where both have one, mappings merge and else the layer's value counts."""
    entries = dict(base.entries)
    for name, entry in layer.entries.items():
        inherited = entries[name].value if name in entries else None
        value = entry.value
        if isinstance(inherited, MappingNode) and isinstance(value, MappingNode):
            value = merge(inherited, value)
        entries[name] = Entry(entry.key, value)
    return MappingNode(layer.span, entries)


def discard(base: MappingNode, keys: Collection[str], *, repeats: bool) -> MappingNode:
    """`base` as a layer sees it that states these keys, and repeats there or in its stages."""
    if "regnet" in keys and "stages" not in keys:
        base = _without(base, "stages", "repeats", "depth", "groups")
    elif "stages" in keys and "regnet" not in keys:
        base = _without(base, "regnet")
    if ("depth" in keys) == repeats:
        return base
    if repeats:
        return _without(base, "depth")
    entries = dict(_without(base, "repeats").entries)
    stages = entries.get("stages")
    if stages is not None and isinstance(stages.value, SequenceNode):
        unstated = tuple(
            _without(stage, "repeats") if isinstance(stage, MappingNode) else stage
            for stage in stages.value.items
        )
        entries["stages"] = Entry(stages.key, SequenceNode(stages.value.span, unstated))
    return MappingNode(base.span, entries)


def states_repeats(node: Node) -> bool:
    """Whether a document, its stages or a stage says how often blocks repeat."""
    match node:
        case MappingNode():
            stages = node.entries.get("stages")
            return "repeats" in node.entries or (
                stages is not None and states_repeats(stages.value)
            )
        case SequenceNode():
            return any(states_repeats(item) for item in node.items)
        case _:
            return False


def repeats_of(document: MappingNode) -> Repeats | None:
    """The repeats of all stages, once they are spread; None where one has no number of them."""
    stages = document.entries.get("stages")
    rows = stages.value.items if stages and isinstance(stages.value, SequenceNode) else ()
    found = [find(stage, ("repeats",)) for stage in rows]
    numbers = [node.value for node in found if isinstance(node, ScalarNode)]
    integers = tuple(number for number in numbers if type(number) is int)
    if not found or len(integers) < len(found):
        return None
    assert found[0] is not None, "it has a number"
    return Repeats(integers, found[0].span.file)


def spread_repeats(document: MappingNode) -> MappingNode:
    """Moves a list of repeats into the stages, so that a later layer can change one of them.

    A list that does not fit the stages is left where it is, for the rules to refuse.
    """
    entry, stages = document.entries.get("repeats"), document.entries.get("stages")
    if entry is None or stages is None:
        return document
    repeats, items = entry.value, stages.value
    if not isinstance(repeats, SequenceNode) or not isinstance(items, SequenceNode):
        return document
    if len(repeats.items) != len(items.items):
        return document
    stated: list[Node] = []
    for stage, count in zip(items.items, repeats.items, strict=True):
        if not isinstance(stage, MappingNode):
            return document
        key = Entry(count.span, count)
        stated.append(MappingNode(stage.span, {**stage.entries, "repeats": key}))
    entries = dict(_without(document, "repeats").entries)
    entries["stages"] = Entry(stages.key, SequenceNode(items.span, tuple(stated)))
    return MappingNode(document.span, entries)


def _without(node: MappingNode, *names: str) -> MappingNode:
    return MappingNode(
        node.span, {key: entry for key, entry in node.entries.items() if key not in names}
    )
