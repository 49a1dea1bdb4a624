"""Compares the tensors that a target declares with those that the network owns."""

from collections.abc import Iterator, Mapping, Sequence

from resnetgen.ir.network import Network
from resnetgen.ir.rules import network_parameters, parameters
from resnetgen.verify.problem import Problem, positions
from resnetgen.verify.runners.protocol import SeenInitializer, SeenParameter
from resnetgen.weights.layout import WEIGHTS_FILE, Entry


def parameter_problems(network: Network, seen: Sequence[SeenParameter]) -> Iterator[Problem]:
    """Names, shapes and what is trainable."""
    position = positions(network)
    by_name = {parameter.name: parameter for parameter in seen}
    expected = {each.name for each in network_parameters(network)}
    for op in network.ops:
        for parameter in parameters(op):
            name = parameter.name
            actual = by_name.get(name)
            if actual is None:
                yield Problem(position[op.name], op.name, f"has no {name}")
            elif actual.shape != parameter.shape:
                reason = f"{name} has shape {list(actual.shape)}, not {list(parameter.shape)}"
                yield Problem(position[op.name], op.name, reason)
            elif actual.trainable != parameter.trainable:
                state = "trainable" if actual.trainable else "not trainable"
                yield Problem(position[op.name], op.name, f"{name} is {state}")
    for name in by_name.keys() - expected:
        owner = name.rpartition(".")[0]
        reason = f"has {name}, which the spec does not"
        yield Problem(position.get(owner, len(position)), owner, reason)


def initializer_problems(
    network: Network, seen: Sequence[SeenInitializer], *, entries: Mapping[str, Entry]
) -> Iterator[Problem]:
    """Every reference into `model.safetensors`, against where `entries` says the tensor lies."""
    position = positions(network)
    by_name = {initializer.name: initializer for initializer in seen}
    for op in network.ops:
        for parameter in parameters(op):
            reason = _misplaced(by_name.get(parameter.name), entries[parameter.name])
            if reason is not None:
                text = f"initializer {parameter.name} {reason}"
                yield Problem(position[op.name], op.name, text, explains=True)
    for name, initializer in by_name.items():
        if name not in entries and initializer.location is not None:
            yield Problem(len(position), None, f"initializer {name} is no tensor of this network")


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
