"""What a certificate holds, and the JSON that `build` and `verify` print, key by key.

The JSON Schema of certificates comes from these types, and what writes them is checked against
them.
"""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias, get_type_hints

# Pydantic does not take the TypedDict of `typing` before Python 3.12.
from typing_extensions import Doc, TypedDict

Status = Literal["passed", "failed", "partial"]
TargetStatus = Literal["passed", "failed", "not_run"]
Level = Literal["shapes", "forward", "train"]
WeightsState = Literal["shipped", "absent"]
Weights = Literal["shipped", "fresh", "drawn", "silent"]
"""`shipped` are the directory's own, `fresh` those that a seed gives where it has none, and `drawn`
those of which no value hides anything. `silent` are these with each norm's first channel at 0, as
all are of which a training begins with gammas of 0: it shows what a ReLU's gradient is there."""


class RunJson(TypedDict):
    """All values that one evaluator computed in one dtype, against the reference.

    Differences are null where they have no size: where values are not finite, or a run did not
    come to its end.
    """

    evaluator: Annotated[
        str,
        Doc(
            "What ran the file: a framework, or what runs ONNX's graphs. `keras` is its model for "
            "images of any size, `keras, fixed size` one for each image's own."
        ),
    ]
    dtype: Annotated[str, Doc("The type that was computed in, and measured.")]
    values_compared: Annotated[int, Doc("How many of the network's values, over all inputs.")]
    max_abs_diff: Annotated[float | None, Doc("The largest difference of any number.")]
    max_rel_diff: Annotated[
        float | None,
        Doc("The largest difference of any value, in units of its largest entry in the reference."),
    ]
    tolerance: Annotated[float, Doc("What one op may lose in this dtype, relative to its value.")]
    bound: Annotated[
        float,
        Doc("The tolerance times the measured growth of rounding: the most allowed of any value."),
    ]
    minimum_tolerance: Annotated[float | None, Doc("The least tolerance that would have passed.")]


class CertifiedRunJson(RunJson):
    """The same, and which inputs and values it is of."""

    inputs_compared: Annotated[list[int], Doc("Which of `inputs`, counted from 0.")]
    max_rel_diff_at: Annotated[
        NotRequired[dict[str, float | None]],
        Doc(
            "The largest relative difference of each value that was compared, by the name of its "
            "op: those of the stem and the head, and what each block gives. Older certificates are "
            "without it."
        ),
    ]


class TrainingJson(TypedDict):
    """One step of training, against the reference: the loss, every gradient, and what norms keep.

    Differences are null where they have no size.
    """

    dtype: Annotated[str, Doc("The type that was computed in, and measured.")]
    batch: Annotated[int, Doc("How many images.")]
    scale: Annotated[float, Doc("What the images were multiplied by.")]
    loss: Annotated[float | None, Doc("The mean of -log(probability of the label).")]
    loss_rel_diff: Annotated[
        float | None, Doc("The loss's difference, relative to it or to the largest logit.")
    ]
    gradients_compared: Annotated[int, Doc("Of how many tensors.")]
    max_rel_diff: Annotated[
        float | None,
        Doc("The largest difference of any gradient, relative to its layer's largest."),
    ]
    tolerance: Annotated[float, Doc("What a gradient may be off by, if it is conditioned well.")]
    conditioning: Annotated[
        float,
        Doc(
            "How far the reference's own gradients move, relative to their scale, when images and "
            "what norms receive move by one part in 1e15."
        ),
    ]
    bound: Annotated[
        float, Doc("The tolerance, or 100 times the conditioning, where that is more.")
    ]
    minimum_tolerance: Annotated[float | None, Doc("The least tolerance that would have passed.")]
    statistics_compared: Annotated[int, Doc("How many running means and variances.")]
    statistics_max_rel_diff: Annotated[
        float | None, Doc("The largest difference of what the step added to any of them.")
    ]
    running_variance: Annotated[
        Literal["biased", "unbiased"],
        Doc("Which variance the framework keeps; unbiased is n/(n-1) times the batch's own."),
    ]
    switched_off: Annotated[
        list[str], Doc("The layers that draw at random, and were left as in inference.")
    ]


class _Verdict(TypedDict):
    """A target's verdict; figures are of the widest dtype that ran."""

    status: Annotated[
        TargetStatus, Doc("Not run is no verdict: `reason` says what was missing, or unproven.")
    ]
    reason: Annotated[str | None, Doc("What is wrong, or why it was not run.")]
    device: Annotated[str, Doc("Where it was to run: cpu or cuda.")]
    dtype: Annotated[str | None, Doc("The widest type that it computed in.")]
    params: Annotated[int | None, Doc("Trainable numbers, as the framework counts them.")]
    output_shape: Annotated[list[int] | None, Doc("Of what the model returns, with the batch.")]
    max_abs_diff: Annotated[float | None, Doc("As in `runs`, of that dtype.")]
    max_rel_diff: Annotated[float | None, Doc("As in `runs`, of that dtype.")]
    bound: Annotated[float | None, Doc("As in `runs`, of that dtype.")]
    minimum_tolerance: Annotated[float | None, Doc("As in `runs`, of that dtype.")]
    first_divergence: Annotated[
        str | None,
        Doc("The first layer that is wrong given what it received; several joined by +."),
    ]
    cause: Annotated[str | None, Doc("What explains its numbers, where anything known does.")]
    training: Annotated[
        NotRequired[TrainingJson], Doc("The step on the images as they are, at the level train.")
    ]
    training_scaled: Annotated[
        NotRequired[list[TrainingJson]],
        Doc("The steps on the same images times a small and a large number."),
    ]


