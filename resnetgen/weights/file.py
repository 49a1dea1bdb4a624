"""Writes `model.safetensors` tensor by tensor, so that memory holds one of them at a time."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnetgen.weights.layout import Layout


def write(path: Path, layout: Layout, *, tensors: Iterable[NDArray[np.float32]]) -> str:
    """Writes `tensors`, which come in the layout's order; returns the file's SHA-256 in hex."""
    digest = hashlib.sha256(layout.header)
    with path.open("wb") as file:
        file.write(layout.header)
        for entry, tensor in zip(layout.entries, tensors, strict=True):
            assert tensor.dtype == np.float32, f"{entry.name}: {tensor.dtype}"
            assert tensor.shape == entry.shape, f"{entry.name}: {tensor.shape}"
            data = np.ascontiguousarray(tensor).astype("<f4", copy=False).data
            digest.update(data)
            file.write(data)
    return digest.hexdigest()
