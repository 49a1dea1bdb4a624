"""How many parameters a network may have: counted on one whose equal blocks are left out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from resnetgen.ir.network import Network, Stage
from resnetgen.ir.ops import GroupNorm
from resnetgen.ir.rules import misfit, trainable
from resnetgen.lower import lower
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.nodes import Path
from resnetgen.spec.problems import Problem

MOST_PARAMETERS = 10**11


@dataclass(frozen=True, slots=True)
class _Part:
    """A part's trainable parameters, and the key that decides most about them."""

    path: Path
    parameters: int


def problems(spec: ModelSpec) -> Iterator[Problem]:
    """An input that does not fit the shortcuts, and more parameters than the limit."""
    network = _shortened(spec)
    if (place := misfit(network, network.input_size)) is not None:
        message = f"an image of this size does not fit `{place}`, where branch and shortcut round"
        message += " half an odd size differently, or a filter reflects more than there is"
        expected = "a size that is even in front of every stride, such as a multiple of 32"
        yield Problem("misfit", ("input", "size"), message, expected)
    yield from _norm_groups(network)
    parts = _parts(network, spec)
    total = sum(part.parameters for part in parts)
    if total > MOST_PARAMETERS:
        largest = max(parts, key=lambda part: part.parameters)
        message = f"the network has {total:,} parameters"
        expected = f"at most {MOST_PARAMETERS:,} parameters"
        yield Problem("too-many-parameters", largest.path, message, expected)


def _norm_groups(network: Network) -> Iterator[Problem]:
    for op in network.ops:
        if isinstance(op, GroupNorm) and op.channels % op.groups:
            message = f"{op.groups} groups cannot share the {op.channels:,} channels of `{op.name}`"
            expected = "a number that divides the channels of every norm"
            yield Problem("uneven-groups", ("norm_groups",), message, expected)
            return


def parameters(spec: ModelSpec) -> int:
    """The trainable parameters of the network that `spec` means, without its equal blocks."""
    return sum(part.parameters for part in _parts(_shortened(spec), spec))


def _parts(network: Network, spec: ModelSpec) -> tuple[_Part, ...]:
    counted = (
        _Part(("stages", index, "width"), _parameters(stage, stated.repeats))
        for index, (stage, stated) in enumerate(zip(network.stages, spec.stages, strict=True))
    )
    return (
        _Part(("stem", "width"), trainable(network.stem)),
        *counted,
        _Part(("classes",), trainable(network.head)),
    )


def _shortened(spec: ModelSpec) -> Network:
    """The network with at most two blocks in each stage."""
    stages = tuple(replace(stage, repeats=min(stage.repeats, 2)) for stage in spec.stages)
    return lower(replace(spec, stages=stages))


def _parameters(stage: Stage, repeats: int) -> int:
    """All blocks behind the first are equal."""
    first, *second = (trainable(block.ops) for block in stage.blocks)
    return first + (repeats - 1) * sum(second)
