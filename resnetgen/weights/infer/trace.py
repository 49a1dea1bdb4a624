"""Reads names and shapes as the layers that left them: stem, stages of blocks, head."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resnetgen.diagnostics import quote
from resnetgen.ir.rules import Shape
from resnetgen.spec.model import Attention, Downsample, Norm, Order
from resnetgen.weights.infer.not_inferred import missing, not_inferred, shaped
from resnetgen.weights.safetensors import COUNTER

Shapes = Mapping[str, Shape]
"""Tensors by their canonical names, in PyTorch's layouts."""

_OWNER = re.compile(
    r"conv1|conv1\.\d+|bn1|maxpool\.[01]|norm|fc"
    r"|layer\d+\.\d+\.(conv\d+|bn\d+|downsample\.[012]|se\.(fc1|fc2|conv))"
)
_TENSORS = ("weight", "bias", "running_mean", "running_var")
_BLOCK = re.compile(r"layer([1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.")
_CONVOLUTION = re.compile(r"conv([1-9]\d{0,2})\.weight")
_EXPECTED = (
    "torchvision's or timm's names, such as `conv1.weight` and `layer1.0.conv1.weight`, or those "
    "of another library that `convert` reads, but Flax"
)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution's weight, OIHW; the kernel is square."""

    name: str
    out_channels: int
    in_channels: int
    """Those of one group."""
    kernel: int
    bias: bool


@dataclass(frozen=True, slots=True)
class NormTrace:
    """What norms leave in a checkpoint: a batch norm has statistics, a group norm has none."""

    kind: Norm
    order: Order | None
    """None without norms: activations alone leave nothing that tells where they stand."""
    behind_stem: bool
    """Whether one stands behind the stem's last convolution."""
    divisor: int
    """The greatest number that divides the channels of each; 0 without norms."""


@dataclass(frozen=True, slots=True)
class BlockTrace:
    """What a block leaves in a checkpoint."""

    name: str
    main: tuple[Convolution, ...]
    projection: Convolution | None
    downsample: Downsample | None
    """By the projection's number in its sequence; None without one."""
    attention: Attention
    squeezed: int | None
    """Channels inside squeeze-and-excitation."""
    weighed: int | None
    """Channels that squeeze-and-excitation weighs."""
    eca_kernel: int | None
    """The kernel of efficient channel attention, which follows from the channels weighed."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a network leaves in a checkpoint."""

    stem: tuple[Convolution, ...]
    pool: Convolution | None
    """What pools behind the stem, if a convolution does."""
    norm: NormTrace
    stages: tuple[tuple[BlockTrace, ...], ...]
    classes: int
    features: int
    """What the last layer reads."""


def without_counters(shapes: Shapes) -> dict[str, Shape]:
    """The tensors that every framework has."""
    return {name: shape for name, shape in shapes.items() if not name.endswith(COUNTER)}


def trace(shapes: Shapes) -> Trace:
    """The layers by their names; raises DiagnosticError where these follow no known scheme."""
    _refuse_foreign(shapes)
    stem = _stem(shapes)
    head = shapes.get("fc.weight")
    if head is None:
        hint = "`resnetgen build SPEC --weights FILE` draws one for a network that you name"
        raise not_inferred("there is no tensor `fc.weight`, so there is no head", hint=hint)
    if len(head) != 2:
        raise shaped("fc.weight", head, "two numbers: classes and features")
    return Trace(
        stem=stem,
        pool=_convolution(shapes, "maxpool.0") if "maxpool.0.weight" in shapes else None,
        norm=_norm(shapes),
        stages=_stages(shapes),
        classes=head[0],
        features=head[1],
    )


def are_ours(shapes: Shapes) -> bool:
    """Whether each tensor has a name that a network's could have here."""
    return all(map(_is_known, shapes))


def _refuse_foreign(shapes: Shapes) -> None:
    foreign = [name for name in shapes if not _is_known(name)]
    if not foreign:
        return
    first = foreign[0]
    message = f"the tensor {quote(first)} is none of a ResNet"
    raise not_inferred(message, _EXPECTED, _prefix_hint(shapes, first) or _flax_hint(first))


def _prefix_hint(shapes: Shapes, first: str) -> str | None:
    """What to say if only a prefix that all names have is in the way."""
    behind = first.partition(".")[2]
    while behind and not _is_known(behind):
        behind = behind.partition(".")[2]
    prefix = first.removesuffix(behind)
    if not behind or not all(name.startswith(prefix) for name in shapes):
        return None
    return f"their names without {quote(prefix)} would be known"


def _flax_hint(first: str) -> str | None:
    """What to say of names that number blocks over all stages, and so tell none apart."""
    if not first.startswith(("params/", "batch_stats/")):
        return None
    return "Flax's names do not tell stages apart: `convert` reads them, given the spec"


