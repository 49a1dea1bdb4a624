"""Reads the names of other libraries as ours, by the rules by which `convert` reads them.

A rule says what a library calls a layer, not what layer a name is of. So networks with all kinds of
layers are lowered, and what they are called there is looked for in the file.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from resnetgen.ir.network import Network
from resnetgen.ir.rules import Shape
from resnetgen.lower import lower
from resnetgen.spec.fields import MOST_CONVOLUTIONS
from resnetgen.spec.limits import MOST_BLOCKS
from resnetgen.spec.load import meaning
from resnetgen.spec.model import Attention, Downsample, Order
from resnetgen.spec.source import parse
from resnetgen.weights.infer.trace import Shapes, are_ours
from resnetgen.weights.origins import LEAST_SHARE, ORIGINS, Foreign, Origin

_MOST_STAGES = 8
_PLACE = re.compile(r"layer(?P<stage>\d+)\.(?P<block>\d+)\.conv(?P<convolution>\d+)\.weight")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What decides what a layer is called, beside its place."""

    order: Order
    stem_norm: bool
    """Whether a norm stands behind the stem."""
    hidden: tuple[int, ...]
    """Of the stem."""
    downsample: Downsample
    attention: Attention


_NORMS: tuple[tuple[Order, bool], ...] = (("post", True), ("pre", False), ("pre", True))
_DOWNSAMPLES: tuple[Downsample, ...] = ("conv", "avg")
_ATTENTIONS: tuple[Attention, ...] = ("se", "eca")
_STEMS = ((), (1, 1), (1,), (1, 1, 1))
_PROBED = ((1, 3),) * 2
"""Two stages of a block each tell whose the names are; the libraries' have at most three
convolutions."""
_KINDS = tuple(
    _Kind(order, stem_norm, hidden, downsample, attention)
    for (order, stem_norm), hidden, downsample, attention in product(
        _NORMS, _STEMS, _DOWNSAMPLES, _ATTENTIONS
    )
)
"""The simplest first."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """A file's tensors by our names and in our layouts; `origin` says whose names it has."""

    shapes: Shapes
    origin: Origin
    tells_downsample: bool
    """Whether the library's names say how projections stride, if there are any."""


def renamed(shapes: Shapes, *, downsample: Downsample = "conv") -> Renamed | None:
    """The tensors by our names, if most of theirs are some library's; the rest keep their own.

    None where all names are ours already, or most are nobody's. Projections stride as in
    `downsample` where the names leave that open.
    """
    if are_ours(shapes):
        return None
    probes = {kind: _probe(kind, _PROBED) for kind in _KINDS}
    shares = {
        (kind, origin): len(shapes.keys() & _names(probe, origin).keys())
        for (kind, probe), origin in product(probes.items(), ORIGINS)
    }
    kind, origin = max(shares, key=lambda each: (shares[each], each[0].downsample == downsample))
    if shares[kind, origin] == 0:
        return None
    stages = _stages(shapes, kind, origin)
    # A hostile file may name a far block, and one of so many would take long to lower.
    if sum(blocks * convolutions for blocks, convolutions in stages) * LEAST_SHARE > len(shapes):
        return None
    known = _names(_probe(kind, stages), origin)
    if len(shapes.keys() & known.keys()) < LEAST_SHARE * len(shapes):
        return None
    ours = dict(_ours(name, shape, known.get(name)) for name, shape in shapes.items())
    other = replace(kind, downsample="avg" if kind.downsample == "conv" else "conv")
    tells = shares[other, origin] < shares[kind, origin]
    return Renamed(ours, origin, tells or not any(".downsample." in name for name in ours))


def _stages(shapes: Shapes, kind: _Kind, origin: Origin) -> list[tuple[int, int]]:
    """Of each stage that the file names: how many blocks, and convolutions in each of them.

    All blocks of a stage are alike: its first block and its blocks' first convolutions tell.
    """
    numbers = [int(digits) for name in shapes for digits in re.findall(r"\d{1,6}", name)]
    most = min(max(numbers, default=0) + 1, len(shapes), MOST_BLOCKS // _MOST_STAGES)
    number = min(most, _MOST_STAGES)

    def largest(part: str, *, probed: tuple[int, int]) -> list[int]:
        """Of each stage the largest number in the names that the file shares with the probe."""
        found = [0] * number
        known = _names(_probe(kind, [probed] * number), origin)
        for ours, _ in (known[name] for name in shapes.keys() & known.keys()):
            if place := _PLACE.fullmatch(ours):
                stage = int(place["stage"]) - 1
                found[stage] = max(found[stage], int(place[part]))
        return found

    blocks = largest("block", probed=(most, 1))
    convolutions = largest("convolution", probed=(1, min(most, MOST_CONVOLUTIONS)))
    # Blocks are counted from 0, and a stage that the file does not have is probed with one of one.
    return [(last + 1, max(each, 1)) for last, each in zip(blocks, convolutions, strict=True)]


def _ours(name: str, shape: Shape, known: tuple[str, Foreign] | None) -> tuple[str, Shape]:
    if known is None:
        return name, shape
    ours, foreign = known
    if len(shape) != len(foreign.axes):
        return ours, shape
    return ours, tuple(shape[axis] for axis in foreign.axes)


def _names(network: Network, origin: Origin) -> dict[str, tuple[str, Foreign]]:
    """Our name of each tensor that the library has a name for, and the tensor there."""
    return {foreign.name: (ours, foreign) for ours, foreign in origin.tensors(network).items()}


def _probe(kind: _Kind, stages: Sequence[tuple[int, int]]) -> Network:
    """A network of such layers: of each stage, how many blocks and convolutions in each of them."""
    document = {
        "name": "probe",
        "input": {"channels": 1, "size": 2 ** (len(stages) + 1)},
        "classes": 1,
        "stem": {
            "hidden": kind.hidden,
            "width": 1,
            "kernel": 3,
            "stride": 1,
            "norm": kind.stem_norm,
            "pool": "conv",
        },
        "conv_bias": True,
        "order": kind.order,
        "shortcut": "projection_all",
        "downsample": kind.downsample,
        "attention": kind.attention,
        "stages": [
            {
                "name": f"s{index}",
                "repeats": blocks,
                "width": 1,
                "stride": min(index + 1, 2),
                "block": [{"kernel": 3}] * convolutions,
            }
            for index, (blocks, convolutions) in enumerate(stages)
        ],
    }
    # JSON is YAML.
    return lower(meaning(parse(json.dumps(document), file="probe")))
