"""Checks `model.onnx`, runs it in ONNX Runtime and in ONNX's reference evaluator, and reports both.

ONNX Runtime has no float64 convolution on the CPU, so it runs in float32, as the graph is written;
the reference evaluator runs the same graph with every float turned to double, or to a narrower
type where ONNX's operators take it.
"""

import gc
import shutil
from collections.abc import Iterable, Mapping
from itertools import groupby, takewhile, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from resnetgen.child.framework import Unavailable, framework
from resnetgen.diagnostics import listed
from resnetgen.verify.runners.onnx_evaluator import (
    ONNX_NAMES,
    VARIANCE,
    Session,
    reference_session,
)
from resnetgen.verify.runners.protocol import (
    OUTPUT,
    CaseRequest,
    Dtype,
    Request,
    SeenInitializer,
    SeenParameter,
    SeenSignature,
)
from resnetgen.verify.runners.recorder import NoSuchDtype, Recorder
from resnetgen.verify.runners.registry import Runner

_FILE = "model.onnx"
_TEXT_FILE = "model.onnxtxt"
_WEIGHTED = ("Conv", "BatchNormalization", "Gemm")
"""The ops whose inputs behind the first are tensors of the network."""
_SHAPING = "Unsqueeze"
"""The op whose first input is one, if it is no value."""
_RUNTIME = "onnxruntime"
"""What a run in it is called; where it breaks off, it gives nothing of what it computed."""
_MEAN = 3
"""The position among a BatchNormalization's inputs."""


def _run(request: Request, recorder: Recorder) -> None:
    onnx = framework("onnx")
    framework("onnx.parser")
    runtime = framework("onnxruntime")
    recorder.versions |= {"onnx": onnx.__version__, "onnxruntime": runtime.__version__}
    dtypes = _dtypes(runtime, request)

    file = Path(request.directory, _FILE)
    graph_only = onnx.load(file, load_external_data=False)
    for kind, found in (("input", graph_only.graph.input), ("output", graph_only.graph.output)):
        if len(found) != 1:
            names = [each.name for each in found]
            has = f"{len(names)} {kind}s, {listed(names)}" if names else f"no {kind}"
            raise ValueError(f"{_FILE} has {has}, and not one")
    recorder.signature = SeenSignature(
        _declaration(onnx, graph_only.graph.input[0]),
        _declaration(onnx, graph_only.graph.output[0]),
    )
    recorder.parameters += _parameters(graph_only.graph)
    recorder.initializers = [_initializer(onnx, each) for each in graph_only.graph.initializer]
    _refuse_outside(recorder.initializers, file.parent)
    if request.dtype is not None:
        _refuse_dtype(onnx, graph_only, request.dtype)
    for shape in dict.fromkeys(_shape(case) for case in request.cases):
        number = next(n for n, case in enumerate(request.cases) if _shape(case) == shape)
        with recorder.run("onnx.shape_inference", dtype="float32", case=number):
            _infer_shapes(onnx, graph_only, shape, recorder)

    numbered = enumerate(request.cases)
    for weights, cases in groupby(numbered, key=lambda numbered_case: numbered_case[1].weights):
        path = _beside_weights(file, Path(weights))
        _run_cases(onnx, runtime, path, dtypes, cases, request, recorder)
        # The evaluator's ops refer to one another; two of them would take twice the memory.
        gc.collect()
    # Last, so that a wrong graph is first judged by what it computes.
    _compare_text(onnx, file.with_name(_TEXT_FILE), graph_only)


def _run_cases(
    onnx: Any,
    runtime: Any,
    path: Path,
    dtypes: Iterable[Dtype],
    cases: Iterable[tuple[int, CaseRequest]],
    request: Request,
    recorder: Recorder,
) -> None:
    """Runs the numbered cases of the same weights."""
    onnx.checker.check_model(path, full_check=True)
    watched = onnx.load(path, load_external_data=False)
    labels = _watch(onnx, watched, recorder)
    sessions: dict[Dtype, tuple[str, Session]] = {}
    for dtype in dtypes:
        if dtype == "float32":
            session = _runtime_session(runtime, watched, path.parent, request)
            sessions[dtype] = (_RUNTIME, session)
        else:
            retyped = onnx.ModelProto()
            retyped.CopyFrom(watched)
            session = reference_session(onnx, retyped, dtype, folder=path.parent)
            sessions[dtype] = ("onnx.reference", session)
    for number, case in cases:
        image = np.load(case.image)
        for dtype in case.dtypes:
            if dtype not in sessions:
                continue
            evaluator, session = sessions[dtype]
            with recorder.run(evaluator, dtype=dtype, case=number):
                given = image.astype(dtype, copy=False)
                try:
                    values = session(given)
                except Exception:
                    if evaluator == _RUNTIME:
                        part = _what_fits(onnx, watched, image.shape)
                        values = _runtime_session(runtime, part, path.parent, request)(given)
                        _record([each for each in labels if each[1] in values], values, recorder)
                    raise
                _record(labels, values, recorder)


