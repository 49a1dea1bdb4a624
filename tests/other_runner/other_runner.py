"""Another package's runner, which needs no framework: it interprets the spec beside its file.

Its file, `model_other.py`, builds a function that may tamper with each value, or worse.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from resnetgen.ir.rules import network_parameters
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
    network = lower(load(str(Path(request.directory, "spec.yaml"))).spec)
    recorder.parameters += [
        SeenParameter(each.name, each.shape, each.trainable) for each in network_parameters(network)
    ]
    for number, case in enumerate(request.cases):
        stored = read(Path(case.weights, "model.safetensors"), network)
        given = {"input": np.load(case.image)}
        with recorder.run("other", dtype="float64", case=number):
            for op, value in interpret(
                network.ops, given, tensors=lambda op, _, stored=stored: stored.tensors(op)
            ):
                recorder.value(op.name, tamper(op.name, value))
            recorder.value(OUTPUT, value)


RUNNER = Runner(
    target="other",
    file="model_other.py",
    requires={},
    environment={},
    default=True,
    run=_run,
)
MISSING = replace(RUNNER, target="missing", requires={"no_such_framework": "all"}, default=False)
