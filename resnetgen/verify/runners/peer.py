"""Runs somebody else's PyTorch model, which a target's name MODULE:FUNCTION calls for."""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from operator import attrgetter
from types import ModuleType

from resnetgen.child.framework import Unavailable, framework
from resnetgen.verify.runners.protocol import Request
from resnetgen.verify.runners.recorder import Recorder
from resnetgen.verify.runners.registry import Runner
from resnetgen.verify.runners.torch import run_model

_FOLDER = "RESNETGEN_FOLDER_OF_THE_PEER"
"""The environment variable that says where the command was called."""


def peer(reference: str) -> Runner:
    """The runner of the model that FUNCTION() of MODULE returns.

    MODULE is looked for in the directory that this is called in, and then where Python does. What
    lies beside it hides nothing of Python's, and nothing that is installed.
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


class _Here(MetaPathFinder):
    """Finds the one module, or package, in the folder."""

    def __init__(self, name: str, folder: str) -> None:
        self._name = name
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        found = PathFinder.find_spec(fullname, [self._folder])
        # Any folder of that name would be a package without a file.
        return None if found is None or found.origin is None else found


def _run(request: Request, recorder: Recorder) -> None:
    framework("torch")
    module, _, name = request.target.partition(":")
    folder = os.environ[_FOLDER]
    sys.meta_path.insert(0, _Here(module.partition(".")[0], folder))
    sys.path.append(folder)
    try:
        found = importlib.import_module(module)
    except Exception as error:  # What a module of somebody else's raises can be anything.
        raise Unavailable(f"importing {module} failed: {recorder.describe(error)}") from error
    try:
        function = attrgetter(name)(found)
    except AttributeError as error:
        raise Unavailable(f"{module} has no {name}") from error
    run_model(function, request, recorder)
