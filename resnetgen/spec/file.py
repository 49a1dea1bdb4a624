"""Reads a spec's text; whatever keeps a file from being text becomes a diagnostic."""

import os
import stat
from pathlib import Path

from resnetgen.diagnostics import DiagnosticError, Span, quote

SUFFIXES = (".yaml", ".yml")
"""What names of specs' files end with."""
REFERENCE = "a bundled name, or the path of a file in the same folder or below"
"""What `extends` takes."""
LARGEST_FILE = 1_000_000
"""Bytes; a spec of the 1202-layer network has 500."""


def read(
    path: Path, *, shown: str, asked_at: Span | None = None, instead: str | None = None
) -> str:
    """The text of `path`, called `shown` in messages; `asked_at` is the `extends` that names it.

    `instead` is the hint where there is no such file.
    """
    where = asked_at or Span.of_file(shown)
    subject = quote(shown) if asked_at else "the file"
    try:
        mode = path.stat().st_mode
        # Asked before opening: to open a pipe or a device may wait for ever.
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            hint = _name_in(path, shown) if kind == "a directory" and not asked_at else None
            message, expected = f"{subject} is {kind}", "a YAML file"
            raise DiagnosticError.of("not-a-file", message, where, expected=expected, hint=hint)
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise DiagnosticError.of(
            "missing-file", f"{subject} does not exist", where, hint=instead
        ) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise DiagnosticError.of(
            "unreadable", f"{subject} cannot be read: {reason}", where
        ) from None
    except ValueError:
        # Python's own words for this differ between its versions.
        message = f"{subject} cannot be read: its name contains a null byte"
        raise DiagnosticError.of("unreadable", message, where) from None
    if len(data) > LARGEST_FILE:
        message = f"{subject} is larger than {LARGEST_FILE:,} bytes"
        raise DiagnosticError.of("too-large", message, where, expected="a spec of a few lines")
    return _decode(data, shown)


def _decode(data: bytes, shown: str) -> str:
    where = Span.of_file(shown)
    if b"\0" in data:
        offset = data.index(b"\0")
        message = f"the file is not text: byte {offset:,} is zero"
        raise DiagnosticError.of("not-text", message, where, expected="YAML in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the file is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}"
        raise DiagnosticError.of("not-text", message, where, expected="YAML in UTF-8") from None


def _name_in(folder: Path, shown: str) -> str | None:
    """A hint with the first of the specs in the folder."""
    try:
        names = [path.name for path in folder.iterdir() if path.suffix in SUFFIXES]
    except OSError:
        return None
    return f"name a file in it, as in {quote(os.path.join(shown, min(names)))}" if names else None