def _is_known(name: str) -> bool:
    owner, _, kind = name.rpartition(".")
    return kind in _TENSORS and _OWNER.fullmatch(owner) is not None


def _stem(shapes: Shapes) -> tuple[Convolution, ...]:
    """One convolution, or those that have the numbers 0, 3, 6 and so on; 0, 2, 4 without norms."""
    if "conv1.weight" in shapes:
        return (_convolution(shapes, "conv1"),)
    found: list[Convolution] = []
    step = 2 if "conv1.2.weight" in shapes else 3
    while (name := f"conv1.{step * len(found)}") + ".weight" in shapes:
        found.append(_convolution(shapes, name))
    if not found:
        raise missing("conv1.weight", "nor `conv1.0.weight`, so there is no stem")
    return tuple(found)


def _norm(shapes: Shapes) -> NormTrace:
    """In the order `pre` what the last block adds up is normalized too, by `norm`."""
    channels = [
        shape[0] for name, shape in shapes.items() if name.endswith(".weight") and len(shape) == 1
    ]
    kinds = {name.rpartition(".")[2] for name in shapes}
    kind: Norm = "none"
    if not kinds.isdisjoint(("running_mean", "running_var")):
        kind = "batch"
    elif channels:
        kind = "group"
    order: Order = "pre" if _has(shapes, "norm") else "post"
    return NormTrace(
        kind,
        order=None if kind == "none" else order,
        behind_stem=_has(shapes, "bn1"),
        divisor=math.gcd(*channels),
    )


def _has(shapes: Shapes, owner: str) -> bool:
    return any(f"{owner}.{kind}" in shapes for kind in _TENSORS)


def _stages(shapes: Shapes) -> tuple[tuple[BlockTrace, ...], ...]:
    inside: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for name in shapes:
        if place := _BLOCK.match(name):
            inside[int(place[1]), int(place[2])].append(name[place.end() :])
    numbers = sorted({stage for stage, _ in inside})
    _refuse_gaps(numbers, "layer{}", first=1)
    stages: list[tuple[BlockTrace, ...]] = []
    for number in numbers:
        blocks = sorted(block for stage, block in inside if stage == number)
        _refuse_gaps(blocks, f"layer{number}.{{}}", first=0)
        names = [(f"layer{number}.{block}", inside[number, block]) for block in blocks]
        stages.append(tuple(_block(shapes, name, tensors) for name, tensors in names))
    return tuple(stages)


def _refuse_gaps(numbers: Sequence[int], name: str, *, first: int) -> None:
    """Raises DiagnosticError if these are not all numbers from the first to their last."""
    for expected, number in enumerate(numbers, start=first):
        if number != expected:
            message = f"there is {quote(name.format(number))} but no {quote(name.format(expected))}"
            raise not_inferred(message, f"{quote(name.format(expected))} with all its tensors")
    if not numbers:
        raise not_inferred(f"there is no {quote(name.format(first))}", _EXPECTED)


def _block(shapes: Shapes, name: str, tensors: Iterable[str]) -> BlockTrace:
    numbers = sorted(int(found[1]) for each in tensors if (found := _CONVOLUTION.fullmatch(each)))
    _refuse_gaps(numbers, f"{name}.conv{{}}.weight", first=1)
    projections = [
        index for index in (0, 1) if len(shapes.get(f"{name}.downsample.{index}.weight", ())) > 1
    ]
    squeeze = f"{name}.se.fc1"
    attention: Attention = "none"
    narrowing: Convolution | None = None
    eca_kernel: int | None = None
    if f"{squeeze}.weight" in shapes:
        attention = "se"
        narrowing = _convolution(shapes, squeeze)
    elif f"{name}.se.conv.weight" in shapes:
        attention = "eca"
        eca_kernel = next(reversed(shapes[f"{name}.se.conv.weight"]), None)
    return BlockTrace(
        name=name,
        main=tuple(_convolution(shapes, f"{name}.conv{number}") for number in numbers),
        projection=(
            _convolution(shapes, f"{name}.downsample.{projections[0]}") if projections else None
        ),
        downsample=("conv", "avg")[projections[0]] if projections else None,
        attention=attention,
        squeezed=None if narrowing is None else narrowing.out_channels,
        weighed=None if narrowing is None else narrowing.in_channels,
        eca_kernel=eca_kernel,
    )


def _convolution(shapes: Shapes, name: str) -> Convolution:
    shape = shapes[f"{name}.weight"]
    if len(shape) != 4 or min(shape) < 1 or shape[2] != shape[3] or shape[2] % 2 == 0:
        expected = "four numbers: channels out and in, and twice the same odd kernel"
        raise shaped(f"{name}.weight", shape, expected)
    return Convolution(name, *shape[:3], bias=f"{name}.bias" in shapes)
