"""Gives a folder for what is needed meanwhile, and clears away those that killed processes left.

Each holds a marker file, locked while its process lives, and beside it the folder that is given:
a folder without the marker is nobody's business here, whatever it is called.
"""

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from resnetgen.locks import held, unless_held

_PREFIX = "resnetgen-scratch-"
_NAME = re.compile(rf"{_PREFIX}[0-9a-f]{{8}}-\w{{8}}")
_MARKER = ".resnetgen-lock"


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A new folder, which goes at the end; those that killed processes left go first."""
    for other in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _NAME.fullmatch(other.name):
            with suppress(OSError):
                _clear(other)
    while True:
        outer = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{secrets.token_hex(4)}-"))
        marker = outer / _MARKER
        try:
            # Another process may find it empty, and remove it.
            with suppress(FileNotFoundError):
                marker.touch()
            with held(marker) as is_there:
                if is_there:
                    with tempfile.TemporaryDirectory(dir=outer, ignore_cleanup_errors=True) as made:
                        yield Path(made).resolve()
                    return
        finally:
            # What a process that is being ended still writes there stays for the next run.
            with suppress(OSError):
                _remove(outer, marker)


def _clear(outer: Path) -> None:
    """Removes a folder that has the marker and that nobody holds; other users' are left alone."""
    if outer.is_symlink() or not outer.is_dir() or outer.stat().st_uid != os.getuid():
        return
    marker = outer / _MARKER
    if marker.exists():
        unless_held(marker, lambda: _remove(outer, marker))
    else:
        # Whoever was killed right before the marker came, or behind it, left nothing else.
        outer.rmdir()


def _remove(outer: Path, marker: Path) -> None:
    """The marker last, so that what is left of this is found again."""
    for path in outer.iterdir():
        if path != marker:
            shutil.rmtree(path)
    marker.unlink(missing_ok=True)
    outer.rmdir()
