# pyright: basic
# Strict checking cannot follow ONNX's protobuf classes, which are made at run time.
"""Reads an ONNX model's initializers, with data that lie in other files of its own folder."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.child.task import Refused


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the floating-point initializers of `file` in the safetensors file `tensors`."""
    from onnx import TensorProto, numpy_helper

    path = Path(arguments["file"])
    graph = _graph(path, batch_norm=arguments["batch_norm"] == "yes")
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    found = {}
    for tensor in graph.initializer:
        if tensor.data_type not in floats:
            continue
        if tensor.data_location == TensorProto.EXTERNAL:
            _embed(tensor, path.parent)
        try:
            values = numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise Refused(f"is damaged: {tensor.name}: {error}") from error
        found[tensor.name] = np.ascontiguousarray(values)
    # Exporters keep one of several equal tensors, and copy it under the names of the others.
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    for name in _constants(graph):
        found.pop(name, None)
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
    """What instance norms take that stand for group norms: ones and zeros, and no weights."""
    norms = [node for node in graph.node if node.op_type == "InstanceNormalization"]
    return {name for node in norms for name in node.input[1:]}


def _embed(tensor, folder: Path) -> None:
    """Takes the tensor's data from the file that it names, which must lie in the same folder."""
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    path = (folder / location).resolve()
    if not location or not path.is_relative_to(folder.resolve()):
        raise Refused(f"leads out of its folder: the data of {tensor.name} lie in `{location}`")
    try:
        size = path.stat().st_size
        offset = int(facts.get("offset", 0))
        length = int(facts.get("length", size - offset))
        if min(offset, length) < 0 or offset + length > size:
            raise Refused(f"is damaged: the data of {tensor.name} lie outside `{location}`")
        with path.open("rb") as file:
            file.seek(offset)
            tensor.raw_data = file.read(length)
    except OSError as error:
        reason = f"needs `{location}` for the data of {tensor.name}"
        raise Refused(f"{reason}: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"is damaged: {tensor.name}: {error}") from error
    del tensor.external_data[:]
    tensor.data_location = 0
