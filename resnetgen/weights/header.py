"""Reads the names and shapes of a checkpoint's tensors, and none of their values."""

import os
import stat
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span
from resnetgen.ir.rules import Shape

_SUFFIX = ".safetensors"


def names_and_shapes(path: Path) -> dict[str, Shape]:
    """All tensors in the order of their names; raises DiagnosticError where there are none."""
    try:
        # Asked before opening: to open a pipe or a device may wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _error(path, "not-a-file", "this is no regular file")
        if path.suffix != _SUFFIX:
            raise _error(path, "unknown-format", "the name says nothing of a known format")
        # safetensors has no types of its own.
        opened: Any = safe_open(path, framework="numpy")
        with opened as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    except FileNotFoundError:
        raise _error(path, "missing-file", "the file does not exist") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise _error(path, "unreadable", f"the file cannot be read: {reason}") from None
    except SafetensorError as error:
        raise _error(path, "unreadable", f"the file cannot be read: {error}") from None


def _error(path: Path, code: str, message: str) -> DiagnosticError:
    place = Span.of_file(str(path))
    return DiagnosticError([Diagnostic(code, message, place, expected=f"a {_SUFFIX} file")])
