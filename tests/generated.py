"""Looks at generated sources from outside: lints them, and imports them."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

# ruff's rules for people's code, plus its own; line length is what the templates are written for.
RUFF_RULES = "E,F,I,UP,B,RUF,SIM,RET,PT"


def hold_to_ruff(*paths: Path, ignored: str | None = None) -> None:
    """Fails unless ruff leaves the files alone; `ignored` is a pattern of files and a rule."""
    options = ["--isolated", "--no-cache", "--target-version", "py311", "--line-length", "100"]
    exceptions = [] if ignored is None else ["--per-file-ignores", ignored]
    for command in (["format", "--diff"], ["check", "--select", RUFF_RULES, *exceptions]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options, *paths],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def import_file(path: Path) -> Any:
    """A module of its own for each file, whatever was imported before."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
