"""Runs `model_keras.py` on one of Keras's backends and reports what its layers gave, as NCHW."""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnetgen.child.framework import Unavailable, framework
from resnetgen.verify.runners.channels_last import nchw_array, nchw_shape, torch_array, torch_shape
from resnetgen.verify.runners.protocol import (
    OUTPUT,
    CaseRequest,
    Dtype,
    Request,
    SeenBuild,
    SeenParameter,
    TrainingRequest,
)
from resnetgen.verify.runners.recorder import NoSuchDtype, Recorder
from resnetgen.verify.runners.registry import Due, Runner
from resnetgen.verify.runners.source import LOADER, factory, load_source, other_output, refuse_other
from resnetgen.weights.layout import WEIGHTS_FILE

Backend = Literal["tensorflow", "jax", "torch"]

_FILE = "model_keras.py"
_TENSOR_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _run(backend: Backend, request: Request, recorder: Recorder) -> None:
    framework(backend)
    keras = framework("keras")
    recorder.versions |= {"keras": keras.__version__, backend: framework(backend).__version__}
    _set_up_device(backend, request, recorder)
    source = Path(request.directory, _FILE)
    if request.classes is not None:
        _set_dtype(keras, "float32")
        recorder.rebuilt = _rebuilt(keras, factory(load_source(source)), request.classes)
    dtype = set_up_dtype(keras, request.dtype)

    # Anew, since what a source asks of Keras as it is imported has to hold in these runs, too.
    module = load_source(source)
    for fixed in (False, True):
        _run_cases(backend, keras, module, request, dtype, recorder, fixed=fixed)


def _run_cases(
    backend: Backend,
    keras: Any,
    module: ModuleType,
    request: Request,
    dtype: Dtype,
    recorder: Recorder,
    *,
    fixed: bool,
) -> None:
    """Runs all cases of the dtype on a model for images of any size, or each on one for its own.

    A source may do otherwise where it knows the image's size, as by default it does.
    """
    build, load = factory(module), getattr(module, LOADER)
    evaluator = "keras, fixed size" if fixed else "keras"
    # A layer may have a mode of its own where nobody states one, or where somebody does.
    stated = {"training": False} if fixed else {}
    model = size = loaded = None
    # Those of a size behind each other, for which there is one model.
    for number, case in sorted(enumerate(request.cases), key=lambda each: _size(each[1])):
        if dtype not in case.dtypes:
            continue
        image = _image(keras, case, dtype)
        due = tuple(image.shape[1:]) if fixed else (None, None, image.shape[-1])
        if due != size:
            # One at a time: a model's layers hold each other until they are collected.
            model = None
            gc.collect()
            model, size, loaded = _built(keras, build, due, recorder), due, None
            if not fixed:
                recorder.parameters += _as_run(model)
        if case.weights != loaded:
            load(model, Path(case.weights, WEIGHTS_FILE))
            loaded = case.weights
            # As it is then: what is loaded may no longer be trainable.
            parameters = _as_run(model)
            if not fixed:
                recorder.parameters[:] = parameters
            elif parameters != recorder.parameters:
                of_size = "x".join(map(str, due[:2]))
                recorder.variants[f"built for {of_size} pixels"] = parameters
        with recorder.run(evaluator, dtype=dtype, case=number):
            if case.training is None:
                _call(backend, keras, model, image, recorder, **stated)
            else:
                _call(backend, keras, model, image, recorder, training=True)
                # That has moved the running statistics, and so does the step itself.
                loaded = None
                load(model, Path(case.weights, WEIGHTS_FILE))
                _take_step(backend, keras, model, image, case.training, recorder)


def _built(
    keras: Any, build: Callable[..., Any], size: tuple[int | None, ...], recorder: Recorder
) -> Any:
    """The model for images of this size, whose layers tell the recorder."""
    model = build(input_shape=size)
    refuse_other(model, keras.Model, build, wanted="a keras.Model")
    for layer in model.layers:
        _listen(keras, layer, recorder)
    return model


def _size(case: CaseRequest) -> tuple[int, ...]:
    """Height and width in pixels."""
    return tuple(np.load(case.image, mmap_mode="r").shape[2:])


def _image(keras: Any, case: CaseRequest, dtype: Dtype) -> Any:
    return keras.ops.convert_to_tensor(np.load(case.image).transpose(0, 2, 3, 1), dtype)


