"""Imports generated files for a runner, and finds the factory in such a file."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

LOADER = "load_safetensors"


def load_source(path: Path) -> ModuleType:
    """Runs a Python file as a module: its text as it is now, with no bytecode read or written."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def refuse_other(model: Any, kind: type, build: Callable[..., Any], *, wanted: str) -> None:
    """Raises where what a factory returned is none of its framework's models."""
    if not isinstance(model, kind):
        # A function that is an object has no name of its own.
        name = getattr(build, "__name__", type(build).__name__)
        raise TypeError(f"{name}() returned {type(model).__name__}, not {wanted}")


def other_output(output: Any, *, wanted: str) -> TypeError:
    """What to raise where a model returned none of its framework's arrays."""
    return TypeError(f"the model returned {type(output).__name__}, not {wanted}")


def factory(module: ModuleType) -> Callable[..., Any]:
    """The one function in the module's `__all__` that builds the model."""
    exported: list[str] = list(getattr(module, "__all__", ()))
    found = [
        getattr(module, name)
        for name in exported
        if name != LOADER and not isinstance(getattr(module, name), type)
    ]
    if len(found) != 1:
        raise ValueError(f"__all__ = {exported} names {len(found)} functions that build a model")
    return found[0]
