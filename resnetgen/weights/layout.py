"""Where each tensor lies in `model.safetensors`, computed from the network alone."""

import json
import struct
from dataclasses import dataclass

from resnetgen.ir.network import Network
from resnetgen.ir.rules import Shape, network_parameters

WEIGHTS_FILE = "model.safetensors"
"""The name of the weights file in a network's directory."""
BYTES_PER_VALUE = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """One float32 tensor; `offset` counts bytes from the start of the file."""

    name: str
    shape: Shape
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The file's first bytes and the tensors behind them, in order and without gaps."""

    header: bytes
    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """The whole file's size in bytes."""
        last = self.entries[-1]
        return last.offset + last.length


def layout(network: Network) -> Layout:
    """Lays out all parameters and running statistics by name, as safetensors' own writers do.

    So a file that they write with the same tensors has every one at the same place, and a graph
    that points there finds the new values.
    PyTorch's `num_batches_tracked` counters are left out: `load_state_dict` fills them in, and
    no other framework has them.
    """
    table: dict[str, object] = {}
    relative: list[tuple[str, Shape, int, int]] = []
    position = 0
    for parameter in sorted(network_parameters(network), key=lambda each: each.name):
        length = parameter.size * BYTES_PER_VALUE
        table[parameter.name] = {
            "dtype": "F32",
            "shape": parameter.shape,
            "data_offsets": (position, position + length),
        }
        relative.append((parameter.name, parameter.shape, position, length))
        position += length
    document = json.dumps(table, separators=(",", ":")).encode()
    # The safetensors format aligns the data to 8 bytes by padding its header with spaces.
    document += b" " * (-len(document) % 8)
    header = struct.pack("<Q", len(document)) + document
    entries = tuple(
        Entry(name, shape, len(header) + start, length) for name, shape, start, length in relative
    )
    return Layout(header, entries)
