"""What a verification found, and how it reads as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from resnetgen.diagnostics import Diagnostic
from resnetgen.verify.compare import part
from resnetgen.verify.document import (
    InputJson,
    LeftOutJson,
    Level,
    RunJson,
    Status,
    TargetJson,
    TargetStatus,
    TrainingJson,
    VerificationJson,
    Weights,
    WeightsState,
)
from resnetgen.verify.dtypes import FORMATS, Dtype, is_narrow

LEVELS: tuple[Level, ...] = get_args(Level)
"""Each proves all that those before it do."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """All values that one evaluator computed in one dtype, against the reference.

    `tolerance` is the law's constant for the dtype, `bound` the most that it allows of any value
    compared, and `minimum_tolerance` the smallest constant that would have passed. A difference is
    infinite where something had no number, or a run did not come to its end.
    """

    evaluator: str
    dtype: Dtype
    cases: tuple[int, ...]
    """The positions, among the verification's cases, of those whose values were compared."""
    values: int
    max_abs_diff: float
    max_rel_diff: float
    max_rel_diff_at: Mapping[str, float]
    """The same of each value that was compared, by its name: those of the stem and the head, and
    what blocks give."""
    tolerance: float
    bound: float
    minimum_tolerance: float

    def to_json(self) -> RunJson:
        return {
            "evaluator": self.evaluator,
            "dtype": self.dtype,
            "values_compared": self.values,
            "max_abs_diff": finite(self.max_abs_diff),
            "max_rel_diff": finite(self.max_rel_diff),
            "tolerance": self.tolerance,
            "bound": self.bound,
            "minimum_tolerance": finite(self.minimum_tolerance),
        }


@dataclass(frozen=True, slots=True)
class TrainingFigures:
    """One step of training, against the reference.

    `tolerance` is what a gradient may be off by, relative to its scale, or 100 times the
    `conditioning`, if that is more: by how much the reference's own gradients move when images and
    norms' inputs do by one part in 1e15. `bound` is the larger of both, and `minimum_tolerance` the
    smallest tolerance that would have passed.
    """

    dtype: str
    batch: int
    scale: float
    """What the images are multiplied by."""
    loss: float
    loss_rel_diff: float
    gradients: int
    max_rel_diff: float
    tolerance: float
    conditioning: float
    bound: float
    minimum_tolerance: float
    statistics: int
    """How many running means and variances were compared."""
    statistics_max_rel_diff: float
    running_variance: Literal["biased", "unbiased"]
    switched_off: tuple[str, ...]
    """The ops that would have drawn at random, and were left as in inference."""

    @property
    def largest(self) -> float:
        """The relative difference of what is off most."""
        return max(self.loss_rel_diff, self.max_rel_diff, self.statistics_max_rel_diff)

    def to_json(self) -> TrainingJson:
        return {
            "dtype": self.dtype,
            "batch": self.batch,
            "scale": self.scale,
            "loss": finite(self.loss),
            "loss_rel_diff": finite(self.loss_rel_diff),
            "gradients_compared": self.gradients,
            "max_rel_diff": finite(self.max_rel_diff),
            "tolerance": self.tolerance,
            "conditioning": self.conditioning,
            "bound": self.bound,
            "minimum_tolerance": finite(self.minimum_tolerance),
            "statistics_compared": self.statistics,
            "statistics_max_rel_diff": finite(self.statistics_max_rel_diff),
            "running_variance": self.running_variance,
            "switched_off": list(self.switched_off),
        }


