"""Other people's models, to stand beside ours."""

import importlib
from types import ModuleType
from typing import Any
from unittest import mock


def torchvision_models() -> ModuleType:
    """`torchvision.models`, also where torchvision was built for CUDA and PyTorch was not.

    Then its detection operators do not exist, and describing them to PyTorch fails the import; the
    classification models need none of them.
    """
    import torch

    register = torch.library.register_fake

    def register_fake(op: Any, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(op, str) and op.startswith("torchvision::"):
            return lambda function: function
        return register(op, *arguments, **keywords)

    with mock.patch.object(torch.library, "register_fake", register_fake):
        return importlib.import_module("torchvision.models")
