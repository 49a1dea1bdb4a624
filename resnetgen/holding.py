"""Tells what a running process needs from what a killed one left: by locks, which end with it."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "resnetgen-scratch-"
"""Long enough for nobody else to call a folder so: what has this name is removed."""


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A new folder for what is needed meanwhile; those that killed processes left are removed."""
    parent = Path(tempfile.gettempdir())
    for other in parent.glob(f"{_PREFIX}{'?' * 8}"):
        with suppress(OSError):
            _remove_scratch(other)
    while True:
        with (
            tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
            held(Path(name)) as is_there,
        ):
            if is_there:
                yield Path(name).resolve()
                return


@contextmanager
def held(path: Path) -> Generator[bool]:
    """Keeps others from taking the new file or folder for abandoned.

    Gives False if one of them did before it was held.
    """
    if sys.platform == "win32":
        yield True
        return
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        # Some network filesystems have no locks; there nothing is ever found to be abandoned.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path.exists()
    finally:
        os.close(descriptor)


def remove_if_abandoned(path: Path, remove: Callable[[Path], object]) -> None:
    """Removes the file or folder unless a process holds it; raises OSError."""
    if sys.platform == "win32":
        return
    import fcntl

    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(path)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)


def _remove_scratch(path: Path) -> None:
    """Removes a folder that nobody holds; other users' are left alone."""
    if (
        sys.platform == "win32"
        or path.is_symlink()
        or not path.is_dir()
        or path.stat().st_uid != os.getuid()
    ):
        return
    remove_if_abandoned(path, lambda folder: shutil.rmtree(folder, ignore_errors=True))
