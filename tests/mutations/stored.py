"""Faults of `model.safetensors` itself, as mutants.

Other values are none: the file says what they are, and all that read it agree. Nor are tensors that
lie elsewhere in it, but for a graph, which says by itself where they lie.
"""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from verification import TINY

from mutations.kind import TARGETS, Mutant, Target
from resnetgen.weights.layout import WEIGHTS_FILE

Table = dict[str, Any]
_TENSOR = "conv1.weight"


@dataclass(frozen=True, slots=True)
class _Fault:
    """A change of the file's bytes; `layer` and `cause` are what a mutant's are."""

    kind: str
    cause: str
    change: Callable[[bytes], bytes]
    layer: str | None = None
    targets: tuple[Target, ...] = TARGETS


def stored_mutants(target: Target) -> Iterator[Mutant]:
    """Those that a target suffers."""
    for fault in _FAULTS:
        if target in fault.targets:
            yield Mutant(
                fault.kind,
                target,
                TINY,
                fault.layer,
                fault.cause,
                "forward",
                fault.change,
                file=WEIGHTS_FILE,
            )


def _parts(content: bytes) -> tuple[Table, bytes, int]:
    """The header's table, the data behind it, and the header's length."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :], length


def _joined(table: Table, data: bytes, length: int) -> bytes:
    header = json.dumps(table, separators=(",", ":")).encode().ljust(length)
    assert len(header) == length, "the header has become longer"
    return struct.pack("<Q", length) + header + data


def _of_table(change: Callable[[Table], None]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        table, data, length = _parts(content)
        change(table)
        return _joined(table, data, length)

    return changed


def _not_finite(content: bytes) -> bytes:
    """One number's bytes, in the middle of a tensor's."""
    table, data, length = _parts(content)
    begin, end = table[_TENSOR]["data_offsets"]
    place = begin + (end - begin) // 8 * 4
    nan = np.float32(np.nan).tobytes()
    return _joined(table, data[:place] + nan + data[place + 4 :], length)


def _exchange(table: Table) -> None:
    first, second = (table[name] for name in ("bn1.weight", "bn1.bias"))
    first["data_offsets"], second["data_offsets"] = second["data_offsets"], first["data_offsets"]


def _rename(table: Table) -> None:
    table["conv1.kernel"] = table.pop(_TENSOR)


def _transpose(table: Table) -> None:
    table[_TENSOR]["shape"].reverse()


def _lengthened(content: bytes) -> bytes:
    table, data, length = _parts(content)
    return _joined(table, data, length + 64)


_FAULTS = (
    _Fault("stored-not-a-number", "conv1.weight is not finite", _not_finite),
    _Fault("stored-other-name", "has no conv1.weight", _of_table(_rename)),
    _Fault("stored-other-shape", "conv1.weight has shape", _of_table(_transpose)),
    _Fault("stored-truncated", "model.safetensors", lambda content: content[:-4]),
    _Fault(
        "stored-exchanged-offsets",
        "has offset",
        _of_table(_exchange),
        layer="bn1",
        targets=("onnx",),
    ),
    _Fault("stored-lengthened-header", "has offset", _lengthened, layer="conv1", targets=("onnx",)),
)
