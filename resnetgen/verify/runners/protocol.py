"""What the judge and a runner's process say to each other: two JSON files and arrays beside them.

The runner is told which files to run on which inputs, and whose values to send back (a pattern).
It is never told which parameters or shapes there should be.
"""

from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import Literal

from resnetgen.child.launch import Device
from resnetgen.verify.dtypes import Dtype

Outcome = Literal["ran", "failed", "exhausted", "unavailable", "no_such_dtype"]
"""`exhausted`: this machine's memory or disk came to its end, which says nothing of any file."""

OUTPUT = ":output"
"""The label under which what the whole model returns is reported; an empty one would be that of
every node of a graph that has no name."""
INPUT = ":input"
"""What a label ends with that means the input a layer received, not the output it gave."""


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """One step of training: `labels` names an array file of classes, and the loss is the mean over
    the images of -log(probability of the label)."""

    labels: str
    probabilities: bool
    """Whether the model returns probabilities, and not logits."""


@dataclass(frozen=True, slots=True)
class CaseRequest:
    """One run: `image` names an array file; `weights` the folder whose model.safetensors to use."""

    weights: str
    image: str
    dtypes: tuple[Dtype, ...]
    """The dtypes whose range holds this case."""
    training: TrainingRequest | None
    """None where the model is run in inference."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a runner has to do; all paths are absolute."""

    target: str
    directory: str
    scratch: str
    cases: tuple[CaseRequest, ...]
    device: Device
    dtype: Dtype | None
    """None asks for the widest that the target computes."""
    keep: str
    """A pattern that a label matches whole if its values, not just its shape, are wanted."""
    resting: str
    """A pattern that a label matches whole if what it means stays as in inference in training,
    since it would draw at random there."""
    threads: int
    classes: int | None
    """For how many classes the model is to be built once more; None asks for no such build."""


@dataclass(frozen=True, slots=True)
class SeenParameter:
    """A tensor that the framework owns, its name and shape in canonical form.

    `dtype` is what the file gives it where nobody asks for another; None where that is told
    elsewhere.
    """

    name: str
    shape: tuple[int, ...]
    trainable: bool
    dtype: str | None


@dataclass(frozen=True, slots=True)
class SeenBuild:
    """A model built for the number of classes that the request asks for."""

    parameters: tuple[SeenParameter, ...]
    image: tuple[int, ...] | None
    """The image's (channels, height, width) where nobody states it; None where it may be any."""
    output: tuple[int, ...]
    """The shape of what it gives for one image."""


@dataclass(frozen=True, slots=True)
class SeenInitializer:
    """Where a graph says that an initializer's data lies; `location` is None for data inside it."""

    name: str
    type: str
    shape: tuple[int, ...]
    location: str | None
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class SeenSignature:
    """What a graph says that it takes and gives, each as `float[N, 3, H, W] input`."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class SeenValue:
    """A layer's output (or input) in one run; `kept` says whether its values were sent."""

    label: str
    shape: tuple[int, ...]
    kept: bool


@dataclass(frozen=True, slots=True)
class SeenStep:
    """What came of a step of training. `arrays` names a file of arrays by the tensors' canonical
    names: the gradient of each that is trainable, and the new value of each running statistic."""

    loss: float
    arrays: str


@dataclass(frozen=True, slots=True)
class SeenRun:
    """All that was seen of one case by one evaluator, in the order of execution.

    `values` names a file of arrays, one per kept value by its position; `error` is set where the
    run broke off.
    """

    evaluator: str
    dtype: Dtype
    case: int
    seen: tuple[SeenValue, ...]
    values: str
    error: str | None
    step: SeenStep | None
    """None where it was no step of training, or broke off before its end."""

    @property
    def values_sent(self) -> bool:
        return any(seen.kept for seen in self.seen)


@dataclass(frozen=True, slots=True)
class Report:
    """What a runner's process leaves behind."""

    outcome: Outcome
    reason: str | None
    versions: dict[str, str]
    device_name: str
    parameters: tuple[SeenParameter, ...]
    variants: dict[str, tuple[SeenParameter, ...]]
    """Those of models that were built otherwise, where they differ; by how they were built."""
    initializers: tuple[SeenInitializer, ...] | None
    """None where the target's file holds no references to weights."""
    signature: SeenSignature | None
    """None where the target's file declares none."""
    rebuilt: SeenBuild | None
    """None where the target's file builds nothing."""
    runs: tuple[SeenRun, ...]


def request_path(scratch: Path) -> Path:
    return scratch / "request.json"


def report_path(scratch: Path) -> Path:
    return scratch / "report.json"


def write(path: Path, message: Request | Report) -> None:
    """Writes the message whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(dumps(asdict(message)), encoding="utf-8")
    unfinished.replace(path)


def read_request(path: Path) -> Request:
    from pydantic import TypeAdapter

    return TypeAdapter(Request).validate_json(path.read_bytes())


def read_report(path: Path) -> Report:
    """Raises ValueError where the file is not a report; pydantic's errors are ValueErrors."""
    from pydantic import TypeAdapter

    return TypeAdapter(Report).validate_json(path.read_bytes())
