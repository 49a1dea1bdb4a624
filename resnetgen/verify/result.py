"""What a verification found, and how it reads as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "partial", "not_run"]
TargetStatus = Literal["passed", "failed", "not_run"]
Level = Literal["shapes", "forward"]


@dataclass(frozen=True, slots=True)
class RunFigures:
    """All values that one evaluator computed in one dtype, against the reference.

    `tolerance` is the law's constant for the dtype, `bound` what it allows at the logits, and
    `minimum_tolerance` the smallest constant that would have passed.
    """

    evaluator: str
    dtype: str
    cases: tuple[int, ...]
    """The positions, among the verification's cases, of those whose values were compared."""
    values: int
    max_abs_diff: float
    max_rel_diff: float
    tolerance: float
    bound: float
    minimum_tolerance: float

    def to_json(self) -> dict[str, object]:
        return {
            "evaluator": self.evaluator,
            "dtype": self.dtype,
            "values_compared": self.values,
            "max_abs_diff": _finite(self.max_abs_diff),
            "max_rel_diff": _finite(self.max_rel_diff),
            "tolerance": self.tolerance,
            "bound": self.bound,
            "minimum_tolerance": _finite(self.minimum_tolerance),
        }


@dataclass(frozen=True, slots=True)
class TargetResult:
    """One target's verdict. Figures are of the widest dtype that ran; `runs` has them all.

    `due` is false of a target for which the level or dtype does not exist.
    """

    status: TargetStatus
    reason: str | None
    device: str
    device_name: str | None = None
    due: bool = True
    params: int | None = None
    """Trainable values, counted by the framework; None where it built no model."""
    output_shape: tuple[int, ...] | None = None
    parameters_compared: int = 0
    shapes_compared: int = 0
    blocks_compared: int = 0
    runs: tuple[RunFigures, ...] = ()
    first_divergence: str | None = None
    cause: str | None = None
    versions: Mapping[str, str] | None = None

    @property
    def widest(self) -> RunFigures | None:
        """The figures of the widest dtype, or None where nothing was compared."""
        return max(self.runs, key=lambda run: run.dtype == "float64", default=None)

    def to_json(self) -> dict[str, object]:
        """The target's object in the output of `build --json` and `verify --json`."""
        widest = self.widest
        return {
            "status": self.status,
            "reason": self.reason,
            "device": self.device,
            "dtype": widest.dtype if widest else None,
            "params": self.params,
            "output_shape": None if self.output_shape is None else list(self.output_shape),
            "max_abs_diff": _finite(widest.max_abs_diff) if widest else None,
            "max_rel_diff": _finite(widest.max_rel_diff) if widest else None,
            "bound": widest.bound if widest else None,
            "minimum_tolerance": _finite(widest.minimum_tolerance) if widest else None,
            "first_divergence": self.first_divergence,
            "cause": self.cause,
            "runs": [run.to_json() for run in self.runs],
        }


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """One input on which targets were run."""

    weights: Literal["shipped", "drawn"]
    shape: tuple[int, ...]
    scale: float


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict on a directory."""

    level: Level
    reference: str
    weights: Literal["shipped", "absent"]
    seed: int
    cases: tuple[CaseFacts, ...]
    files: Mapping[str, str]
    """The SHA-256, in hex, of every file that was judged, from before it ran."""
    targets: Mapping[str, TargetResult]

    @property
    def ran(self) -> bool:
        """Whether there is a verdict on any target."""
        return any(result.status != "not_run" for result in self.targets.values())

    @property
    def status(self) -> Status:
        """Failed if any target failed or none passed; partial if one that was due did not run."""
        results = self.targets.values()
        if any(result.status == "failed" for result in results):
            return "failed"
        if not any(result.status == "passed" for result in results):
            return "failed"
        if any(result.status == "not_run" and result.due for result in results):
            return "partial"
        return "passed"

    def to_json(self) -> dict[str, object]:
        """The `verification` object of `build --json` and `verify --json`."""
        return {
            "status": self.status,
            "level": self.level,
            "reference": self.reference,
            "weights": self.weights,
            "targets": {name: result.to_json() for name, result in self.targets.items()},
        }


def _finite(value: float) -> float | None:
    """JSON has no infinity: null stands for a difference that has no size."""
    return value if math.isfinite(value) else None
