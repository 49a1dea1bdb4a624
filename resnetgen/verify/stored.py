"""Reads `model.safetensors` as it lies there, and makes copies that differ in tensor data only."""

import json
import math
import shutil
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op
from resnetgen.ir.rules import Shape, network_parameters, parameters
from resnetgen.verify.reference import Tensors
from resnetgen.weights.layout import BYTES_PER_VALUE, WEIGHTS_FILE, Entry

_COUNTER = ".num_batches_tracked"
"""PyTorch's counters of training steps: files that it saves have them, no other framework does."""
_LONGEST_HEADER = 100_000_000
"""In bytes; the safetensors library reads no longer one."""


class StoredError(Exception):
    """The weights file is not one of this network; the message says where it differs."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A weights file, mapped into memory, and where its tensors lie, by name."""

    path: Path
    entries: Mapping[str, Entry]
    data: NDArray[np.uint8]

    def tensors(self, op: Op) -> Tensors:
        """The op's own tensors in float64."""
        return {
            parameter.name.rpartition(".")[2]: self._read(parameter.name).astype(np.float64)
            for parameter in parameters(op)
        }

    def copy(self, path: Path, *, tensors: Mapping[str, NDArray[np.float32]]) -> "Stored":
        """Copies the file to `path` and overwrites the data of all its tensors."""
        shutil.copyfile(self.path, path)
        with path.open("r+b") as file:
            for entry in self.entries.values():
                file.seek(entry.offset)
                file.write(np.ascontiguousarray(tensors[entry.name], dtype="<f4").data)
        return Stored(path, self.entries, _map(path))

    def refuse_not_finite(self) -> None:
        """Raises StoredError for the first tensor, in the file's order, with NaN or infinity."""
        for name in self.entries:
            if not np.isfinite(self._read(name)).all():
                raise StoredError(f"{self.path.name}: {name} is not finite")

    def _read(self, name: str) -> NDArray[np.float32]:
        entry = self.entries[name]
        data = self.data[entry.offset : entry.offset + entry.length]
        return data.view("<f4").reshape(entry.shape)


def read(path: Path, network: Network) -> Stored:
    """The file's tensors, checked against the network: the same names, types and shapes."""
    expected = {parameter.name: parameter.shape for parameter in network_parameters(network)}
    try:
        entries = {entry.name: entry for entry in _entries(path)}
        data = _map(path)
    except OSError as error:
        raise StoredError(f"{path.name} cannot be read: {error.strerror or error}") from None
    for name, shape in expected.items():
        if name not in entries:
            raise StoredError(f"{path.name} has no {name}")
        if entries[name].shape != shape:
            raise StoredError(
                f"{path.name}: {name} has shape {list(entries[name].shape)}, not {list(shape)}"
            )
    for name in entries:
        if name not in expected:
            raise StoredError(f"{path.name}: {name} is no tensor of this network")
    _refuse_overlaps(entries.values())
    return Stored(path, entries, data)


def _entries(path: Path) -> list[Entry]:
    """The table at the file's start: a little-endian length, then JSON, then the data."""
    if not path.is_file():
        raise StoredError(f"{path.name} is not a file")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise StoredError(f"{path.name} is no safetensors file: it ends within its header")
        if length > _LONGEST_HEADER:
            raise StoredError(f"{path.name} is no safetensors file: its header is too long")
        document = file.read(length)
    try:
        table: Any = json.loads(document)
        return [
            _entry(name, facts, base=8 + length, size=size)
            for name, facts in table.items()
            if name != "__metadata__" and not name.endswith(_COUNTER)
        ]
    except RecursionError:
        raise StoredError(f"{path.name} is no safetensors file: its header is too deep") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoredError(f"{path.name} is no safetensors file: {error}") from None


def _entry(name: str, facts: Any, *, base: int, size: int) -> Entry:
    if facts["dtype"] != "F32":
        raise StoredError(f"{WEIGHTS_FILE}: {name} has type {facts['dtype']}, not F32")
    shape: Shape = tuple(_natural(extent) for extent in facts["shape"])
    begin, end = (_natural(position) for position in facts["data_offsets"])
    if not begin <= end or base + end > size:
        raise StoredError(f"{WEIGHTS_FILE}: the data of {name} lies outside the file")
    if end - begin != math.prod(shape) * BYTES_PER_VALUE:
        raise StoredError(f"{WEIGHTS_FILE}: {name} has {end - begin} bytes for {list(shape)}")
    return Entry(name, shape, base + begin, end - begin)


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no natural number")
    return value


def _refuse_overlaps(entries: Iterable[Entry]) -> None:
    for before, after in pairwise(sorted(entries, key=lambda entry: entry.offset)):
        if before.offset + before.length > after.offset:
            raise StoredError(f"{WEIGHTS_FILE}: the data of {before.name} and {after.name} overlap")


def _map(path: Path) -> NDArray[np.uint8]:
    """The file's bytes, read when they are looked at; a plain array, for slices of it are cheap."""
    return np.asarray(np.memmap(path, np.uint8, "r"))
