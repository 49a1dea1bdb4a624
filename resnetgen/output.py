"""Decides what a build of one spec puts into its directory: files, weights, and its source."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resnetgen.diagnostics import Diagnostic, DiagnosticError, quote
from resnetgen.digests import sha256_of
from resnetgen.emit import emit, targets
from resnetgen.emit.card import FILE as CARD_FILE
from resnetgen.emit.manifest import CheckpointRecord, Manifest, read
from resnetgen.emit.write import Contents, Plan, Weights
from resnetgen.ir.network import Network
from resnetgen.records import SPEC
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import BUNDLED, bundled
from resnetgen.spec.model import ModelSpec

# It imports NumPy, which not every command needs.
if TYPE_CHECKING:
    from resnetgen.weights.load import LoadedWeights


@dataclass(frozen=True, slots=True)
class Compiled:
    """A spec, where it came from, and the network it describes."""

    spec: ModelSpec
    network: Network
    source: str
    """`bundled:NAME`, or the path as it was given."""
    path: Path
    overrides: tuple[str, ...]


def contents(
    compiled: Compiled, directory: Path, *, names: Sequence[str], weights: Weights | None
) -> Contents:
    """The files of the targets `names` and, where they are given, the weights."""
    network = compiled.network
    spec_yaml = to_yaml(compiled.spec)
    # The model card also speaks of the targets that stay from an earlier build of this spec.
    old = read(directory)
    stay = listed_targets(old) if old and old.spec_sha256 == network.spec_sha256 else ()
    described = [name for name in targets() if name in names or name in stay]
    files = emit(network, names=names, spec_yaml=spec_yaml, described=described)
    return Contents(
        spec_sha256=network.spec_sha256,
        source=_source(compiled.path, directory),
        overrides=compiled.overrides,
        files=files,
        weights=weights,
    )


def displaced(plan: Plan) -> Iterator[str]:
    """What to say where another spec, and not another state of the same, had the name before, and
    of its files that go without others in their place."""
    old = plan.old
    if old is None or plan.is_same_spec:
        return
    if old.source != plan.contents.source:
        before = quote(reference(plan.directory, old.source))
        yield f"{plan.directory}: replaces what was built from {before}"
    gone = [name for name in old.listed if name in plan.present and name not in plan.contents.names]
    if gone:
        yield f"{plan.directory}: removes what was built of another spec: {', '.join(gone)}"


def drawn(network: Network, seed: int) -> Weights:
    """Weights that are initialized from a seed."""
    # NumPy takes longer to import than a build without weights does to run.
    from resnetgen.weights.file import write
    from resnetgen.weights.initial import initial
    from resnetgen.weights.layout import layout

    def write_to(path: Path) -> str:
        return write(path, layout(network), tensors=initial(network, seed=seed))

    return Weights(seed, write_to)


def read_from(path: Path, loaded: "LoadedWeights") -> Weights:
    """Weights that were found in the file at `path`."""
    from resnetgen.weights.file import write
    from resnetgen.weights.layout import layout

    def write_to(target: Path) -> str:
        return write(target, layout(loaded.network), tensors=loaded.tensors())

    origin = CheckpointRecord(path.name, sha256_of(path), loaded.format, loaded.fresh_seed)
    return Weights(origin, write_to)


def reference(directory: Path, source: str) -> str:
    """What to load for the source that the manifest of `directory` records."""
    if source.startswith(BUNDLED):
        return source.removeprefix(BUNDLED)
    return os.path.normpath(directory / source)


def listed_targets(manifest: Manifest) -> tuple[str, ...]:
    """The targets whose files a directory has.

    One that cannot be loaded is passed over, unless a file is left that may well be its own.
    """
    sources: dict[str, str] = {}
    broken: list[Diagnostic] = []
    for name in targets():
        try:
            source = targets()[name].source
        except DiagnosticError as error:
            broken += error.diagnostics
        else:
            if source in manifest.files:
                sources[name] = source
    if broken and not _explained(manifest, sources.values()):
        raise DiagnosticError(broken)
    return tuple(sources)


def _explained(manifest: Manifest, sources: Iterable[str]) -> bool:
    """Whether every file is of the spec or named like a source, as `model.onnx` is."""
    known = {Path(name).stem for name in (SPEC, CARD_FILE, *sources)}
    return {Path(name).stem for name in manifest.files} <= known


def _source(path: Path, directory: Path) -> str:
    """What the manifest records: the same wherever specs and output lie, if they lie alike."""
    resolved = path.resolve()
    for name, bundled_path in bundled().items():
        if bundled_path.resolve() == resolved:
            return f"{BUNDLED}{name}"
    return Path(os.path.relpath(resolved, os.path.realpath(directory))).as_posix()
