"""Another package's runner, which needs no framework: it interprets the spec beside its file.

Its file, `model_other.py`, builds a function that may tamper with each value, or worse.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.ir.rules import network_parameters, shapes
from resnetgen.lower import lower
from resnetgen.spec.load import load
from resnetgen.verify.reference import run as interpret
from resnetgen.verify.runners.protocol import OUTPUT, Request, SeenParameter
from resnetgen.verify.runners.recorder import Recorder
from resnetgen.verify.runners.registry import Runner
from resnetgen.verify.runners.source import factory, load_source
from resnetgen.verify.stored import read


def _run(request: Request, recorder: Recorder) -> None:
    tamper = factory(load_source(Path(request.directory, "model_other.py")))()
    network = _network(request)
    recorder.parameters += _parameters(network)
    dtype = request.dtype or "float64"
    for number, case in enumerate(request.cases):
        if dtype not in case.dtypes:
            continue
        stored = read(Path(case.weights, "model.safetensors"), network)
        given = {"input": np.load(case.image)}
        with recorder.run("other", dtype=dtype, case=number):
            for op, value in interpret(
                network.ops, given, tensors=lambda op, _, stored=stored: stored.tensors(op)
            ):
                recorder.value(op.name, tamper(op.name, value))
            recorder.value(OUTPUT, value)


def _run_with_a_parameter_twice(request: Request, recorder: Recorder) -> None:
    _run(request, recorder)
    recorder.parameters.append(recorder.parameters[0])


def _run_blindly(request: Request, recorder: Recorder) -> None:
    """Shows every shape, and then only the value of a block that is not there."""
    network = _network(request)
    recorder.parameters += _parameters(network)
    for number, case in enumerate(request.cases):
        image = np.load(case.image)
        with recorder.run("blind", dtype="float64", case=number):
            for name, shape in shapes(network, image.shape[2:]).items():
                recorder.shape(name, (len(image), *shape))
    for number in range(len(request.cases)):
        with recorder.run("blind", dtype="float64", case=number):
            recorder.value("layer1.99", np.zeros(1))


def _run_once(request: Request, recorder: Recorder) -> None:
    _run(replace(request, cases=request.cases[:1]), recorder)


def _network(request: Request) -> Network:
    return lower(load(str(Path(request.directory, "spec.yaml"))).spec)


def _parameters(network: Network) -> list[SeenParameter]:
    return [
        SeenParameter(each.name, each.shape, each.trainable, "float32")
        for each in network_parameters(network)
    ]


RUNNER = Runner(
    target="other",
    file="model_other.py",
    requires={},
    environment={},
    due="always",
    run=_run,
    beside=("model_other.txt",),
)
TWICE = replace(RUNNER, target="twice", due="never", run=_run_with_a_parameter_twice)
BLIND = replace(RUNNER, target="blind", due="never", run=_run_blindly)
ONCE = replace(RUNNER, target="once", due="never", run=_run_once)
MISSING = replace(RUNNER, target="missing", requires={"no_such_framework": "all"}, due="never")
