"""Finds out whose names a file has, and which of its tensors is which of the network's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, did_you_mean, nearest, quote
from resnetgen.ir.network import Network
from resnetgen.ir.ops import Conv2d, Linear
from resnetgen.ir.rules import Shape
from resnetgen.weights.checkpoint import Checkpoint
from resnetgen.weights.origins import LEAST_SHARE, ORIGINS, Foreign, Origin
from resnetgen.weights.places import layers

MOST_LISTED = 6
"""How many tensors are listed, shared by the kinds of mistakes; of the rest the number is told."""


@dataclass(frozen=True, slots=True)
class Match:
    """A file that has every tensor of a network, but perhaps those of the head.

    `foreign` has the file's names and layouts by ours; `prefix` stands before each name there.
    """

    origin: Origin
    prefix: str
    foreign: Mapping[str, Foreign]
    fresh: tuple[str, ...]
    """Our names of the head's tensors, where the file has none or for another number of classes."""
    classes: int | None
    """That number, if it has one."""


def match(
    network: Network, checkpoint: Checkpoint, *, origin: str | None, fresh_head: bool
) -> Match:
    """Accounts for every tensor of both; raises a DiagnosticError with all that do not fit.

    `origin` names whose names to expect instead of finding out. With `fresh_head` a head for
    another number of classes is no mistake, and neither is none.
    """
    file, shapes = checkpoint.file, checkpoint.shapes
    chosen = _recognize(network, file, shapes) if origin is None else _named(origin)
    if unnamed := chosen.unnamed(network):
        raise _cannot_have(chosen, unnamed, file)
    foreign = chosen.tensors(network)
    fresh, classes = _head_of_others(network, foreign, shapes)
    expected = foreign
    if fresh_head:
        expected = {name: each for name, each in foreign.items() if name not in fresh}
    biases = _biases(network, chosen)
    # Where they are one decision of the spec, they are one mistake.
    told = biases if not biases & shapes.keys() else biases - {e.name for e in foreign.values()}
    names = {each.name for each in foreign.values()}
    wanted = [each for each in expected.values() if each.name not in told]
    missing = [each for each in wanted if each.name not in shapes]
    misshapen = [e for e in expected.values() if shapes.get(e.name, e.shape) != e.shape]
    unexpected = [name for name in shapes if name not in names | told]
    lacking = {e.name: e.shape for e in foreign.values() if e.name not in shapes}
    hints: dict[str, str] = {}
    if classes is not None:
        told_classes = f"the file is for {classes:,} classes"
        hints = dict.fromkeys((foreign[name].name for name in fresh), told_classes)
    most = MOST_LISTED // max(1, sum(map(bool, (missing, misshapen, unexpected))))
    found = [
        *_wrong_biases(network, biases & names, shapes, told, file),
        *_missing(missing, expected, shapes, most, file),
        *_misshapen(misshapen, shapes, hints, most, file),
        *_unexpected(unexpected, shapes, lacking, most, file),
    ]
    if found:
        raise DiagnosticError(found)
    return Match(chosen, checkpoint.prefix, expected, fresh, classes)


def _recognize(network: Network, file: str, shapes: Mapping[str, Shape]) -> Origin:
    """The origin most of whose names for this network are in the file."""
    shares = {each: _share(each, network, shapes) for each in ORIGINS}
    able = max((each for each in ORIGINS if each.knows(network)), key=lambda each: shares[each])
    best = able if shares[able] >= LEAST_SHARE else max(ORIGINS, key=lambda each: shares[each])
    if shares[best] >= LEAST_SHARE:
        return best
    some = ", ".join(quote(name) for name in sorted(shapes)[:3])
    message = f"its tensors have names of no known format: {some}{', ...' * (len(shapes) > 3)}"
    expected = f"{', '.join(each.title for each in ORIGINS[:-1])}, or {ORIGINS[-1].title}"
    raise DiagnosticError.of("unknown-format", message, Span.of_file(file), expected=expected)


def _share(origin: Origin, network: Network, shapes: Mapping[str, Shape]) -> float:
    """How much of the network is in the file under the origin's names, or of the file in it."""
    names = {foreign.name for foreign in origin.tensors(network).values()}
    return len(names & shapes.keys()) / max(1, min(len(names), len(shapes)))


def _named(name: str) -> Origin:
    for each in ORIGINS:
        if each.name == name:
            return each
    known = [each.name for each in ORIGINS]
    message = f"there is no format {quote(name)}"
    raise DiagnosticError.of(
        "unknown-format", message, hint=did_you_mean(name, known), expected=", ".join(known)
    )


