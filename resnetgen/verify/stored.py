"""Reads `model.safetensors` as it lies there, and makes copies that differ in tensor data only."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op
from resnetgen.ir.rules import network_parameters, parameters
from resnetgen.verify.dtypes import Dtype
from resnetgen.verify.reference import Array, Tensors
from resnetgen.verify.rounding import rounded
from resnetgen.weights.layout import WEIGHTS_FILE, Entry
from resnetgen.weights.safetensors import COUNTER, NoTableError, SafetensorsError, Slot, slots


class StoredError(Exception):
    """The weights file is not one of this network; the message says where it differs."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A weights file, mapped into memory, and where its tensors lie, by name."""

    path: Path
    entries: Mapping[str, Entry]
    data: NDArray[np.uint8]
    narrow: Dtype | None = None
    """The type that tensors are rounded to, as whoever computes in it has to."""

    def tensors(self, op: Op) -> Tensors:
        """The op's own tensors in float64."""
        return {parameter.kind: self._double(parameter.name) for parameter in parameters(op)}

    def copy(self, path: Path, *, tensors: Mapping[str, NDArray[np.float32]]) -> "Stored":
        """Copies the file to `path` and overwrites the data of these tensors."""
        shutil.copyfile(self.path, path)
        with path.open("r+b") as file:
            for name, tensor in tensors.items():
                file.seek(self.entries[name].offset)
                file.write(np.ascontiguousarray(tensor, dtype="<f4").data)
        return Stored(path, self.entries, _map(path))

    def refuse_not_finite(self) -> None:
        """Raises StoredError for the first tensor, in the file's order, with NaN or infinity."""
        for name in self.entries:
            if not np.isfinite(self._read(name)).all():
                raise StoredError(f"{self.path.name}: {name} is not finite")

    def _double(self, name: str) -> Array:
        single = self._read(name)
        return single.astype(np.float64) if self.narrow is None else rounded(single, self.narrow)

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
    return Stored(path, entries, data)


def _entries(path: Path) -> list[Entry]:
    if not path.is_file():
        raise StoredError(f"{path.name} is not a file")
    try:
        return [_entry(slot) for slot in slots(path) if not slot.name.endswith(COUNTER)]
    except NoTableError as error:
        raise StoredError(f"{path.name} {error}") from None
    except SafetensorsError as error:
        raise StoredError(f"{path.name}: {error}") from None


def _entry(slot: Slot) -> Entry:
    if slot.dtype != "F32":
        raise StoredError(f"{WEIGHTS_FILE}: {slot.name} has type {slot.dtype}, not F32")
    return Entry(slot.name, slot.shape, slot.offset, slot.length)


def _map(path: Path) -> NDArray[np.uint8]:
    """The file's bytes, read when they are looked at; a plain array, for slices of it are cheap."""
    return np.asarray(np.memmap(path, np.uint8, "r"))