def _call(
    backend: Backend, keras: Any, model: Any, image: Any, recorder: Recorder, **stated: bool
) -> None:
    with _no_graph(backend):
        output = model(image, **stated)
    if not keras.ops.is_tensor(output):
        raise other_output(output, wanted="a tensor")
    recorder.value(OUTPUT, _array(keras, output))


def _no_graph(backend: Backend) -> AbstractContextManager[Any]:
    """PyTorch would keep every activation for a backward pass that never comes."""
    return framework("torch").no_grad() if backend == "torch" else nullcontext()


def _take_step(
    backend: Backend,
    keras: Any,
    model: Any,
    image: Any,
    training: TrainingRequest,
    recorder: Recorder,
) -> None:
    labels = keras.ops.convert_to_tensor(np.load(training.labels)[:, None])

    def loss_of(output: Any) -> Any:
        # Keras's own loss would clip probabilities. Of these only the labels' are taken: a
        # logarithm of 0 has no gradient.
        of_all = output if training.probabilities else log_softmax(output)
        taken = keras.ops.take_along_axis(of_all, labels, axis=1)
        return -keras.ops.mean(keras.ops.log(taken) if training.probabilities else taken)

    log_softmax = keras.ops.log_softmax
    recorder.listening = False
    loss, gradients = _differentiated(backend, model, image, loss_of)
    recorder.listening = True
    of_variables = zip(model.trainable_variables, gradients, strict=True)
    gradient_of = {id(variable): gradient for variable, gradient in of_variables}
    # A variable that the loss does not depend on has no gradient on some backends.
    tensors = {
        name: gradient_of[id(variable)] if variable.trainable else variable.value
        for name, variable in _variables(model)
    }
    arrays = {
        name: torch_array(np.array(keras.ops.convert_to_numpy(tensor)))
        for name, tensor in tensors.items()
        if tensor is not None
    }
    recorder.step(float(loss), arrays)


def _differentiated(
    backend: Backend, model: Any, image: Any, loss_of: Callable[[Any], Any]
) -> tuple[Any, list[Any]]:
    """The loss in training, and the gradient of each trainable variable; moves the others."""
    variables = [variable.value for variable in model.trainable_variables]
    match backend:
        case "tensorflow":
            with framework("tensorflow").GradientTape() as tape:
                loss = loss_of(model(image, training=True))
            return loss, tape.gradient(loss, variables)
        case "torch":
            loss = loss_of(model(image, training=True))
            gradients = framework("torch").autograd.grad(loss, variables, allow_unused=True)
            return loss, list(gradients)
        case "jax":
            kept = [variable.value for variable in model.non_trainable_variables]

            def compute(trainable: list[Any]) -> tuple[Any, Any]:
                output, moved = model.stateless_call(trainable, kept, image, training=True)
                return loss_of(output), moved

            differentiate = framework("jax").value_and_grad(compute, has_aux=True)
            (loss, moved), gradients = differentiate(variables)
            for variable, value in zip(model.non_trainable_variables, moved, strict=True):
                variable.assign(value)
            return loss, gradients


