"""Takes the hashes of a directory's files, which say what bytes a verdict is about."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def hashes(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256, in hex, of each of these files that is there and can be read."""
    found: dict[str, str] = {}
    for name in sorted(set(names)):
        path = directory / name
        with suppress(OSError):
            if path.is_file():
                with path.open("rb") as file:
                    found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
