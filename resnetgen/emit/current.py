"""Compares a directory with what its spec compiles to now, and its weights with their record.

The certificate is left aside, and so are weights that are not there.
"""

import difflib
import os
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from resnetgen.digests import sha256_of
from resnetgen.emit.manifest import Manifest
from resnetgen.emit.write import Contents, manifest_of
from resnetgen.records import MANIFEST
from resnetgen.weights.layout import WEIGHTS_FILE
from resnetgen.whole_file import told

_SHOWN_LINES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is not what it should be, with the start of a unified diff if it is text.

    `reason` says of a file with which nothing could be compared what is wrong with it.
    """

    name: str
    state: Literal["missing", "differs", "edited", "obsolete"]
    diff: tuple[str, ...]
    reason: str | None = None


def compare(directory: Path, manifest: Manifest, contents: Contents) -> tuple[Finding, ...]:
    """What a build of `contents` would change in `directory`."""
    expected = manifest_of(contents, kept={}, weights=manifest.weights)
    # Who wrote the same files, and with which version, does not make them stale.
    text = replace(expected, version=manifest.version).to_json()
    wanted = {**contents.files, MANIFEST: text.encode()}
    found = [_compare_file(directory / name, content) for name, content in wanted.items()]
    obsolete = [
        Finding(name, "obsolete", ())
        for name in manifest.files
        if name not in wanted and os.path.lexists(directory / name)
    ]
    weights = _compare_weights(directory / WEIGHTS_FILE, manifest)
    return (*(finding for finding in (*found, weights) if finding is not None), *obsolete)


def _compare_weights(path: Path, manifest: Manifest) -> Finding | None:
    """Whether the weights are those that were written; Git keeps none, so they may be absent."""
    if manifest.weights is None or not path.is_file():
        return None
    with told(path, "read"):
        edited = sha256_of(path) != manifest.weights.sha256
    return Finding(path.name, "edited", ()) if edited else None


def _compare_file(path: Path, content: bytes) -> Finding | None:
    if not path.is_file():
        return Finding(path.name, "missing", ())
    with told(path, "read"):
        present = path.read_bytes()
    if present == content:
        return None
    return Finding(path.name, "differs", _diff(path, present, content))


def _diff(path: Path, present: bytes, content: bytes) -> tuple[str, ...]:
    try:
        before, after = present.decode().splitlines(), content.decode().splitlines()
    except UnicodeDecodeError:
        return ()
    lines = difflib.unified_diff(before, after, str(path), "compiled again", lineterm="", n=1)
    shown = tuple(islice(lines, _SHOWN_LINES + 1))
    if len(shown) <= _SHOWN_LINES:
        return shown
    return (*shown[:_SHOWN_LINES], "...")
