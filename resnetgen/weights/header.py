"""Reads the names and shapes of a checkpoint's tensors, and none of their values."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span
from resnetgen.ir.rules import Shape

_SUFFIX = ".safetensors"


def names_and_shapes(path: Path) -> dict[str, Shape]:
    """All tensors in the order of their names; raises DiagnosticError where there are none."""
    if not path.exists():
        raise _error(path, "missing-file", "the file does not exist")
    # Asked before opening: to open a pipe or a device may wait for ever.
    if not path.is_file():
        raise _error(path, "not-a-file", "this is no file")
    if path.suffix != _SUFFIX:
        raise _error(path, "unknown-format", "the format is not known by the name")
    try:
        # safetensors has no types of its own.
        opened: Any = safe_open(path, framework="numpy")
        with opened as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    except (OSError, SafetensorError) as error:
        raise _error(path, "unreadable", f"the file cannot be read: {error}") from None


def _error(path: Path, code: str, message: str) -> DiagnosticError:
    place = Span.of_file(str(path))
    return DiagnosticError([Diagnostic(code, message, place, expected=f"a {_SUFFIX} file")])
