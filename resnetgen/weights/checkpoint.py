"""A weights file of whatever kind as it was found: its tensors by their names there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.rules import Shape

Single = NDArray[np.float32]

NUMPY_TYPES: Mapping[str, str] = {
    "F32": "<f4", "F16": "<f2", "F64": "<f8", "BF16": "<u2", "BOOL": "?",
    "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8",
}  # fmt: skip
"""What holds the values of safetensors' types; bfloat16's bits are those of an integer."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What wrappers of PyTorch's modules put before every name."""
_FLOATS = {"F32": "float32", "F16": "float16", "F64": "float64", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in the file's own layout; `dtype` is safetensors' word, and decides what `data`
    means."""

    dtype: str
    data: NDArray[Any]

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def floats(self) -> str | None:
        """What kind of floating-point numbers it holds, if any."""
        return _FLOATS.get(self.dtype)

    def single(self) -> Single:
        """Its values in float32; what lies beyond that type's range becomes infinite."""
        if self.dtype == "BF16":
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):
            return self.data.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All tensors of one file; `file` is how the user called it."""

    file: str
    tensors: Mapping[str, Tensor]
    remarks: tuple[str, ...]
    """What there is to say of how they were found."""

    @property
    def prefix(self) -> str:
        """What all names start with, of what wrappers put there."""
        prefix = ""
        while True:
            found = [p for p in _PREFIXES if all(n.startswith(prefix + p) for n in self.tensors)]
            if not found or not self.tensors:
                return prefix
            prefix += found[0]

    @property
    def shapes(self) -> dict[str, Shape]:
        """By the names behind the prefix."""
        prefix = self.prefix
        return {name.removeprefix(prefix): each.shape for name, each in self.tensors.items()}
