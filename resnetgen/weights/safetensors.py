"""Reads the table at the start of a safetensors file, and trusts none of it."""

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from resnetgen.ir.rules import Shape

_LONGEST_HEADER = 100_000_000
"""In bytes; the safetensors library reads no longer one."""
_MOST_AXES = 8
_MOST_VALUES = 2**40
"""What a shape may claim, extents of 0 aside; NumPy counts bytes in 63 bits, whatever is there."""
COUNTER = ".num_batches_tracked"
"""How the names of PyTorch's counters of training steps end: files that it saves have them, no
other framework does."""
_METADATA = "__metadata__"
SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2,
    "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""The format's types that have whole bytes, and how many."""


class SafetensorsError(Exception):
    """What is wrong with the table, in words that follow the file's name and a colon."""


class NoTableError(SafetensorsError):
    """There is no table, in words that follow the file's name."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor as the table has it; `offset` counts bytes from the start of the file."""

    name: str
    dtype: str
    shape: Shape
    offset: int
    length: int


def slots(path: Path) -> tuple[Slot, ...]:
    """All tensors of the file in the table's order; together they fill it behind the table.

    A little-endian length is followed by JSON, and that by the data. Raises SafetensorsError, and
    OSError where the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise NoTableError("is no safetensors file: it ends within its header")
        if length > _LONGEST_HEADER:
            raise NoTableError("is no safetensors file: its header is too long")
        document = file.read(length)
    try:
        table: Any = json.loads(document)
        found = tuple(
            _slot(name, facts, base=8 + length, size=size)
            for name, facts in table.items()
            if name != _METADATA
        )
    except RecursionError:
        raise NoTableError("is no safetensors file: its header is too deep") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NoTableError(f"is no safetensors file: {error}") from None
    _refuse_overlaps_and_gaps(found, start=8 + length, end=size)
    return found


def _slot(name: str, facts: Any, *, base: int, size: int) -> Slot:
    dtype = str(facts["dtype"])
    shape: Shape = tuple(_natural(extent) for extent in facts["shape"])
    if len(shape) > _MOST_AXES:
        raise SafetensorsError(f"{name} has {len(shape):,} axes, and {_MOST_AXES} are read")
    if math.prod(filter(None, shape)) > _MOST_VALUES:
        raise SafetensorsError(f"{name} has the shape {list(shape)}, which no weight has")
    begin, end = (_natural(position) for position in facts["data_offsets"])
    if not begin <= end or base + end > size:
        raise SafetensorsError(f"the data of {name} lies outside the file")
    if dtype in SIZES and end - begin != math.prod(shape) * SIZES[dtype]:
        raise SafetensorsError(f"{name} has {end - begin} bytes for {list(shape)}")
    return Slot(name, dtype, shape, base + begin, end - begin)


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no natural number")
    return value


def _refuse_overlaps_and_gaps(found: Iterable[Slot], *, start: int, end: int) -> None:
    ordered = sorted(found, key=lambda slot: (slot.offset, slot.length))
    for before, after in pairwise(ordered):
        if before.offset + before.length > after.offset:
            raise SafetensorsError(f"the data of {before.name} and {after.name} overlap")
    # Where nothing overlaps, there are gaps exactly where bytes are left over.
    unclaimed = end - start - sum(slot.length for slot in ordered)
    if unclaimed:
        raise SafetensorsError(f"{unclaimed:,} bytes of its data belong to no tensor")