def _set_up_device(backend: Backend, request: Request, recorder: Recorder) -> None:
    """Finds the GPU where one is asked for, and turns its shortened float32 products off."""
    if request.device == "cpu":
        return
    match backend:
        case "tensorflow":
            tensorflow = framework("tensorflow")
            devices = tensorflow.config.list_physical_devices("GPU")
            tensorflow.config.experimental.enable_tensor_float_32_execution(False)
            names = [
                tensorflow.config.experimental.get_device_details(device).get("device_name", "GPU")
                for device in devices
            ]
        case "torch":
            torch = framework("torch")
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            names = [
                torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())
            ]
        case "jax":
            jax = framework("jax")
            names = [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    if not names:
        raise Unavailable(f"{backend} finds no CUDA device")
    recorder.device_name = names[0]


def set_up_dtype(keras: Any, asked: Dtype | None) -> Dtype:
    """Sets the widest dtype (or the one asked for) that is really computed, and returns it."""
    if asked is not None and asked != "float64":
        _set_dtype(keras, asked)
        return asked
    _set_dtype(keras, "float64")
    # Keras casts norms and means of a float64 model to float32 where its backend is not
    # TensorFlow; this entry of its promotion table is why.
    dtypes = framework("keras.src.backend.common.dtypes")
    getattr(dtypes, "BIT64_TO_BIT32_DTYPE", {})["float64"] = "float64"
    if _computes_float64(keras):
        return "float64"
    if asked == "float64":
        raise NoSuchDtype("Keras computes float64 norms in float32 on this backend")
    _set_dtype(keras, "float32")
    return "float32"


def _set_dtype(keras: Any, dtype: Dtype) -> None:
    keras.config.set_floatx(dtype)
    # Models built before have fixed the policy of those to come.
    keras.config.set_dtype_policy(dtype)


def _computes_float64(keras: Any) -> bool:
    """Measures it on a batch norm whose result is known."""
    value = np.random.default_rng(0).standard_normal((2, 3, 3, 4))
    mean, variance = value.mean(axis=(0, 1, 2)), value.var(axis=(0, 1, 2))
    norm = keras.layers.BatchNormalization(epsilon=1e-3)
    norm.build(value.shape)
    norm.set_weights([np.full(4, 1.5), np.full(4, 0.5), mean, variance])
    actual = _array(keras, norm(keras.ops.convert_to_tensor(value), training=False))
    expected = (value - mean) / np.sqrt(variance + 1e-3) * 1.5 + 0.5
    return bool(np.abs(actual - expected.transpose(0, 3, 1, 2)).max() < 1e-12)


def _rebuilt(keras: Any, build: Callable[..., Any], classes: int) -> SeenBuild:
    """Another number of classes, and the image's size and the dtypes that there are by default.

    One model shows all, for Keras takes long to build one: it calls every layer.
    """
    model = build(num_classes=classes)
    height, width, channels = model.input_shape[1:]
    if not isinstance(model.output, keras.KerasTensor):
        raise other_output(model.output, wanted="a tensor")
    output = tuple(1 if extent is None else extent for extent in model.output_shape)
    return SeenBuild(tuple(_parameters(model)), image=(channels, height, width), output=output)


def _parameters(model: Any) -> list[SeenParameter]:
    return [
        SeenParameter(
            name, torch_shape(tuple(variable.shape)), bool(variable.trainable), str(variable.dtype)
        )
        for name, variable in _variables(model)
    ]


def _as_run(model: Any) -> list[SeenParameter]:
    """Its parameters, of which another build tells what dtype they have where none is set."""
    return [replace(each, dtype=None) for each in _parameters(model)]


def _variables(model: Any) -> list[tuple[str, Any]]:
    return [
        (f"{_canonical(layer.name)}.{_TENSOR_NAMES.get(variable.name, variable.name)}", variable)
        for layer in model.layers
        for variable in layer.weights
    ]


def _canonical(name: str) -> str:
    return name.replace("_", ".")


def _listen(keras: Any, layer: Any, recorder: Recorder) -> None:
    """Notes the layer's output whenever it is called.

    The layer itself is made to tell, since a second model over all outputs would recurse once
    per layer.
    """
    call: Callable[..., Any] = layer.call
    label = _canonical(layer.name)

    def telling(*inputs: Any, **options: Any) -> Any:
        if recorder.rests(label):
            options["training"] = False
        output = call(*inputs, **options)
        if recorder.listening and keras.ops.is_tensor(output):
            if recorder.wants(label):
                recorder.value(label, _array(keras, output))
            else:
                recorder.shape(label, nchw_shape(tuple(output.shape)))
        return output

    layer.call = telling


def _array(keras: Any, tensor: Any) -> NDArray[Any]:
    return nchw_array(np.array(keras.ops.convert_to_numpy(tensor)))


def _runner(backend: Backend, *, due: Due, environment: dict[str, str]) -> Runner:
    return Runner(
        target=f"keras-{backend}",
        file=_FILE,
        requires={"keras": "jax" if backend == "jax" else "tensorflow", backend: backend},
        environment={"KERAS_BACKEND": backend, **environment},
        due=due,
        run=partial(_run, backend),
        running_variance="biased",
    )


TENSORFLOW = _runner(
    "tensorflow",
    due="always",
    environment={
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    },
)
JAX = _runner(
    "jax",
    due="where_installed",
    environment={
        "JAX_ENABLE_X64": "1",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    },
)
TORCH = _runner("torch", due="where_installed", environment={})
