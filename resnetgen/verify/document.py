"""What a certificate holds, and the JSON that `build` and `verify` print, key by key.

The JSON Schema of certificates comes from these types, and what writes them is checked against
them.
"""

from typing import Any, Literal, NotRequired

# Pydantic does not take that of `typing` before Python 3.12.
from typing_extensions import TypedDict

Status = Literal["passed", "failed", "partial", "not_run"]
TargetStatus = Literal["passed", "failed", "not_run"]
Level = Literal["shapes", "forward", "train"]
WeightsState = Literal["shipped", "absent"]


class RunJson(TypedDict):
    """All values that one evaluator computed in one dtype, against the reference.

    Null stands for a difference that has no size, as of values that are not finite.
    """

    evaluator: str
    dtype: str
    values_compared: int
    max_abs_diff: float | None
    max_rel_diff: float | None
    tolerance: float
    bound: float
    minimum_tolerance: float | None


class CertifiedRunJson(RunJson):
    """The same, and which of the certificate's inputs it is of, counted from 0.

    `max_rel_diff_at` has the largest relative difference of each value that was compared, by the
    name of its op: those of the stem and the head, and what each block gives. Older certificates
    are without it.
    """

    inputs_compared: list[int]
    max_rel_diff_at: NotRequired[dict[str, float | None]]


class TrainingJson(TypedDict):
    """One step of training, against the reference."""

    dtype: str
    batch: int
    scale: float
    loss: float | None
    loss_rel_diff: float | None
    gradients_compared: int
    max_rel_diff: float | None
    tolerance: float
    conditioning: float
    bound: float
    minimum_tolerance: float | None
    statistics_compared: int
    statistics_max_rel_diff: float | None
    running_variance: Literal["biased", "unbiased"]
    switched_off: list[str]


class _Verdict(TypedDict):
    """A target's verdict; figures are of the widest dtype that ran.

    `training_scaled` is of steps on the same images times a small and a large number.
    """

    status: TargetStatus
    reason: str | None
    device: str
    dtype: str | None
    params: int | None
    output_shape: list[int] | None
    max_abs_diff: float | None
    max_rel_diff: float | None
    bound: float | None
    minimum_tolerance: float | None
    first_divergence: str | None
    cause: str | None
    training: NotRequired[TrainingJson]
    training_scaled: NotRequired[list[TrainingJson]]


class TargetJson(_Verdict):
    """A target in the output of `build --json` and `verify --json`."""

    runs: list[RunJson]


class CertifiedTargetJson(_Verdict):
    """A target in a certificate: also what it ran on, and how much was compared."""

    device_name: str | None
    versions: dict[str, str]
    parameters_compared: int
    shapes_compared: int
    blocks_compared: int
    runs: list[CertifiedRunJson]


class InputJson(TypedDict):
    """One input on which targets were run, NCHW; `training` where it was a step of it."""

    weights: Literal["shipped", "fresh", "drawn"]
    shape: list[int]
    scale: float
    training: NotRequired[bool]


class LeftOutJson(InputJson):
    """An input that the dtype cannot run, or on which it would prove nothing."""

    reason: str


class VerificationJson(TypedDict):
    """The `verification` object of `build --json` and `verify --json`."""

    status: Status
    level: Level
    reference: str
    weights: WeightsState
    targets: dict[str, TargetJson]
    inputs_left_out: NotRequired[list[LeftOutJson]]


class CertificateJson(TypedDict):
    """A certificate: what was proven, of which bytes, with which versions, and how closely.

    `files` has the SHA-256, in hex, of every file that was judged.
    """

    name: str
    spec_sha256: str
    status: Status
    level: Level
    reference: str
    weights: WeightsState
    seed: int
    files: dict[str, str]
    versions: dict[str, str]
    machine: str
    inputs: list[InputJson]
    inputs_left_out: NotRequired[list[LeftOutJson]]
    targets: dict[str, CertifiedTargetJson]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of certificates."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(CertificateJson).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def parse(text: bytes) -> CertificateJson:
    """A certificate from its JSON; raises ValueError where it is none."""
    from pydantic import TypeAdapter

    return TypeAdapter(CertificateJson).validate_json(text, strict=True)
