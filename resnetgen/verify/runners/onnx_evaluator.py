"""Runs a graph in ONNX's own evaluator, with every float turned to another type."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.verify.runners.protocol import Dtype

ONNX_NAMES: dict[Dtype, str] = {
    "float64": "double",
    "float32": "float",
    "float16": "float16",
    "bfloat16": "bfloat16",
}
VARIANCE = 4
"""The position among a BatchNormalization's inputs."""
Session = Callable[[Any], dict[str, Any]]
"""Maps an image to the values of the watched graph's outputs, by the tensors' names."""


def reference_session(onnx: Any, model: Any, dtype: Dtype, *, folder: Path) -> Session:
    """ONNX's own evaluator in this type; the model, whose weights lie in the folder, is changed."""
    if dtype == "float64":
        _to_double(onnx, model, folder)
    else:
        _retype(onnx, model, dtype, folder)
    new_ops = [_erf(), _instance_norm()] if dtype == "float16" else [_erf()]
    evaluator = framework("onnx.reference").ReferenceEvaluator(model, new_ops=new_ops)
    (source,) = (each.name for each in model.graph.input)
    outputs = [each.name for each in model.graph.output]
    return lambda image: dict(zip(outputs, evaluator.run(outputs, {source: image}), strict=True))


def _erf() -> Any:
    """The error function as an op; the evaluator's own rounds its values to float32."""

    def run(_: Any, value: Any) -> tuple[Any]:
        return (np.vectorize(math.erf, otypes=[value.dtype])(value),)

    return type("Erf", (framework("onnx.reference.op_run").OpRun,), {"_run": run})


def _instance_norm() -> Any:
    """The evaluator's own op, given float32: it would add up squares beyond what float16 holds."""
    own = framework("onnx.reference.ops.op_instance_normalization").InstanceNormalization

    def run(self: Any, value: Any, scale: Any, bias: Any, epsilon: Any = None) -> tuple[Any]:
        (found,) = own._run(self, value.astype(np.float32), scale, bias, epsilon)
        return (found.astype(value.dtype),)

    return type("InstanceNormalization", (own,), {"_run": run})


def _retype(onnx: Any, model: Any, dtype: Dtype, folder: Path) -> None:
    """Gives every float tensor and declaration of the graph this type, in place; all tensors then
    lie in the graph."""
    graph = model.graph
    single = onnx.TensorProto.FLOAT
    wanted = onnx.TensorProto.DataType.Value(ONNX_NAMES[dtype].upper())
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = wanted
    attributes = [each for node in graph.node for each in node.attribute if each.HasField("t")]
    for tensor in (*graph.initializer, *(attribute.t for attribute in attributes)):
        # A protocol buffer keeps the memory of all that it ever held, so not that of a file read.
        read = onnx.TensorProto()
        read.CopyFrom(tensor)
        values = onnx.numpy_helper.to_array(read, str(folder))
        if tensor.data_type == single:
            values = values.astype(onnx.helper.tensor_dtype_to_np_dtype(wanted))
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _to_double(onnx: Any, model: Any, folder: Path) -> None:
    """Gives the graph this type in place, and each norm the epsilon that its attribute means."""
    _retype(onnx, model, "float64", folder)
    graph = model.graph
    corrections = _epsilon_corrections(graph)
    for tensor in graph.initializer:
        if tensor.name in corrections:
            corrected = onnx.numpy_helper.to_array(tensor) + corrections[tensor.name]
            tensor.CopyFrom(onnx.numpy_helper.from_array(corrected, tensor.name))
    nodes = [each for node in graph.node for each in _double_nodes(onnx, graph, node)]
    del graph.node[:]
    graph.node.extend(nodes)


def _double_nodes(onnx: Any, graph: Any, node: Any) -> Iterator[Any]:
    """The node as it computes in double; an instance norm's input is scaled to correct epsilon.

    The norm of c * x with epsilon c^2 * e is that of x with epsilon e.
    """
    if node.op_type == "InstanceNormalization":
        (written,) = (each.f for each in node.attribute if each.name == "epsilon")
        factor = np.array(math.sqrt(written / _meant(written)))
        name = f"{node.name}.corrected"
        graph.initializer.append(onnx.numpy_helper.from_array(factor, f"{name}.factor"))
        inputs = [node.input[0], f"{name}.factor"]
        yield onnx.helper.make_node("Mul", inputs, [name], name=name)
        node.input[0] = name
    yield node


def _epsilon_corrections(graph: Any) -> dict[str, float]:
    """What to add to each variance because an attribute holds float32.

    A graph can write an epsilon of 1e-5 only as 9.99999974e-6. The difference from what it means
    would hide float64's digits.
    """
    return {
        node.input[VARIANCE]: _meant(attribute.f) - attribute.f
        for node in graph.node
        if node.op_type == "BatchNormalization"
        for attribute in node.attribute
        if attribute.name == "epsilon"
    }


def _meant(written: float) -> float:
    """The shortest decimal that float32 rounds to the attribute's value."""
    return float(str(np.float32(written)))