def _record(
    labels: Iterable[tuple[str, str]], values: Mapping[str, Any], recorder: Recorder
) -> None:
    for label, name in labels:
        recorder.value(label, values[name])


def _what_fits(onnx: Any, model: Any, shape: tuple[int, ...]) -> Any:
    """The model up to the first node whose inputs do not fit each other on such an image."""
    known = _known_shapes(_inferred(onnx, model, shape))
    part = onnx.ModelProto()
    part.CopyFrom(model)

    def fits(node: Any) -> bool:
        return node.output[0] in known

    nodes: list[Any] = list(takewhile(fits, model.graph.node))
    given: set[str] = {node.output[0] for node in nodes}
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    part.graph.output.extend(each for each in model.graph.output if each.name in given)
    return part


def _compare_text(onnx: Any, file: Path, model: Any) -> None:
    """Raises where the model's text, if it is there, says something else than the model."""
    if not file.exists():
        return
    text = onnx.parser.parse_model(file.read_text(encoding="utf-8"))
    for fact, stated, actual in (
        ("ir_version", text.ir_version, model.ir_version),
        ("opset_import", list(text.opset_import), list(model.opset_import)),
        ("functions", list(text.functions), list(model.functions)),
        ("inputs", list(text.graph.input), list(model.graph.input)),
        ("outputs", list(text.graph.output), list(model.graph.output)),
    ):
        if stated != actual:
            raise ValueError(f"{file.name} and {_FILE} differ in {fact}")
    for stated, actual in zip_longest(text.graph.node, model.graph.node):
        if stated != actual:
            name = (stated or actual).name
            raise ValueError(f"{file.name} and {_FILE} differ at node {name}")
    actual = {each.name: _content(onnx, each) for each in model.graph.initializer}
    stated = [(each.name, (*_type(each), None)) for each in text.graph.value_info]
    stated += [(each.name, _content(onnx, each)) for each in text.graph.initializer]
    for name, (*type_, content) in stated:
        *actual_type, actual_content = actual.get(name, (None,))
        # The text may leave out where the data of a weight lie, but not data that lie in the graph.
        left_out = content is None and isinstance(actual_content, dict)
        if type_ != actual_type or not (left_out or content == actual_content):
            raise ValueError(f"{file.name} and {_FILE} differ in initializer {name}")
    for name in actual.keys() - {name for name, _ in stated}:
        raise ValueError(f"{file.name} has no initializer {name}, and {_FILE} has")


def _type(declaration: Any) -> tuple[Any, ...]:
    """A declared tensor's element type and shape."""
    type_ = declaration.type.tensor_type
    return (type_.elem_type, tuple(dim.dim_value for dim in type_.shape.dim))


def _content(onnx: Any, tensor: Any) -> tuple[Any, ...]:
    """An initializer's element type and shape, and its data: bytes, or a dict of where they lie."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        data: Any = {each.key: each.value for each in tensor.external_data}
    else:
        data = onnx.numpy_helper.to_array(tensor).tobytes()
    return (tensor.data_type, tuple(tensor.dims), data)


def _dtypes(runtime: Any, request: Request) -> tuple[Dtype, ...]:
    """What there is to run: on the CPU both, on a GPU what ONNX Runtime computes there."""
    if request.device == "cpu":
        return (request.dtype,) if request.dtype else ("float32", "float64")
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        raise Unavailable("this ONNX Runtime has no CUDAExecutionProvider")
    if request.dtype not in (None, "float32"):
        raise NoSuchDtype("ONNX Runtime runs the graph in float32, as it is written")
    return ("float32",)


def _parameters(graph: Any) -> list[SeenParameter]:
    """The float tensors that weighted ops read, named as in the graph."""
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    return [
        # Its initializer tells the dtype.
        SeenParameter(name, shapes[name], trainable=position not in (_MEAN, VARIANCE), dtype=None)
        for node in graph.node
        for position, name in enumerate(node.input)
        if name in shapes and _is_tensor(node.op_type, position)
    ]


def _is_tensor(op_type: str, position: int) -> bool:
    """Whether an op reads a tensor of the network there."""
    return position > 0 if op_type in _WEIGHTED else op_type == _SHAPING and position == 0


def _declaration(onnx: Any, value: Any) -> str:
    """As the text of a graph has it; a dimension of which nothing is said is `?`."""
    type_ = value.type.tensor_type
    dims = (each.dim_param or each.dim_value or "?" for each in type_.shape.dim)
    kind = onnx.TensorProto.DataType.Name(type_.elem_type).lower()
    return f"{kind}[{', '.join(map(str, dims))}] {value.name}"


def _initializer(onnx: Any, tensor: Any) -> SeenInitializer:
    facts = {each.key: each.value for each in tensor.external_data}
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    return SeenInitializer(
        name=tensor.name,
        type=onnx.TensorProto.DataType.Name(tensor.data_type),
        shape=tuple(tensor.dims),
        location=facts.get("location", "") if external else None,
        offset=int(facts.get("offset", 0)),
        length=int(facts.get("length", -1)),
    )


def _refuse_outside(initializers: list[SeenInitializer], directory: Path) -> None:
    """Raises before anything is read where external data would lie outside the directory."""
    for initializer in initializers:
        if initializer.location is None:
            continue
        target = (directory / initializer.location).resolve()
        if not target.is_relative_to(directory.resolve()):
            raise ValueError(
                f"{initializer.name} takes its data from {initializer.location!r}, "
                "outside the model's directory"
            )


def _shape(case: CaseRequest) -> tuple[int, ...]:
    return tuple(np.load(case.image, mmap_mode="r").shape)


def _infer_shapes(onnx: Any, model: Any, shape: tuple[int, ...], recorder: Recorder) -> None:
    """Notes what ONNX infers of every node's output when the image has this shape."""
    inferred = _inferred(onnx, model, shape)
    known = _known_shapes(inferred)
    for node in inferred.node:
        if node.output[0] in known:
            recorder.shape(node.name, known[node.output[0]])