class TargetJson(_Verdict):
    """A target in the output of `build --json` and `verify --json`."""

    runs: Annotated[list[RunJson], Doc("One for each evaluator and dtype.")]


class CertifiedTargetJson(_Verdict):
    """A target in a certificate: also what it ran on, and how much was compared."""

    device_name: Annotated[str | None, Doc("What the framework calls the device.")]
    versions: Annotated[dict[str, str], Doc("Of the framework and what it runs on, by name.")]
    parameters_compared: Annotated[int, Doc("Tensors whose names and shapes were compared.")]
    shapes_compared: Annotated[int, Doc("Values whose shapes were compared, over all inputs.")]
    blocks_compared: Annotated[int, Doc("Outputs of blocks whose numbers were, over all inputs.")]
    runs: Annotated[list[CertifiedRunJson], Doc("One for each evaluator and dtype.")]


class InputJson(TypedDict):
    """One input on which targets were run."""

    weights: Annotated[
        Weights,
        Doc(
            "The directory's own; those that a seed gives where it has none; those drawn so that "
            "no value hides another; or, for a step of training, these with the first channel of "
            "each norm at 0."
        ),
    ]
    shape: Annotated[list[int], Doc("The image's, as NCHW.")]
    scale: Annotated[float, Doc("What the image was multiplied by.")]
    training: Annotated[NotRequired[bool], Doc("Whether it was a step of training.")]


class LeftOutJson(InputJson):
    """An input that the dtype cannot run, or on which it would prove nothing."""

    reason: Annotated[str, Doc("Why, and in which targets.")]


_OverallStatus: TypeAlias = Annotated[
    Status,
    Doc(
        "Passed if all that were due did; failed if one did, or none gave a result; else partial: "
        "not all that were due ran."
    ),
]


class VerificationJson(TypedDict):
    """The `verification` object of `verify --json`, and of a `build --json` that verifies."""

    status: _OverallStatus
    level: Annotated[Level, Doc("How much was compared; each level has all before it.")]
    reference: Annotated[str, Doc("What targets were compared with: ir, or MODULE:FUNCTION.")]
    weights: Annotated[WeightsState, Doc("Whether the directory has a model.safetensors.")]
    targets: Annotated[dict[str, TargetJson], Doc("By name.")]
    inputs_left_out: Annotated[NotRequired[list[LeftOutJson]], Doc("In which nothing is proven.")]


class CertificateJson(TypedDict):
    """A certificate: what was proven, of which bytes, with which versions, and how closely."""

    name: Annotated[str, Doc("The network's.")]
    spec_sha256: Annotated[str, Doc("Of what the spec means, in hex.")]
    status: _OverallStatus
    level: Annotated[Level, Doc("How much was compared; each level has all before it.")]
    reference: Annotated[str, Doc("What targets were compared with: ir, or MODULE:FUNCTION.")]
    weights: Annotated[WeightsState, Doc("Whether the directory has a model.safetensors.")]
    seed: Annotated[int, Doc("Of all that was drawn.")]
    files: Annotated[dict[str, str], Doc("The SHA-256, in hex, of every file that was judged.")]
    versions: Annotated[
        dict[str, str], Doc("Of Python and of NumPy, which computed what is right.")
    ]
    machine: Annotated[str, Doc("The processor's kind.")]
    inputs: Annotated[list[InputJson], Doc("What targets were run on.")]
    inputs_left_out: Annotated[NotRequired[list[LeftOutJson]], Doc("In which nothing is proven.")]
    targets: Annotated[dict[str, CertifiedTargetJson], Doc("By name.")]


_DESCRIBED = (
    CertificateJson,
    CertifiedTargetJson,
    CertifiedRunJson,
    TrainingJson,
    InputJson,
    LeftOutJson,
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of certificates."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(CertificateJson).json_schema()
    for described in _DESCRIBED:
        properties = schema["$defs"].get(described.__name__, schema)["properties"]
        for name, hint in get_type_hints(described, include_extras=True).items():
            properties[name]["description"] = _documentation(hint)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _documentation(hint: Any) -> str:
    return next(each.documentation for each in hint.__metadata__ if isinstance(each, Doc))


def parse(text: bytes) -> CertificateJson:
    """A certificate from its JSON; raises ValueError where it is none."""
    from pydantic import TypeAdapter

    return TypeAdapter(CertificateJson).validate_json(text, strict=True)
