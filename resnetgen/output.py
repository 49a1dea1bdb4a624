"""Decides what a build of one spec puts into its directory: files, weights, and its source."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resnetgen.emit import emit, targets
from resnetgen.emit.manifest import Manifest, read
from resnetgen.emit.write import Contents, Weights
from resnetgen.ir.network import Network
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import bundled
from resnetgen.spec.model import ModelSpec

_BUNDLED = "bundled:"


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
    compiled: Compiled, directory: Path, *, names: Sequence[str], seed: int | None
) -> Contents:
    """The files of the targets `names` and, with a seed, the weights drawn from it."""
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
        weights=None if seed is None else _weights(network, seed),
    )


def reference(directory: Path, source: str) -> str:
    """What to load for the source that the manifest of `directory` records."""
    if source.startswith(_BUNDLED):
        return source.removeprefix(_BUNDLED)
    return os.path.normpath(directory / source)


def listed_targets(manifest: Manifest) -> tuple[str, ...]:
    """The targets whose files a directory has."""
    return tuple(name for name, target in targets().items() if target.source in manifest.files)


def _source(path: Path, directory: Path) -> str:
    """What the manifest records: the same wherever specs and output lie, if they lie alike."""
    resolved = path.resolve()
    for name, bundled_path in bundled().items():
        if bundled_path.resolve() == resolved:
            return f"{_BUNDLED}{name}"
    return Path(os.path.relpath(resolved, directory.resolve())).as_posix()


def _weights(network: Network, seed: int) -> Weights:
    # NumPy takes longer to import than a build without weights does to run.
    from resnetgen.weights.file import write
    from resnetgen.weights.initial import initial
    from resnetgen.weights.layout import layout

    def write_to(path: Path) -> str:
        return write(path, layout(network), tensors=initial(network, seed=seed))

    return Weights(seed, write_to)
