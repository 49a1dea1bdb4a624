"""Runs somebody else's PyTorch model, which a target's name MODULE:FUNCTION calls for."""

import importlib
import os
import sys
from operator import attrgetter

from resnetgen.child.framework import Unavailable, framework
from resnetgen.verify.runners.protocol import Request
from resnetgen.verify.runners.recorder import Recorder
from resnetgen.verify.runners.registry import Runner
from resnetgen.verify.runners.torch import run_model

_FOLDER = "RESNETGEN_FOLDER_OF_THE_PEER"
"""The environment variable that says where the command was called."""


def peer(reference: str) -> Runner:
    """The runner of the model that FUNCTION() of MODULE returns.

    MODULE is looked for where Python does, and then in the directory that this is called in.
    """
    return Runner(
        target=reference,
        file=None,
        requires={"torch": "torch"},
        environment={_FOLDER: os.getcwd()},
        due="never",
        run=_run,
        running_variance="unbiased",
    )


def _run(request: Request, recorder: Recorder) -> None:
    framework("torch")
    module, _, name = request.target.partition(":")
    # Behind all that Python has: it is the user's, who may have called a file there anything.
    sys.path.append(os.environ[_FOLDER])
    try:
        found = importlib.import_module(module)
    except Exception as error:  # What a module of somebody else's raises can be anything.
        raise Unavailable(f"importing {module} failed: {recorder.describe(error)}") from error
    try:
        function = attrgetter(name)(found)
    except AttributeError as error:
        raise Unavailable(f"{module} has no {name}") from error
    run_model(function, request, recorder)
