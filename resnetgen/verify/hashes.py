"""Takes the hashes of a directory's files, which say what bytes a verdict is about."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from resnetgen.digests import sha256_of


def hashes(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256, in hex, of each of these files that is there and can be read."""
    found: dict[str, str] = {}
    for name in sorted(set(names)):
        path = directory / name
        with suppress(OSError):
            if path.is_file():
                found[name] = sha256_of(path)
    return found
