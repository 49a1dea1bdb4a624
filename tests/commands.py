"""Runs the command line in this process, as its entry point does."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from resnetgen.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


Run = Callable[..., Ran]


def runner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that takes arguments and gives what came of them."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["resnetgen", *map(str, arguments)])
        capsys.readouterr()
        code = main()
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
