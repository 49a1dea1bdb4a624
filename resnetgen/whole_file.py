"""Replaces single files whole or not at all, and says which file the system refused."""

import errno
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from resnetgen.diagnostics import DiagnosticError, Span
from resnetgen.locks import held, unless_held


@contextmanager
def told(subject: Path, what: Literal["read", "written"] = "written") -> Generator[None]:
    """Turns the system's refusals into a diagnostic on `subject`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        message, place = f"cannot be {what}: {reason}", Span.of_file(str(subject))
        raise DiagnosticError.of(f"not-{what}", message, place) from error


@contextmanager
def replaced(path: Path, *, is_new: bool = False) -> Generator[Path]:
    """A file to write beside `path`, which takes its place at the end, or goes on an error.

    With `is_new` there must still be nothing there by then. What a process that was killed left
    beside it is removed. The system's refusals become a diagnostic on `path`.
    """
    with told(path):
        remove_remains(path)
        with _temporary(path) as temporary:
            try:
                yield temporary
                if is_new and os.path.lexists(path):
                    raise FileExistsError(errno.EEXIST, "another file has appeared there")
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)


def remove_remains(path: Path) -> None:
    """Removes what processes that were killed left of `path`: they hold no lock any more."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.resnetgen-[0-9a-f]{{8}}")
    with suppress(OSError):
        for other in path.parent.iterdir():
            if pattern.fullmatch(other.name) and other.is_file() and not other.is_symlink():
                unless_held(other, other.unlink)


@contextmanager
def _temporary(path: Path) -> Generator[Path]:
    """A new, empty file beside `path` that nobody takes for the remains of a process."""
    while True:
        temporary = path.with_name(f".{path.name}.resnetgen-{secrets.token_hex(4)}")
        temporary.touch(exist_ok=False)
        with held(temporary) as is_there:
            if is_there:
                yield temporary
                return
