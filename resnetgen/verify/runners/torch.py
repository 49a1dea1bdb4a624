"""Runs a PyTorch model, such as that of `model_torch.py`, and reports what its modules received
and gave."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.child.framework import Unavailable, framework
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
from resnetgen.verify.runners.source import factory, load_source, other_output, refuse_other
from resnetgen.weights.layout import WEIGHTS_FILE
from resnetgen.weights.safetensors import COUNTER

_FILE = "model_torch.py"
_DTYPES: tuple[Dtype, ...] = ("float64", "float32")
"""What it is run in where nobody asks: autocast, for one, leaves float64 alone."""


def _run(request: Request, recorder: Recorder) -> None:
    torch = framework("torch")
    build = factory(load_source(Path(request.directory, _FILE)))
    run_model(build, request, recorder)
    if request.classes is not None:
        # Not on PyTorch's meta device: the first use of that costs more than drawing weights.
        other = build(num_classes=request.classes).eval()
        image = torch.from_numpy(np.load(request.cases[0].image)[:1]).float()
        with torch.inference_mode():
            output = tuple(other(image).shape)
        recorder.rebuilt = SeenBuild(tuple(_parameters(other)), image=None, output=output)


def run_model(build: Callable[[], Any], request: Request, recorder: Recorder) -> None:
    """Builds the model and runs the request's cases; its parameters have the canonical names."""
    torch = framework("torch")
    recorder.versions["torch"] = torch.__version__
    _set_up_device(torch, request, recorder)
    dtypes = (request.dtype,) if request.dtype else _DTYPES

    model = build()
    refuse_other(model, torch.nn.Module, build, wanted="a Module")
    recorder.parameters += _parameters(model)
    model.eval()
    _hook(torch, model, recorder)
    for dtype in dtypes:
        _run_cases(torch, model, dtype, request, recorder)


def _run_cases(torch: Any, model: Any, dtype: Dtype, request: Request, recorder: Recorder) -> None:
    tensors_of = framework("safetensors.torch").load_file
    loaded = None
    for number, case in enumerate(request.cases):
        if dtype not in case.dtypes:
            continue
        if case.weights != loaded:
            weights = tensors_of(Path(case.weights, WEIGHTS_FILE))
            model.to("cpu", torch.float32).load_state_dict(weights, strict=True)
            model.to(request.device, getattr(torch, dtype))
            loaded = case.weights
        image = torch.from_numpy(np.load(case.image)).to(request.device, getattr(torch, dtype))
        with recorder.run("torch", dtype=dtype, case=number):
            if case.training is None:
                with torch.inference_mode():
                    _output(torch, model, image, recorder)
            else:
                loaded = None  # since a step changes the running statistics
                _take_step(torch, model, image, case.training, recorder)


def _output(torch: Any, model: Any, image: Any, recorder: Recorder) -> Any:
    given = image.clone()
    output = model(image)
    if not isinstance(output, torch.Tensor):
        raise other_output(output, wanted="a Tensor")
    if not torch.equal(image, given):
        raise ValueError("the model writes over the image that it is given")
    recorder.value(OUTPUT, _array(output))
    return output


def _take_step(
    torch: Any, model: Any, image: Any, training: TrainingRequest, recorder: Recorder
) -> None:
    model.train()
    for name, module in model.named_modules():
        if recorder.rests(name):
            module.eval()
    output = _output(torch, model, image, recorder)
    labels = torch.from_numpy(np.load(training.labels)).to(image.device)
    # Of probabilities only the labels': a logarithm of 0 has no gradient.
    taken = (output if training.probabilities else output.log_softmax(1)).gather(1, labels[:, None])
    loss = -(taken.log() if training.probabilities else taken).mean()
    loss.backward()
    arrays = {
        name: _array(value.grad)
        for name, value in model.named_parameters()
        if value.grad is not None
    }
    recorder.step(loss.item(), arrays | {name: _array(value) for name, value in _buffers(model)})
    model.zero_grad(set_to_none=True)
    model.eval()


def _set_up_device(torch: Any, request: Request, recorder: Recorder) -> None:
    if request.device == "cpu":
        return
    if not torch.cuda.is_available():
        raise Unavailable("torch finds no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    recorder.device_name = torch.cuda.get_device_name()


def _parameters(model: Any) -> list[SeenParameter]:
    trainable = [
        SeenParameter(name, tuple(value.shape), value.requires_grad, _dtype(value))
        for name, value in model.named_parameters()
    ]
    buffers = [
        SeenParameter(name, tuple(value.shape), trainable=False, dtype=_dtype(value))
        for name, value in _buffers(model)
    ]
    return trainable + buffers


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _buffers(model: Any) -> list[tuple[str, Any]]:
    """The running statistics by name, and what else is saved.

    PyTorch's counter of training steps is nobody else's.
    """
    saved = model.state_dict().keys()
    return [
        (name, value)
        for name, value in model.named_buffers()
        if name in saved and not name.endswith(COUNTER)
    ]


def _hook(torch: Any, model: Any, recorder: Recorder) -> None:
    """Notes what every module but the model itself receives and gives.

    Inputs are taken before the module runs and all are copied: an in-place activation overwrites
    them.
    """
    for name, module in model.named_modules():
        if name:
            module.register_forward_pre_hook(_note_input(torch, name, recorder))
            module.register_forward_hook(_note_output(torch, name, recorder))


def _note_input(torch: Any, name: str, recorder: Recorder) -> Callable[[Any, Any], None]:
    def note(_: Any, inputs: Any) -> None:
        if len(inputs) == 1 and isinstance(inputs[0], torch.Tensor):
            _note(recorder, name + INPUT, inputs[0])

    return note


def _note_output(torch: Any, name: str, recorder: Recorder) -> Callable[[Any, Any, Any], None]:
    def note(_: Any, __: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            _note(recorder, name, output)

    return note


def _note(recorder: Recorder, label: str, tensor: Any) -> None:
    if recorder.wants(label):
        recorder.value(label, _array(tensor))
    else:
        recorder.shape(label, tuple(tensor.shape))


def _array(tensor: Any) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    if tensor.dtype == framework("torch").bfloat16:
        # NumPy has no such type, and float32 holds all its numbers.
        tensor = tensor.float()
    return np.array(tensor.numpy())


RUNNER = Runner(
    target="torch",
    file=_FILE,
    requires={"torch": "torch"},
    environment={},
    due="always",
    run=_run,
    running_variance="unbiased",
)
