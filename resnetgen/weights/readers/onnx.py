# pyright: basic
# Strict checking cannot follow ONNX's protobuf classes, which are made at run time.
"""Reads an ONNX model's initializers, with data that lie in other files of its own folder."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.child.task import Refused
from resnetgen.weights.readers.budget import Budget

_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Pow", "Sqrt")
_MOST_SHARED = 10
"""How many times the size of its files the tensors may be: several may have the same data."""


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the floating-point initializers of `file` in the safetensors file `tensors`."""
    from onnx import TensorProto, numpy_helper

    path = Path(arguments["file"])
    graph = _graph(path, batch_norm=arguments["batch_norm"] == "yes")
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    constants = _constants(graph)
    stored = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type in floats and tensor.name not in constants
    ]
    outside = [
        _Outside.of(each, path.parent)
        for each in stored
        if each.data_location == TensorProto.EXTERNAL
    ]
    sizes = {each.path: each.size for each in outside}
    budget = Budget(_MOST_SHARED * (path.stat().st_size + sum(sizes.values())))
    for each in outside:
        budget.spend(each.tensor.name, values=each.length, width=1)
    for each in outside:
        each.embed()
    found = {}
    for tensor in stored:
        if not isinstance(tensor.name, str):
            raise Refused(f"is damaged: a tensor has the name {tensor.name!r}")
        try:
            values = numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise Refused(f"is damaged: {tensor.name}: {error}") from error
        found[tensor.name] = np.ascontiguousarray(values)
    # Exporters keep one of several equal tensors, and copy it under the names of the others.
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in found:
            name, values = node.output[0], found[node.input[0]]
            budget.spend(name, values=values.size, width=values.itemsize)
            found[name] = values
    if not found:
        raise Refused("has no weights among its initializers")
    framework("safetensors.numpy").save_file(found, arguments["tensors"])
    return {"remarks": ""}


def _graph(path: Path, *, batch_norm: bool):
    from google.protobuf.message import DecodeError
    from onnx import load_model

    try:
        graph = load_model(path, load_external_data=False).graph
    except DecodeError as error:
        raise Refused("is no ONNX model: it cannot be parsed") from error
    if not graph.node:
        raise Refused("is no ONNX model: it has no nodes")
    kinds = {node.op_type for node in graph.node}
    if batch_norm and "Conv" in kinds and "BatchNormalization" not in kinds:
        hint = "export the model with training=TrainingMode.PRESERVE"
        raise Refused(f"has norms that its exporter folded into the convolutions\n{hint}")
    return graph


def _constants(graph) -> set[str]:
    """What is no weight: the ones and zeros of instance norms that stand for group norms, and
    the numbers of functions that are written out, as GELU is."""
    norms = [node for node in graph.node if node.op_type == "InstanceNormalization"]
    units = {name for node in norms for name in node.input[1:]}
    layers = [node for node in graph.node if node.op_type not in _ARITHMETIC]
    weights = {name for node in layers for name in node.input}
    numbers = {tensor.name for tensor in graph.initializer if math.prod(tensor.dims) == 1}
    return units | numbers - weights


@dataclass(frozen=True)
class _Outside:
    """Where a tensor's data lie outside the model's file."""

    tensor: Any
    path: Path
    size: int
    """That of the whole file."""
    offset: int
    length: int

    @classmethod
    def of(cls, tensor, folder: Path) -> "_Outside":
        """Finds the file that the tensor names, which must lie in the same folder."""
        facts = {entry.key: entry.value for entry in tensor.external_data}
        location = facts.get("location", "")
        path = (folder / location).resolve()
        if not location or not path.is_relative_to(folder.resolve()):
            raise Refused(f"leads out of its folder: the data of {tensor.name} lie in `{location}`")
        try:
            # Opened, for a file that may not be read has a size, too.
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
            offset = int(facts.get("offset", 0))
            length = int(facts.get("length", size - offset))
        except OSError as error:
            reason = f"needs `{location}` for the data of {tensor.name}"
            raise Refused(f"{reason}: {error.strerror}") from error
        except ValueError as error:
            raise Refused(f"is damaged: {tensor.name}: {error}") from error
        if min(offset, length) < 0 or offset + length > size:
            raise Refused(f"is damaged: the data of {tensor.name} lie outside `{location}`")
        return cls(tensor, path, size, offset, length)

    def embed(self) -> None:
        """Takes the data into the tensor."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            self.tensor.raw_data = file.read(self.length)
        del self.tensor.external_data[:]
        self.tensor.data_location = 0
