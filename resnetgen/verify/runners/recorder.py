"""Collects what a runner sees, and keeps it when the runner breaks off."""

import re
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.verify.runners.protocol import (
    Dtype,
    Outcome,
    Report,
    Request,
    SeenBuild,
    SeenInitializer,
    SeenParameter,
    SeenRun,
    SeenSignature,
    SeenStep,
    SeenValue,
)


class NoSuchDtype(Exception):
    """The target does not compute in the dtype that was asked for."""


class Recorder:
    """The report in the making."""

    def __init__(self, request: Request) -> None:
        self.versions: dict[str, str] = {}
        self.device_name = request.device
        self.parameters: list[SeenParameter] = []
        self.variants: dict[str, list[SeenParameter]] = {}
        """Those of models that were built otherwise, if they are others; by how they were built."""
        self.initializers: list[SeenInitializer] | None = None
        self.signature: SeenSignature | None = None
        self.rebuilt: SeenBuild | None = None
        self.listening = True
        """False while layers are called with what a framework traces, and with no values."""
        self._directory = Path(request.directory)
        self._keep = re.compile(request.keep)
        self._resting = re.compile(request.resting)
        self._scratch = Path(request.scratch)
        self._runs: list[SeenRun] = []
        self._seen: list[SeenValue] = []
        self._arrays: dict[str, NDArray[Any]] = {}
        self._step: SeenStep | None = None

    @contextmanager
    def run(self, evaluator: str, *, dtype: Dtype, case: int) -> Generator[None]:
        """Within it, values belong to this run; one that breaks off keeps what it saw."""
        self._seen, self._arrays, self._step = [], {}, None
        error: str | None = None
        try:
            yield
        except Exception as broken:
            error = self.describe(broken)
            raise
        finally:
            file = self._scratch / f"values{len(self._runs)}.npz"
            np.savez(file, **self._arrays)  # pyright: ignore[reportArgumentType]  (its stub confuses the names with allow_pickle)
            seen = tuple(self._seen)
            self._runs.append(SeenRun(evaluator, dtype, case, seen, file.name, error, self._step))

    def wants(self, label: str) -> bool:
        """Whether the values under this label are to be sent."""
        return self._keep.fullmatch(label) is not None

    def rests(self, label: str) -> bool:
        """Whether what this label means stays as in inference."""
        return self._resting.fullmatch(label) is not None

    def step(self, loss: float, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Notes what came of a step of training: see SeenStep."""
        file = self._scratch / f"step{len(self._runs)}.npz"
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]  (as above)
        self._step = SeenStep(loss, file.name)

    def value(self, label: str, array: NDArray[Any]) -> None:
        """Notes a value: NCHW, or (N, features)."""
        kept = self.wants(label)
        if kept:
            if array.dtype.name == "bfloat16":
                # NumPy's files have no such type, and float32 holds all its numbers.
                array = array.astype(np.float32)
            self._arrays[str(len(self._seen))] = array
        self._seen.append(SeenValue(label, array.shape, kept))

    def shape(self, label: str, shape: tuple[int, ...]) -> None:
        """Notes a value of which only the shape is known."""
        self._seen.append(SeenValue(label, shape, kept=False))

    def describe(self, error: Exception) -> str:
        """What was raised, behind the line of the model's files that it came from, if there is one.

        Of lines that called each other it is the innermost.
        """
        frames = traceback.extract_tb(error.__traceback__)
        passed = [(frame.filename, frame.lineno) for frame in frames]
        message = str(error)
        if isinstance(error, SyntaxError):
            passed.append((error.filename or "", error.lineno))
            # Its text repeats the file and the line.
            message = error.msg
        said = f"{type(error).__name__}: {message}"
        for file, line in reversed(passed):
            if Path(file).parent == self._directory:
                return f"{Path(file).name}:{line}: {said}"
        return said

    def report(self, outcome: Outcome, reason: str | None) -> Report:
        """What was seen so far."""
        return Report(
            outcome=outcome,
            reason=reason,
            versions=self.versions,
            device_name=self.device_name,
            parameters=tuple(self.parameters),
            variants={name: tuple(each) for name, each in self.variants.items()},
            initializers=None if self.initializers is None else tuple(self.initializers),
            signature=self.signature,
            rebuilt=self.rebuilt,
            runs=tuple(self._runs),
        )
