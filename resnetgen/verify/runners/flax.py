"""Runs `model_flax.py` and reports what its modules received and gave, as NCHW."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.child.framework import Unavailable, framework
from resnetgen.ir.network import Network
from resnetgen.ir.ops import AvgPool2d, Padding
from resnetgen.verify.runners.channels_last import nchw_array, nchw_shape, torch_array, torch_shape
from resnetgen.verify.runners.protocol import (
    INPUT,
    OUTPUT,
    Dtype,
    Request,
    SeenBuild,
    SeenParameter,
    TrainingRequest,
)
from resnetgen.verify.runners.recorder import Recorder
from resnetgen.verify.runners.registry import Runner
from resnetgen.verify.runners.source import LOADER, factory, load_source, other_output, refuse_other
from resnetgen.weights.layout import WEIGHTS_FILE

_FILE = "model_flax.py"
_NO_PADDING = Padding.symmetric(0)
_TENSOR_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


def _run(request: Request, recorder: Recorder) -> None:
    jax, nnx = framework("jax"), framework("flax.nnx")
    recorder.versions |= {"flax": framework("flax").__version__, "jax": jax.__version__}
    _set_up_device(jax, request, recorder)
    dtype: Dtype = request.dtype or "float64"

    module = load_source(Path(request.directory, _FILE))
    model = built(jax, nnx, factory(module))
    recorder.parameters += _parameters(nnx, model)
    model.eval()
    _listen(nnx, model, recorder)

    def load(weights: str) -> None:
        cast(jax, nnx, model, "float32")
        getattr(module, LOADER)(model, Path(weights, WEIGHTS_FILE))
        cast(jax, nnx, model, dtype)

    loaded: str | None = None
    for number, case in enumerate(request.cases):
        if dtype not in case.dtypes:
            continue
        if case.weights != loaded:
            load(case.weights)
            loaded = case.weights
        image = jax.numpy.asarray(np.load(case.image).transpose(0, 2, 3, 1), dtype)
        with recorder.run("flax", dtype=dtype, case=number):
            if case.training is not None:
                _set_up_training(nnx, model, recorder)
            output = model(image)
            if not isinstance(output, jax.Array):
                raise other_output(output, wanted="an Array")
            if output.dtype != dtype:
                raise TypeError(f"the model computed in {output.dtype}, not in {dtype}")
            recorder.value(OUTPUT, _array(output))
            if case.training is not None:
                # That has moved the running statistics, and so does the step itself.
                loaded = None
                load(case.weights)
                _take_step(jax, nnx, model, image, case.training, recorder)
                model.eval()
    if request.classes is not None:
        other = _abstract(nnx, factory(module), num_classes=request.classes)
        other.eval()
        image = jax.numpy.asarray(np.load(request.cases[0].image)[:1].transpose(0, 2, 3, 1))

        def answer(model: Any) -> Any:
            return model(image)

        output = tuple(nnx.eval_shape(answer, other).shape)
        recorder.rebuilt = SeenBuild(tuple(_parameters(nnx, other)), image=None, output=output)


def _widens(network: Network, dtype: Dtype) -> str | None:
    """Which op gives float64, whatever it is given.

    `nnx.avg_pool` divides by how many pixels each window has, if they differ, and counts them in
    the type that JAX has for numbers by default.
    """
    if dtype == "float64":
        return None
    for op in network.ops:
        if isinstance(op, AvgPool2d) and not op.counts_padding and op.padding != _NO_PADDING:
            return f"{op.name} gives float64: Flax counts in it what an average pool divides by"
    return None


def _set_up_training(nnx: Any, model: Any, recorder: Recorder) -> None:
    model.train()
    for path, module in nnx.iter_modules(model):
        if recorder.rests(".".join(map(str, path))):
            module.eval()


def _take_step(
    jax: Any, nnx: Any, model: Any, image: Any, training: TrainingRequest, recorder: Recorder
) -> None:
    labels = np.load(training.labels)

    def compute(model: Any) -> Any:
        output = model(image)
        of_all = output if training.probabilities else jax.nn.log_softmax(output)
        # Of probabilities only the labels': a logarithm of 0 has no gradient.
        taken = of_all[np.arange(len(labels)), labels]
        return -(jax.numpy.log(taken) if training.probabilities else taken).mean()

    recorder.listening = False
    loss, gradients = nnx.value_and_grad(compute)(model)
    recorder.listening = True
    arrays = {
        name: torch_array(np.array(variable[...]))
        for state in (gradients, nnx.state(model, nnx.BatchStat))
        for name, variable in _variables(nnx, state)
    }
    recorder.step(float(loss), arrays)


def _set_up_device(jax: Any, request: Request, recorder: Recorder) -> None:
    if request.device == "cpu":
        return
    try:
        devices = jax.devices("gpu")
    except RuntimeError as error:
        raise Unavailable("jax finds no CUDA device") from error
    recorder.device_name = devices[0].device_kind


def built(jax: Any, nnx: Any, build: Callable[..., Any]) -> Any:
    """The model with zeros for weights: drawing them would compile a program for each shape."""
    model = _abstract(nnx, build)

    def zeros(leaf: Any) -> Any:
        return jax.numpy.asarray(np.zeros(leaf.shape, leaf.dtype))

    nnx.update(model, jax.tree.map(zeros, _tensors(nnx, model)))
    return model


def _abstract(nnx: Any, build: Callable[..., Any], **arguments: int) -> Any:
    """The model without values.

    All draws get one key: counting them on takes time quadratic in their number, since JAX traces
    each count's origin, and what they would have drawn is not looked at.
    """
    nnx.RngStream.__call__ = _same_key
    model = nnx.eval_shape(lambda: build(**arguments, rngs=nnx.Rngs(0)))
    refuse_other(model, nnx.Module, build, wanted="an nnx.Module")
    return model


def _same_key(stream: Any) -> Any:
    return stream.key[...]


def cast(jax: Any, nnx: Any, model: Any, dtype: Dtype) -> None:
    """Gives every floating-point tensor of the model this dtype."""

    def cast(leaf: Any) -> Any:
        floating = jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating)
        return jax.numpy.asarray(np.asarray(leaf), dtype) if floating else leaf

    nnx.update(model, jax.tree.map(cast, _tensors(nnx, model)))


def _tensors(nnx: Any, model: Any) -> Any:
    """The state of the model but for keys of random numbers, which only training draws."""
    return nnx.state(model, nnx.Not(nnx.RngState))


def _parameters(nnx: Any, model: Any) -> list[SeenParameter]:
    return [
        SeenParameter(
            name,
            torch_shape(tuple(variable.shape)),
            isinstance(variable, nnx.Param),
            str(variable.dtype),
        )
        for name, variable in _variables(nnx, _tensors(nnx, model))
    ]


def _variables(nnx: Any, state: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for path, variable in nnx.to_flat_state(state):
        *owner, name = map(str, path)
        found.append((".".join([*owner, _TENSOR_NAMES.get(name, name)]), variable))
    return found


def _listen(nnx: Any, model: Any, recorder: Recorder) -> None:
    """Notes what every module but the model itself receives and gives.

    NNX has no hooks: each class is made to tell of those of its instances that the model has.
    """
    # A module is kept beside its label, so that no later one is ever taken for it.
    labels: dict[int, tuple[str, Any]] = {}
    classes: set[Any] = set()
    for path, module in nnx.iter_modules(model):
        if path:
            labels[id(module)] = (".".join(map(str, path)), module)
            classes.add(type(module))
    for each in classes:
        # A class that holds others, as nnx.List does, has none of its own; `type` does.
        if any("__call__" in vars(ancestor) for ancestor in each.__mro__):
            each.__call__ = _telling(each.__call__, labels, recorder)


def _telling(
    call: Callable[..., Any], labels: dict[int, tuple[str, Any]], recorder: Recorder
) -> Callable[..., Any]:
    def telling(self: Any, *inputs: Any, **options: Any) -> Any:
        known = labels.get(id(self)) if recorder.listening else None
        if known is None:
            return call(self, *inputs, **options)
        label, _ = known
        if len(inputs) == 1:
            _note(recorder, label + INPUT, inputs[0])
        output = call(self, *inputs, **options)
        _note(recorder, label, output)
        return output

    return telling


def _note(recorder: Recorder, label: str, array: Any) -> None:
    if recorder.wants(label):
        recorder.value(label, _array(array))
    else:
        recorder.shape(label, nchw_shape(tuple(array.shape)))


def _array(array: Any) -> NDArray[Any]:
    return nchw_array(np.array(array))


RUNNER = Runner(
    target="flax",
    file=_FILE,
    requires={"jax": "jax", "flax": "jax"},
    environment={
        "JAX_ENABLE_X64": "1",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    },
    due="always",
    run=_run,
    running_variance="biased",
    widens=_widens,
)
