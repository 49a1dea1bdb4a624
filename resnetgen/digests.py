"""The SHA-256, in hex, of what is in memory or on disk."""

import hashlib
from pathlib import Path


def sha256(content: bytes) -> str:
    """That of a file's content."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """That of a file, which is read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
