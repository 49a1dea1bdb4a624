"""Locks on files and folders: they end with the process, and so tell who lives."""

import errno
import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
"""What file systems say that have none, as some network file systems do, or none on folders."""


def lock(descriptor: int, *, waits: bool) -> Literal["ours", "another's", "none"]:
    """Locks an open file or folder until it is closed; says whose lock there is afterwards.

    `waits` until another process gives its own up. Raises OSError.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "another's"
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return "none"
        raise
    return "ours"


@contextmanager
def held(path: Path) -> Generator[bool]:
    """Keeps others from taking the new file for abandoned.

    Gives False if one of them did before it was held. Where there are no locks, nothing is ever
    found to be abandoned.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        lock(descriptor, waits=True)
        yield path.exists()
    finally:
        os.close(descriptor)


def unless_held(path: Path, remove: Callable[[], object]) -> None:
    """Has what belongs to the file removed if no process holds it; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if lock(descriptor, waits=False) == "ours":
            remove()
    finally:
        os.close(descriptor)
