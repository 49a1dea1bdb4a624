"""Skips a test where a library that it needs is not installed."""

from importlib.util import find_spec

import pytest


def skip_without(*modules: str) -> None:
    """Looks for the modules and imports none: frameworks in one process disturb each other."""
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
