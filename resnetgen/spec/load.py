"""Loads a spec: a file or a bundled name, what it extends, overrides; a ModelSpec out.

The passes in order: each takes what the one before gave, and reports all that it finds at once.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

from resnetgen.diagnostics import DiagnosticError, Span, did_you_mean, quote
from resnetgen.resources import specs_directory
from resnetgen.spec import idle
from resnetgen.spec.file import REFERENCE, SUFFIXES, read
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.nodes import MappingNode, Node, ScalarNode, describe
from resnetgen.spec.overlay import Repeats, overlay, repeats_of, spread_repeats
from resnetgen.spec.overrides import keys, override
from resnetgen.spec.problems import refuse
from resnetgen.spec.source import parse

BUNDLED = "bundled:"
"""What stands before a bundled spec's name, where a spec's source is told or recorded."""
_STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/")
"""Where shells put what comes from a pipe."""


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec and where it came from; `source` is `bundled:NAME`, or the path as it was given.

    `document` is what the spec was resolved from, to say where a later pass finds a mistake.
    """

    spec: ModelSpec
    source: str
    path: Path
    document: MappingNode

    @property
    def is_bundled(self) -> bool:
        return self.source.startswith(BUNDLED)


@dataclass(frozen=True, slots=True)
class _Place:
    """A file of the chain: `shown` is its name in messages."""

    path: Path
    shown: str


def load(reference: str, *, overrides: Sequence[str] = ()) -> LoadedSpec:
    """The spec at a path or of a bundled name; raises DiagnosticError."""
    place, source = _find(reference)
    first, *layers = reversed(_chain(place))
    *_, whole = documents = list(accumulate(layers, overlay, initial=spread_repeats(first)))
    merged = override(whole, overrides)
    # A depth that is stated later has replaced them in what is merged.
    replaced = next((found for each in reversed(documents) if (found := repeats_of(each))), None)
    spec = meaning(merged, replaced=replaced)
    refuse(merged, idle.problems(spec, merged, file=place.shown, overridden=keys(overrides)))
    return LoadedSpec(spec, source, place.path, merged)


def meaning(document: MappingNode, *, replaced: Repeats | None = None) -> ModelSpec:
    """The spec that a whole document means; raises DiagnosticError.

    `replaced` are repeats in whose place it states a depth, if it does.
    """
    # Imported here because Pydantic takes longer than all else that start-up needs.
    from resnetgen.spec import canonical, limits, regnet, rules
    from resnetgen.spec.validate import validate

    checked = validate(document)
    refuse(document, regnet.problems(checked))
    checked = regnet.with_stages(checked)
    refuse(document, rules.problems(checked, replaced))
    spec = canonical.resolve(checked)
    refuse(document, limits.problems(spec))
    return spec


@cache
def bundled() -> Mapping[str, Path]:
    """The specs that ship with resnetgen, by name."""
    files = sorted(specs_directory().rglob("*.yaml"))
    return {file.stem: file for file in files}


def shipped_as(path: Path) -> str:
    """A bundled spec's file as seen from the folder of them all, such as `timm/resnet10t.yaml`."""
    return path.relative_to(specs_directory()).as_posix()


def _find(reference: str) -> tuple[_Place, str]:
    is_file = os.path.isfile(reference)
    if not is_file and (reference == "-" or reference.startswith(_STREAMS)):
        message = f"{quote(reference)} is no spec: what comes from a pipe is not read"
        expected = "a bundled name, as `resnetgen specs` lists them, or the path of a regular file"
        hint = "write it to a file, and name that"
        raise DiagnosticError.of("not-a-file", message, hint=hint, expected=expected)
    if is_file or _is_path(reference) or (os.path.isdir(reference) and reference not in bundled()):
        return _Place(Path(reference), reference), reference
    found = _bundled_place(reference, folder=Path(), asked_at=None)
    return found, f"{BUNDLED}{reference}"


def _is_path(reference: str) -> bool:
    return reference.endswith(SUFFIXES) or "/" in reference or os.sep in reference


def _bundled_place(name: str, *, folder: Path, asked_at: Span | None) -> _Place:
    """A bundled spec; one that is not may be a file in the folder that was meant."""
    files = bundled()
    if name in files:
        return _Place(files[name], _relative(files[name]))
    beside = [name + suffix for suffix in SUFFIXES if os.path.isfile(folder / (name + suffix))]
    raise DiagnosticError.of(
        "unknown-spec",
        f"there is no bundled spec {quote(name)}",
        asked_at,
        f"did you mean {quote(beside[0])}?" if beside else did_you_mean(name, files),
        expected="a bundled name, as `resnetgen specs` lists them, or the path of a YAML file",
    )


def _bundled_instead(path: Path) -> str | None:
    """A hint on a file that is not there but ships with resnetgen."""
    if os.path.lexists(path) or path.suffix not in SUFFIXES or path.stem not in bundled():
        return None
    return f"did you mean the bundled spec {quote(path.stem)}?"


def _relative(path: Path) -> str:
    """A bundled file as seen from here, if it is below here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _chain(place: _Place) -> list[MappingNode]:
    """The document at `place`, the one that it extends, and so on.

    They come without their `extends`, and those that are extended without their names.
    """
    documents: list[MappingNode] = []
    visited: dict[str, str] = {}
    asked_at: Span | None = None
    while True:
        instead = _bundled_instead(place.path)
        text = read(place.path, shown=place.shown, asked_at=asked_at, instead=instead)
        visited[os.path.realpath(place.path)] = place.shown
        document = parse(text, file=place.shown)
        entries = dict(document.entries)
        extends = entries.pop("extends", None)
        if documents:
            # Each network has a name of its own: two that differ must not share a directory.
            entries.pop("name", None)
        documents.append(MappingNode(document.span, entries))
        if extends is None:
            return documents
        asked_at = extends.value.span
        place = _extended(place, extends.value)
        if os.path.realpath(place.path) in visited:
            chain = " -> ".join([*visited.values(), place.shown])
            raise DiagnosticError.of(
                "circular-extends", f"`extends` goes round in a circle: {chain}", asked_at
            )


def _extended(place: _Place, node: Node) -> _Place:
    """The place that `extends` names in the document at `place`."""
    reference = node.value if isinstance(node, ScalarNode) else None
    if not isinstance(reference, str):
        raise DiagnosticError.of(
            "bad-value", f"`extends` is {describe(node)}", node.span, expected=REFERENCE
        )
    if not _is_path(reference):
        return _bundled_place(reference, folder=place.path.parent, asked_at=node.span)
    folder = place.path.parent
    path = folder / reference
    if "\0" in reference:
        raise DiagnosticError.of(
            "unreadable", f"{quote(reference)} is no path", node.span, expected=REFERENCE
        )
    # Unlike Path.resolve, it gives a loop of links an answer; reading then says what it is.
    inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    if not inside or ".." in Path(reference).parts or Path(reference).is_absolute():
        message = f"{quote(reference)} leads out of the folder of {quote(place.shown)}"
        raise DiagnosticError.of("outside-folder", message, node.span, expected=REFERENCE)
    return _Place(path, os.path.normpath(os.path.join(os.path.dirname(place.shown), reference)))
