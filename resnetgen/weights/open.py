"""Opens a weights file of any kind that is known: tensors out, or a diagnostic that says why not.

Files whose format brings a library of its own are read in a process of their own, which leaves
the tensors as a safetensors file in a scratch folder.
"""

import os
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetgen.child.framework import missing
from resnetgen.child.task import Task, perform
from resnetgen.diagnostics import DiagnosticError, Span, printable, quote
from resnetgen.scratch import scratch_folder
from resnetgen.weights.archives import DAMAGES
from resnetgen.weights.checkpoint import NUMPY_TYPES, Checkpoint, Tensor
from resnetgen.weights.safetensors import COUNTER, NoTableError, SafetensorsError, slots

_TIMEOUT = 600.0
_MOST_UNPACKED = 100
"""How many times its own size an archive may unpack to; weights shrink by a tenth at best."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """A module with a `main` that reads such files, and what it needs to be installed."""

    module: str
    requires: Mapping[str, str]


_TORCH = _Reader("resnetgen.weights.readers.torch", {"torch": "torch"})
_HDF5 = _Reader("resnetgen.weights.readers.hdf5", {"h5py": "tensorflow"})
_FLAX = _Reader("resnetgen.weights.readers.flax", {"flax": "jax"})
_ONNX = _Reader("resnetgen.weights.readers.onnx", {})
_SAFETENSORS = ".safetensors"
_READERS: Mapping[str, _Reader] = {
    ".pth": _TORCH,
    ".pt": _TORCH,
    ".bin": _TORCH,
    ".th": _TORCH,
    ".pyth": _TORCH,
    ".ckpt": _TORCH,
    ".tar": _TORCH,
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".keras": _HDF5,
    ".msgpack": _FLAX,
    ".onnx": _ONNX,
}
SUFFIXES = (_SAFETENSORS, *_READERS)
"""The endings of the names of files that can be read."""


@contextmanager
def opened(path: Path, *, batch_norm: bool, key: str | None = None) -> Generator[Checkpoint]:
    """The file's tensors, which can be read within; raises a DiagnosticError.

    `key` is that of the mapping to read, where a file holds several. `batch_norm` says whether the
    network has any, so that a graph without them lacks something.
    """
    _refuse_what_is_no_file(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        kind = f"has the unknown ending {quote(path.suffix)}" if suffix else "has no ending"
        expected = f"a weights file: {', '.join(SUFFIXES)}"
        raise _error("unknown-weights", path, kind, expected=expected)
    reader = _READERS.get(suffix)
    if key is not None and reader is not _TORCH:
        message = "holds one set of weights, and --key names one of several"
        raise _error("no-keys", path, message, hint="leave it out")
    if reader is None:
        yield Checkpoint(str(path), _tensors(path, file=path), ())
        return
    _refuse_zip_bomb(path)
    if (lacking := missing(reader.requires)) is not None:
        reason, _, hint = lacking.partition(": ")
        raise _error("no-reader", path, f"cannot be read: {reason}", hint=hint)
    with scratch_folder() as folder:
        yield _read(reader, path, folder, batch_norm=batch_norm, key=key)


def _read(
    reader: _Reader, path: Path, scratch: Path, *, batch_norm: bool, key: str | None
) -> Checkpoint:
    """What the reader's process leaves in the scratch folder."""
    found = scratch / "tensors.safetensors"
    arguments = {"file": os.path.abspath(path), "tensors": str(found)}
    arguments["batch_norm"] = "yes" if batch_norm else "no"
    if key is not None:
        arguments["key"] = key
    outcome = perform(Task(reader.module, arguments, {}), scratch, timeout=_TIMEOUT)
    match outcome.state:
        case "done":
            remarks = tuple(map(printable, outcome.answer["remarks"].splitlines()))
            return Checkpoint(str(path), _tensors(found, file=path), remarks)
        case "refused":
            reason, _, hint = outcome.reason.partition("\n")
            raise _error("bad-weights", path, printable(reason), hint=printable(hint) or None)
        case "exhausted":
            raise _error("exhausted", path, f"has not been read: {printable(outcome.reason)}")
        case "unavailable" | "failed":
            raise _error("bad-weights", path, f"cannot be read: {printable(outcome.reason)}")


def _tensors(path: Path, *, file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, mapped into memory; what is wrong is said of `file`."""
    try:
        table = slots(path)
        data = np.asarray(np.memmap(path, np.uint8, "r"))
    except (NoTableError, SafetensorsError) as error:
        raise _error("bad-weights", file, printable(str(error))) from None
    except OSError as error:
        raise _unreadable(file, error) from None
    found: dict[str, Tensor] = {}
    for slot in table:
        if slot.name.endswith(COUNTER):
            continue
        dtype = NUMPY_TYPES.get(slot.dtype)
        if dtype is None:
            reason = f"{quote(slot.name)} has the unknown type {quote(slot.dtype)}"
            raise _error("bad-weights", file, reason, expected=", ".join(NUMPY_TYPES))
        values = data[slot.offset : slot.offset + slot.length].view(dtype).reshape(slot.shape)
        found[slot.name] = Tensor(slot.dtype, values)
    return found


def _refuse_what_is_no_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise _error("bad-weights", path, "is a directory", expected="a weights file")
        if not path.exists():
            raise _error("missing-file", path, "does not exist")
        if not path.is_file():
            raise _error("bad-weights", path, "is not a regular file", expected="a weights file")
        if path.stat().st_size == 0:
            raise _error("bad-weights", path, "is empty", expected="a weights file")
        with path.open("rb"):
            pass
    except OSError as error:
        raise _unreadable(path, error) from None


def _refuse_zip_bomb(path: Path) -> None:
    """PyTorch and Keras keep their files as archives that are not compressed."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except DAMAGES as error:
        raise _error("bad-weights", path, f"is a damaged archive: {error}") from None
    size = os.path.getsize(path)
    if unpacked > _MOST_UNPACKED * size:
        reason = f"is a zip bomb: its {size:,} bytes would become {unpacked:,}"
        raise _error("bad-weights", path, reason)


def _unreadable(path: Path, error: OSError) -> DiagnosticError:
    return _error("unreadable", path, f"cannot be read: {error.strerror or error}")


def _error(
    code: str, path: Path, message: str, *, hint: str | None = None, expected: str | None = None
) -> DiagnosticError:
    return DiagnosticError.of(code, message, Span.of_file(str(path)), hint, expected=expected)
