"""What only a network shows to be wrong, seen on one whose equal blocks are left out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from resnetgen.ir.network import Network, Stage
from resnetgen.ir.ops import GroupNorm
from resnetgen.ir.rules import total_stride, trainable, unfit_op
from resnetgen.lower import lower
from resnetgen.spec.fields import LARGEST_SIZE
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.nodes import Path
from resnetgen.spec.problems import Problem

MOST_PARAMETERS = 10**11
_NEAR = 128
"""In pixels, how far from the stated size others are tried."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part's trainable parameters, and the key that decides most about them."""

    path: Path
    parameters: int


def problems(spec: ModelSpec) -> Iterator[Problem]:
    """An input that does not fit the shortcuts, and more parameters than the limit."""
    network = _shortened(spec)
    if (place := unfit_op(network, network.input_size)) is not None:
        message = f"an image of this size does not fit `{place}`, where branch and shortcut round"
        message += " it differently, or a filter, pool or norm needs more than there is"
        yield Problem("misfit", ("input", "size"), message, _fitting_sizes(network))
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


def _fitting_sizes(network: Network) -> str:
    """The nearest below the stated size and above it; a height fits whatever the width is."""
    stated, smallest = network.input_size, total_stride(network)
    below = [range(each, max(each - _NEAR, smallest - 1), -1) for each in stated]
    above = [range(each, min(each + _NEAR, LARGEST_SIZE + 1)) for each in stated]
    pairs = [[_first_fitting(network, extents) for extents in each] for each in (below, above)]
    sizes = [
        str(height if height == width else [height, width])
        for height, width in pairs
        if height is not None and width is not None
    ]
    if not sizes:
        return "other strides or another `anti_alias`: no size near this one fits"
    return f"a size that fits, such as {' or '.join(sizes)}"


def _first_fitting(network: Network, extents: Iterable[int]) -> int | None:
    fitting = (each for each in extents if unfit_op(network, (each, each)) is None)
    return next(fitting, None)


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
    """The network with at most two blocks in each stage whose blocks are equal."""
    stages = tuple(
        stage if stage.pruned else replace(stage, repeats=min(stage.repeats, 2))
        for stage in spec.stages
    )
    return lower(replace(spec, stages=stages))


def _parameters(stage: Stage, repeats: int) -> int:
    """Those of its blocks, and of those that were left out, which are equal to the last."""
    found = [trainable(block.ops) for block in stage.blocks]
    return sum(found) + (repeats - len(found)) * found[-1]
