"""Reads the names of other libraries as ours, by the rules by which `convert` reads them.

A rule says what a library calls a layer, not what layer a name is of. So networks with all kinds of
layers are lowered, and what they are called there is looked for in the file.
"""

import json
import re
from dataclasses import dataclass, replace
from itertools import product

from resnetgen.ir.network import Network
from resnetgen.ir.rules import Shape
from resnetgen.lower import lower
from resnetgen.spec.limits import MOST_BLOCKS
from resnetgen.spec.load import meaning
from resnetgen.spec.model import Attention, Downsample, Order
from resnetgen.spec.source import parse
from resnetgen.weights.infer.trace import Shapes, are_ours
from resnetgen.weights.origins import ORIGINS, Foreign, Origin

_MOST_STAGES = 8
_MOST_CONVOLUTIONS = 4
"""Of a block whose names can be told; the libraries' own have at most three."""
_LEAST_SHARE = 0.5
"""Below this, a file that has some of a library's names has them by chance."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What decides what a layer is called, beside its place."""

    order: Order
    hidden: tuple[int, ...]
    """Of the stem."""
    downsample: Downsample
    attention: Attention


_ORDERS: tuple[Order, ...] = ("post", "pre")
_DOWNSAMPLES: tuple[Downsample, ...] = ("conv", "avg")
_ATTENTIONS: tuple[Attention, ...] = ("se", "eca")
_STEMS = ((), (1, 1), (1,), (1, 1, 1))
_KINDS = tuple(_Kind(*each) for each in product(_ORDERS, _STEMS, _DOWNSAMPLES, _ATTENTIONS))
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
    # Two stages of a block each tell whose the names are.
    probes = {kind: _probe(kind, stages=2, blocks=1) for kind in _KINDS}
    shares = {
        (kind, origin): len(shapes.keys() & _names(probe, origin).keys())
        for (kind, probe), origin in product(probes.items(), ORIGINS)
    }
    kind, origin = max(shares, key=lambda each: (shares[each], each[0].downsample == downsample))
    if shares[kind, origin] == 0:
        return None
    numbers = [int(digits) for name in shapes for digits in re.findall(r"\d{1,6}", name)]
    most = min(max(numbers) + 1, len(shapes), MOST_BLOCKS // _MOST_STAGES)
    stages = min(most, _MOST_STAGES)
    known = _names(_probe(kind, stages=stages, blocks=most), origin)
    if len(shapes.keys() & known.keys()) < _LEAST_SHARE * len(shapes):
        return None
    ours = dict(_ours(name, shape, known.get(name)) for name, shape in shapes.items())
    other = replace(kind, downsample="avg" if kind.downsample == "conv" else "conv")
    tells = shares[other, origin] < shares[kind, origin]
    return Renamed(ours, origin, tells or not any(".downsample." in name for name in ours))


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


def _probe(kind: _Kind, *, stages: int, blocks: int) -> Network:
    document = {
        "name": "probe",
        "input": {"channels": 1, "size": 2 ** (stages + 1)},
        "classes": 1,
        "stem": {
            "hidden": kind.hidden,
            "width": 1,
            "kernel": 3,
            "stride": 1,
            "pool": "conv",
        },
        "conv_bias": True,
        "order": kind.order,
        "block": [{"kernel": 3}] * _MOST_CONVOLUTIONS,
        "shortcut": "projection_all",
        "downsample": kind.downsample,
        "attention": kind.attention,
        "stages": [
            {"name": f"s{stage}", "repeats": blocks, "width": 1, "stride": min(stage + 1, 2)}
            for stage in range(stages)
        ],
    }
    # JSON is YAML.
    return lower(meaning(parse(json.dumps(document), file="probe")))
