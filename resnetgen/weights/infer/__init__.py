"""Infers a spec from the names and shapes of a checkpoint's tensors.

No network is known by heart: the shapes say what the layers are, and lowering the spec proves it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from resnetgen.ir.network import Network
from resnetgen.lower import feasibility, lower
from resnetgen.spec import idle, strides
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.facts import written
from resnetgen.spec.load import meaning
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.nodes import find
from resnetgen.spec.problems import refuse
from resnetgen.spec.shortcuts import may_drop_paths
from resnetgen.spec.source import parse
from resnetgen.weights.infer.document import READ, attention_places, document, pools_both
from resnetgen.weights.infer.names import Renamed, renamed
from resnetgen.weights.infer.not_inferred import not_inferred
from resnetgen.weights.infer.proof import fitting, prove, tensors, with_ends
from resnetgen.weights.infer.pruning import Whole, whole
from resnetgen.weights.infer.trace import Shapes, Trace, trace, without_counters

__all__ = ["Inferred", "Renamed", "Shapes", "fitting", "infer", "renamed", "with_ends"]


@dataclass(frozen=True, slots=True)
class Inferred:
    """A spec whose network has a checkpoint's tensors, and no others."""

    spec: ModelSpec
    network: Network
    assumed: Mapping[str, str]
    """What names and shapes leave open: the keys of the document, and the values taken."""


def infer(shapes: Shapes, *, name: str, base: ModelSpec | None = None) -> Inferred:
    """The spec called `name` of a network that loads these tensors strictly.

    What they leave open is as in `base`, or else as is usual. Raises DiagnosticError, without a
    place, where they are not those of a network that the language can describe.
    """
    shapes = without_counters(shapes)
    found = trace(shapes)
    restored = whole(found)
    like = _like(found, shapes, name=name, base=base) if base else None
    if like is None:
        stated = document(restored, name=name, base=base)
    else:
        stated = parse(to_yaml(like), file="inferred")
    spec = meaning(stated)
    refuse(stated, feasibility.problems(spec))
    network = lower(spec)
    prove(network, shapes)
    return Inferred(spec, network, _assumed(spec, restored))


def _like(found: Trace, shapes: Shapes, *, name: str, base: ModelSpec) -> ModelSpec | None:
    """The base with another image and head, if that is all that is different."""
    if len(base.stages) != len(found.stages):
        message = f"`{base.name}` has {len(base.stages)} stages, where the tensors"
        message += f" are of {len(found.stages)}"
        raise not_inferred(message, "a spec with as many stages")
    channels = found.stem[0].in_channels
    spec = with_ends(replace(base, name=name), channels=channels, classes=found.classes)
    return spec if tensors(lower(spec)) == shapes else None


def _assumed(spec: ModelSpec, whole: Whole) -> dict[str, str]:
    found = whole.found
    resolved = parse(to_yaml(spec), file=spec.name)
    assumed: dict[str, str] = {}
    for path in (("input", "size"), ("stem", "stride"), ("stem", "pool")):
        value = find(resolved, path)
        assert value is not None, f"no {path} in a resolved spec"
        assumed[".".join(path)] = written(value)
    if found.pool is not None:
        del assumed["stem.pool"]
    if found.norm.kind == "none":
        assumed["stem.norm"] = str(spec.stem.norm).lower()
        assumed["order"] = spec.order
    stated = ",".join(str(stage.stride) for stage in spec.stages)
    assumed["the stages' stride"] = f"[{stated}]"
    unprojected = {
        stage.shortcut for stage in spec.stages if stage.shortcut in ("zero_pad", "none")
    }
    if unprojected:
        assumed["shortcut"] = " and ".join(sorted(unprojected))
    told = READ | set(idle.keys(spec))
    if len(attention_places(whole.restored)) < 2:
        told |= {"attention_at"}
    others = {
        key: written(entry.value) for key, entry in resolved.entries.items() if key not in told
    }
    if strides.may_dilate(spec):
        assumed["output_stride"] = str(spec.output_stride or strides.reached(spec)[-1])
    if may_drop_paths(spec):
        assumed["drop_path"] = str(spec.drop_path)
    if not pools_both(found):
        assumed["head_pool"] = spec.head_pool
    assumed |= {"block_dropout": str(spec.block_dropout), "dropout": str(spec.dropout)}
    if "conv_padding" not in told:
        assumed["conv_padding"] = spec.conv_padding
    return assumed | others
