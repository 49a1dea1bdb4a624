"""Imports frameworks in a process that was started for one, and says which ones there are."""

import importlib
import os
import signal
import time
from collections.abc import Mapping
from importlib.util import find_spec
from threading import Thread
from typing import Any


class Unavailable(Exception):
    """What was asked for cannot run here: its framework or device is missing."""


def framework(name: str) -> Any:
    """Imports a framework; raises Unavailable for one that is missing or broken.

    The type is Any because most frameworks have no stubs, and none may be needed to check types.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise Unavailable(f"{name} cannot be imported: {error}") from error


def missing(modules: Mapping[str, str]) -> str | None:
    """Which of these modules is not installed, and which extra of resnetgen brings it."""
    for module, extra in modules.items():
        if not is_importable(module):
            return f"{module} is not installed: install resnetgen[{extra}]"
    return None


def is_importable(module: str) -> bool:
    """Whether any finder has it: what is installed to be edited may have one of its own."""
    try:
        return find_spec(module) is not None
    # The package around it is not there, or it is what runs and has no file.
    except (ModuleNotFoundError, ValueError):
        return False


def end_with(parent: int) -> None:
    """Has this process and all that it started end once the process that started it is gone.

    It may be gone already, and this one be another's child by now.
    """
    Thread(target=_wait_for, args=(parent,), daemon=True).start()


def _wait_for(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(os.getpgrp(), signal.SIGKILL)