@dataclass(frozen=True, slots=True)
class Unproven:
    """From where on, in one case and dtype, what was found is neither right nor wrong: rounding
    alone may move values so far, or further."""

    name: str
    rounding: float
    """How far it may move that value, relative to its scale."""

    def __str__(self) -> str:
        return f"rounding alone may move {self.name} by {part(self.rounding)}"


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
    died: bool = False
    """Whether its process left no result, or none but that this machine was too small: that is no
    verdict on any file."""
    params: int | None = None
    """Trainable values, counted by the framework; None where it built no model."""
    output_shape: tuple[int, ...] | None = None
    parameters_compared: int = 0
    shapes_compared: int = 0
    blocks_compared: int = 0
    runs: tuple[RunFigures, ...] = ()
    training: tuple[TrainingFigures, ...] = ()
    """Of each step of training that could be compared."""
    unproven: Mapping[tuple[int, Dtype], Unproven] = field(
        default_factory=dict[tuple[int, Dtype], Unproven]
    )
    """By the position among the verification's cases, and the dtype."""
    first_divergence: str | None = None
    cause: str | None = None
    versions: Mapping[str, str] | None = None

    @property
    def widest(self) -> RunFigures | None:
        """The figures of the widest dtype, of what was off most in it; None where nothing was
        compared."""
        return max(
            self.runs, key=lambda run: (FORMATS[run.dtype].digits, run.max_rel_diff), default=None
        )

    def to_json(self) -> TargetJson:
        """The target's object in the output of `build --json` and `verify --json`."""
        widest = self.widest
        found: TargetJson = {
            "status": self.status,
            "reason": self.reason,
            "device": self.device,
            "dtype": widest.dtype if widest else None,
            "params": self.params,
            "output_shape": None if self.output_shape is None else list(self.output_shape),
            "max_abs_diff": finite(widest.max_abs_diff) if widest else None,
            "max_rel_diff": finite(widest.max_rel_diff) if widest else None,
            "bound": widest.bound if widest else None,
            "minimum_tolerance": finite(widest.minimum_tolerance) if widest else None,
            "first_divergence": self.first_divergence,
            "cause": self.cause,
            "runs": [run.to_json() for run in self.runs],
        }
        # Programs read `training`, which is older than steps at other scales: it stays one step, on
        # the images as they are.
        for step in self.training:
            if step.scale == 1.0:
                found["training"] = step.to_json()
            else:
                found.setdefault("training_scaled", []).append(step.to_json())
        return found


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """One input on which targets were run."""

    weights: Weights
    shape: tuple[int, ...]
    scale: float
    training: bool = False

    def to_json(self) -> InputJson:
        facts: InputJson = {
            "weights": self.weights,
            "shape": list(self.shape),
            "scale": self.scale,
        }
        if self.training:
            facts["training"] = True
        return facts

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        scale = "" if self.scale == 1.0 else f", times {self.scale:g}"
        training = ", in training" if self.training else ""
        return f"{self.weights} weights, input {shape}{scale}{training}"


@dataclass(frozen=True, slots=True)
class LeftOutFacts:
    """One input that a dtype cannot run, or on which it would prove nothing, be it from some layer
    on."""

    case: CaseFacts
    reason: str

    def to_json(self) -> LeftOutJson:
        return {**self.case.to_json(), "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict on a directory."""

    level: Level
    reference: str
    weights: WeightsState
    seed: int
    cases: tuple[CaseFacts, ...]
    left_out: tuple[LeftOutFacts, ...]
    files: Mapping[str, str]
    """The SHA-256, in hex, of every file that was judged, from before it ran."""
    targets: Mapping[str, TargetResult]
    changed: tuple[str, ...] = ()
    """The files of which others were there in the end."""
    unwritten: Diagnostic | None = None
    """What kept the certificate from being written, where there is a verdict to certify."""

    @property
    def ran(self) -> bool:
        """Whether there is a verdict on any target."""
        return any(result.status != "not_run" for result in self.targets.values())

    @property
    def certifies(self) -> bool:
        """Whether there is a verdict on files that are there, and a place to write it."""
        if self.changed or self.unwritten is not None:
            return False
        results = self.targets.values()
        return any(result.status != "not_run" and not result.died for result in results)

    @property
    def narrow(self) -> Dtype | None:
        """The type of 16 bits that targets were run in, if it was one."""
        runs = (run for result in self.targets.values() for run in result.runs)
        return next((run.dtype for run in runs if is_narrow(run.dtype)), None)

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

    def to_json(self) -> VerificationJson:
        """The `verification` object of `build --json` and `verify --json`."""
        found: VerificationJson = {
            "status": self.status,
            "level": self.level,
            "reference": self.reference,
            "weights": self.weights,
            "targets": {name: result.to_json() for name, result in self.targets.items()},
        }
        if self.left_out:
            found["inputs_left_out"] = [each.to_json() for each in self.left_out]
        return found


def finite(value: float) -> float | None:
    """JSON has no infinity: null stands for a difference that has no size."""
    return value if math.isfinite(value) else None
