"""Proves that a checkpoint's tensors are those of a network: by name and by shape, all of them."""

from collections.abc import Iterable
from dataclasses import replace

from resnetgen.diagnostics import quote
from resnetgen.ir.network import Network
from resnetgen.ir.rules import Shape, network_parameters
from resnetgen.lower import lower
from resnetgen.spec.model import ModelSpec
from resnetgen.weights.infer.not_inferred import missing, not_inferred, shaped
from resnetgen.weights.infer.trace import Shapes, without_counters


def tensors(network: Network) -> dict[str, Shape]:
    """All that a strict load into this network takes, in the order of its ops."""
    return {parameter.name: parameter.shape for parameter in network_parameters(network)}


def prove(network: Network, shapes: Shapes) -> None:
    """Raises DiagnosticError at the first tensor that the network or the checkpoint has alone."""
    expected = tensors(network)
    for name, shape in expected.items():
        found = shapes.get(name)
        if found is None:
            raise missing(name, f"and the others call for one of shape {list(shape)}")
        if found != shape:
            raise shaped(name, found, f"{list(shape)}, by what stands in front of it")
    for name in shapes:
        if name not in expected:
            raise not_inferred(
                f"the tensor {quote(name)} has no place in the network of the others"
            )


def fitting(shapes: Shapes, known: Iterable[ModelSpec]) -> tuple[str, ...]:
    """The names of those specs whose networks have just these tensors."""
    shapes = without_counters(shapes)
    blocks = sum(name.endswith(".conv1.weight") for name in shapes)
    # Counting comes first, since most of many specs can be told apart by it, and need no lowering.
    counted = (spec for spec in known if sum(stage.repeats for stage in spec.stages) == blocks)
    return tuple(spec.name for spec in counted if tensors(lower(spec)) == shapes)


def with_ends(spec: ModelSpec, *, channels: int, classes: int) -> ModelSpec:
    """The spec for other images and classes: what a network is changed in to be trained anew."""
    return replace(spec, input=replace(spec.input, channels=channels), classes=classes)