def _cannot_have(origin: Origin, unnamed: tuple[str, ...], file: str) -> DiagnosticError:
    first, *others = unnamed
    more = f" and {len(others):,} more" if others else ""
    message = f"has {origin.title}, and those name no {first}{more}"
    expected = "a file of a network with such layers, or a spec without them"
    return DiagnosticError.of("unnamed-layer", message, Span.of_file(file), expected=expected)


def _head_of_others(
    network: Network, foreign: Mapping[str, Foreign], shapes: Mapping[str, Shape]
) -> tuple[tuple[str, ...], int | None]:
    """The head's tensors, and for how many classes the file's are, if that is all that differs;
    or the head's tensors alone, if the file has none of them."""
    (head,) = (op for op in network.head if isinstance(op, Linear))
    names = (f"{head.name}.weight", f"{head.name}.bias")
    weight, bias = (foreign[name] for name in names)
    if not {weight.name, bias.name} & shapes.keys():
        return names, None
    theirs = shapes.get(bias.name)
    if theirs is None or len(theirs) != 1 or theirs == bias.shape:
        return (), None
    classes = theirs[0]
    ours_last = weight.axes[0] == 1
    rows = (head.in_features, classes) if ours_last else (classes, head.in_features)
    if shapes.get(weight.name) != rows:
        return (), None
    return names, classes


def _biases(network: Network, origin: Origin) -> set[str]:
    """The names of all biases that convolutions could have, whether they have them or not."""
    found = (origin.bias(each) for each in layers(network) if isinstance(each.op, Conv2d))
    return {name for name in found if name is not None}


def _wrong_biases(
    network: Network, wanted: set[str], shapes: Mapping[str, Shape], told: set[str], file: str
) -> Iterator[Diagnostic]:
    extra = sorted((told - wanted) & shapes.keys())
    if extra:
        message = f"has biases of convolutions, as {quote(extra[0])}, and {network.name} has none"
        hint = f"there are {len(extra):,}: state `conv_bias: true` in the spec"
        yield _found("biases", message, file, hint)
    lacking = sorted(wanted & told)
    if lacking:
        message = f"has no biases of convolutions, as {quote(lacking[0])}, and {network.name} has"
        hint = f"there would be {len(lacking):,}: state `conv_bias: false` in the spec"
        yield _found("biases", message, file, hint)


def _missing(
    absent: list[Foreign],
    expected: Mapping[str, Foreign],
    shapes: Mapping[str, Shape],
    most: int,
    file: str,
) -> Iterator[Diagnostic]:
    taken = {each.name for each in expected.values()}
    left = {name: shape for name, shape in shapes.items() if name not in taken}
    for each in absent[:most]:
        hint = _nearest_hint(each.name, each.shape, left, "the file has")
        yield _found("missing-tensor", f"lacks {quote(each.name)}", file, hint)
    yield from _folded("missing-tensor", "lacks", [each.name for each in absent[most:]], file)


def _misshapen(
    wrong: list[Foreign],
    shapes: Mapping[str, Shape],
    hints: Mapping[str, str],
    most: int,
    file: str,
) -> Iterator[Diagnostic]:
    for each in wrong[:most]:
        message = f"{quote(each.name)} has shape {list(shapes[each.name])}"
        place, expected_shape = Span.of_file(file), str(list(each.shape))
        hint = hints.get(each.name)
        yield Diagnostic("misshapen-tensor", message, place, hint, expected_shape)
    names = [each.name for each in wrong]
    yield from _folded("misshapen-tensor", "has other shapes for", names[most:], file)


def _unexpected(
    extra: list[str],
    shapes: Mapping[str, Shape],
    lacking: Mapping[str, Shape],
    most: int,
    file: str,
) -> Iterator[Diagnostic]:
    for name in extra[:most]:
        hint = _nearest_hint(name, shapes[name], lacking, "the network has")
        message = f"has {quote(name)}, which is no tensor of the network"
        yield _found("unexpected-tensor", message, file, hint)
    yield from _folded("unexpected-tensor", "has, and the network has not,", extra[most:], file)


def _nearest_hint(name: str, shape: Shape, known: Mapping[str, Shape], who: str) -> str | None:
    """The nearest name of what could be the same tensor, since it has this shape."""
    found = nearest(name, (other for other in known if known[other] == shape))
    return None if found is None else f"{who} {quote(found)}"


def _folded(code: str, verb: str, names: list[str], file: str) -> Iterator[Diagnostic]:
    if names:
        tensors = "tensor" if len(names) == 1 else "tensors"
        message = f"{verb} {len(names):,} more {tensors}, the last {quote(names[-1])}"
        hint = f"`resnetgen infer {file}` says which network has its tensors"
        yield _found(code, message, file, hint)


def _found(code: str, message: str, file: str, hint: str | None) -> Diagnostic:
    return Diagnostic(code, message, Span.of_file(file), hint)
