"""Compares the tensors that a target declares with those that the network owns."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Linear
from resnetgen.ir.rules import Parameter, network_parameters, parameters
from resnetgen.verify.problem import Problem, positions
from resnetgen.verify.runners.protocol import (
    SeenBuild,
    SeenInitializer,
    SeenParameter,
    SeenSignature,
)
from resnetgen.weights.layout import WEIGHTS_FILE, Entry, layout


@dataclass(slots=True)
class ComparedParameters:
    """What is wrong with a target's parameters, and how many were compared with the network's."""

    problems: list[Problem] = field(default_factory=list[Problem])
    number: int = 0


def compare_parameters(network: Network, seen: Sequence[SeenParameter]) -> ComparedParameters:
    """Names, shapes, what is trainable, and whether they are float32."""
    found = ComparedParameters()
    position = positions(network)
    by_name = {parameter.name: parameter for parameter in seen}
    for op in network.ops:
        for parameter in parameters(op):
            actual = by_name.get(parameter.name)
            found.number += actual is not None
            reason = _difference(parameter, actual)
            if reason is not None:
                found.problems.append(Problem(position[op.name], op.name, reason))
    expected = {each.name for each in network_parameters(network)}
    strange = {
        name: f"has {name}, which the spec does not" for name in by_name if name not in expected
    }
    repeated = {
        name: f"has {name} more than once" for name in _repeated(each.name for each in seen)
    }
    for name, reason in (*strange.items(), *repeated.items()):
        owner = name.rpartition(".")[0]
        found.problems.append(Problem(position.get(owner, len(position)), owner or None, reason))
    return found


def other_classes(network: Network) -> int:
    """A number of classes that is not the network's own, to build its files with."""
    return network.classes + 1


def rebuilt_problems(network: Network, seen: SeenBuild) -> Iterator[Problem]:
    """What is wrong with a model for `other_classes`, which the network's has to be but in its
    last layer, with what it gives, and with the image that it takes where nobody states one."""
    classes = other_classes(network)
    head = (
        replace(op, out_features=classes) if isinstance(op, Linear) else op for op in network.head
    )
    other = replace(network, classes=classes, head=tuple(head))
    for problem in compare_parameters(other, seen.parameters).problems:
        yield replace(problem, reason=f"built for {classes} classes, {problem.reason}")
    image = (network.input_channels, *network.input_size)
    if seen.image is not None and seen.image != image:
        reason = f"by default takes images of shape {list(seen.image)}, not {list(image)}"
        yield Problem(0, network.stem[0].name, reason)
    if seen.output != (1, classes):
        last = network.head[-1].name
        reason = f"built for {classes} classes, it gives {list(seen.output)} for one image"
        yield Problem(positions(network)[last], last, reason)


def signature_problems(network: Network, seen: SeenSignature) -> Iterator[Problem]:
    """What a graph declares otherwise than whoever runs it goes by."""
    for kind, declared, expected in (
        ("input", seen.input, f"float[N, {network.input_channels}, H, W] input"),
        ("output", seen.output, f"float[N, {network.classes}] {network.returns}"),
    ):
        if declared != expected:
            reason = f"the graph's {kind} is declared as {declared}, not as {expected}"
            yield Problem(len(positions(network)), None, reason)


def initializer_problems(
    network: Network, seen: Sequence[SeenInitializer], *, entries: Mapping[str, Entry]
) -> Iterator[Problem]:
    """Every reference into `model.safetensors`, against where `entries` says the tensor lies."""
    position = positions(network)
    by_name = {initializer.name: initializer for initializer in seen}
    built = {entry.name: entry for entry in layout(network).entries}
    for op in network.ops:
        for parameter in parameters(op):
            reason = _misplaced(by_name.get(parameter.name), entries[parameter.name])
            if reason is not None:
                text = f"initializer {parameter.name} {reason}"
                if entries[parameter.name] != built[parameter.name]:
                    text += ", which was saved otherwise: `build --weights` writes it in order"
                yield Problem(position[op.name], op.name, text, explains=True)
    for name, initializer in by_name.items():
        if name not in entries and initializer.location is not None:
            yield Problem(len(position), None, f"initializer {name} is no tensor of this network")
    for name in _repeated(initializer.name for initializer in seen):
        yield Problem(len(position), None, f"initializer {name} is there more than once")


def _difference(expected: Parameter, actual: SeenParameter | None) -> str | None:
    if actual is None:
        return f"has no {expected.name}"
    if actual.shape != expected.shape:
        return f"{expected.name} has shape {list(actual.shape)}, not {list(expected.shape)}"
    if actual.trainable != expected.trainable:
        return f"{expected.name} is {'trainable' if actual.trainable else 'not trainable'}"
    if actual.dtype not in ("float32", None):
        return f"{expected.name} is held in {actual.dtype}, not in float32"
    return None


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _misplaced(initializer: SeenInitializer | None, entry: Entry) -> str | None:
    if initializer is None:
        return "is missing"
    facts = (
        ("type", initializer.type, "FLOAT"),
        ("shape", list(initializer.shape), list(entry.shape)),
        ("location", initializer.location, WEIGHTS_FILE),
        ("offset", initializer.offset, entry.offset),
        ("length", initializer.length, entry.length),
    )
    for fact, actual, expected in facts:
        if actual != expected:
            reason = f"has {fact} {actual}, not {expected}"
            # Not the graph's fault, if somebody saved the weights anew.
            return f"{reason} as in {WEIGHTS_FILE}" if fact in ("offset", "length") else reason
    return None