def _inferred(onnx: Any, model: Any, shape: tuple[int, ...]) -> Any:
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    dims = sized.graph.input[0].type.tensor_type.shape.dim
    for dim, extent in zip(dims, shape, strict=True):
        dim.dim_value = extent
    return onnx.shape_inference.infer_shapes(sized, data_prop=True).graph


def _known_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of which every extent was inferred, by tensor."""
    types = {each.name: each.type.tensor_type for each in (*graph.value_info, *graph.output)}
    return {
        name: tuple(dim.dim_value for dim in type_.shape.dim)
        for name, type_ in types.items()
        if type_.HasField("shape") and all(dim.HasField("dim_value") for dim in type_.shape.dim)
    }


def _beside_weights(file: Path, weights: Path) -> Path:
    """The model's file in the folder of the weights, copied there unless it is its own."""
    path = weights / file.name
    if not path.exists():
        shutil.copyfile(file, path)
    return path


def _watch(onnx: Any, model: Any, recorder: Recorder) -> list[tuple[str, str]]:
    """Makes the wanted float values outputs of the graph; returns labels and tensors' names."""
    (final,) = (each.name for each in model.graph.output)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {
        each.name: each.type.tensor_type.elem_type
        for each in (*inferred.value_info, *inferred.output)
    }
    wanted = [
        (node.name, node.output[0])
        for node in model.graph.node
        if recorder.wants(node.name) and types.get(node.output[0]) == onnx.TensorProto.FLOAT
    ]
    labels = [*wanted, (OUTPUT, final)]
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in dict.fromkeys(name for _, name in labels)
    )
    return labels


def _runtime_session(runtime: Any, model: Any, directory: Path, request: Request) -> Session:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = request.threads
    options.log_severity_level = 3
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(directory)
    )
    provider: Any = "CPUExecutionProvider"
    if request.device == "cuda":
        provider = ("CUDAExecutionProvider", {"use_tf32": "0"})
    session = runtime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=[provider]
    )
    if request.device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        # It is there, but its libraries or its device are not: ONNX Runtime then takes the CPU.
        raise Unavailable("ONNX Runtime cannot use its CUDAExecutionProvider here")
    outputs = [each.name for each in session.get_outputs()]
    (source,) = (each.name for each in session.get_inputs())
    return lambda image: dict(zip(outputs, session.run(outputs, {source: image}), strict=True))


def _refuse_dtype(onnx: Any, model: Any, dtype: Dtype) -> None:
    """Raises NoSuchDtype where an operator of the graph takes float32, and not this type."""
    (opset,) = (each.version for each in model.opset_import if not each.domain)
    for kind in dict.fromkeys(node.op_type for node in model.graph.node):
        for constraint in onnx.defs.get_schema(kind, opset).type_constraints:
            allowed = constraint.allowed_type_strs
            if "tensor(float)" in allowed and f"tensor({ONNX_NAMES[dtype]})" not in allowed:
                raise NoSuchDtype(f"{kind} takes no {dtype} in opset {opset}, which the graph uses")


RUNNER = Runner(
    target="onnx",
    file=_FILE,
    requires={"onnxruntime": "onnxruntime"},
    environment={},
    due="always",
    run=_run,
    beside=(_TEXT_FILE,),
)
