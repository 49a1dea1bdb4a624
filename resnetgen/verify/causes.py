"""Explains a wrong value by trying the mistakes that people are known to make.

Everything is found from recorded numbers: a mistake explains a value if replaying the ops with
that mistake gives just this value. No file is ever looked at.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from resnetgen.ir.ops import Activation, Add, Op
from resnetgen.verify.compare import compare, path_growth
from resnetgen.verify.dtypes import Dtype, is_narrow
from resnetgen.verify.mistake import Mistake, of_anything
from resnetgen.verify.mistakes import aftermaths, mistakes
from resnetgen.verify.reference import Array, Tensors, activate, evaluate

Loader = Callable[[Op, tuple[Array, ...]], Tensors]
"""Gives what an op computes with, once its inputs are known."""

_SLACK = 100
"""A mistake fits if it comes within what this many ops may lose by rounding; a wrong value lies
far outside."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The op to blame, and what is wrong with it."""

    op: str
    cause: str


@dataclass(frozen=True, slots=True)
class Span:
    """Ops replayed together, the recorded values they start from (and others), what gives them
    their tensors, and the ops around, whose tensors they may have been given instead."""

    ops: tuple[Op, ...]
    values: Mapping[str, Array]
    tensors: Loader
    around: tuple[Op, ...]

    def inputs(self, op: Op, values: Mapping[str, Array]) -> tuple[Array, ...]:
        """What the op reads, of values replayed so far or else recorded."""
        return tuple(values[name] if name in values else self.values[name] for name in op.inputs)

    def knows(self, op: Op, values: Mapping[str, Array]) -> bool:
        """Whether `inputs` finds all of them."""
        return all(name in values or name in self.values for name in op.inputs)

    def evaluate(self, op: Op, inputs: tuple[Array, ...]) -> Array:
        return evaluate(op, inputs, tensors=self.tensors(op, inputs))


@of_anything
def explain(span: Span, seen: Array, *, dtype: Dtype) -> Explanation | None:
    """The first known mistake in any of the span's ops that gives `seen`."""
    found = _first_mistake(span, seen, dtype)
    if found is None and not np.isfinite(seen).all():
        return Explanation(span.ops[-1].name, "the output is not finite")
    return found


def _first_mistake(span: Span, seen: Array, dtype: Dtype) -> Explanation | None:
    right = _replay(span, {}, start=0)
    for position, op in enumerate(span.ops):
        is_last = position == len(span.ops) - 1
        for mistake in _candidates(span, op, right, seen if is_last else None):
            try:
                values = _replay(span, {**right, op.name: mistake.value}, start=position + 1)
            except ValueError:
                continue  # what the mistake gives does not fit the ops behind it
            explains = _equal(seen, values[span.ops[-1].name], dtype)
            # What gives the right value, but for less than the slack, is no mistake.
            if explains and not _equal(mistake.value, right[op.name], dtype):
                return Explanation(op.name, mistake.cause)
    return None


@of_anything
def explain_misread(
    value: str, received: Array, values: Mapping[str, Array], *, dtype: Dtype
) -> str:
    """What a reader of `value` received instead."""
    for name, other in values.items():
        if name != value and _equal(received, other, dtype):
            return f"reads {name}, not {value}"
    return f"does not receive {value} as it was given"


@of_anything
def explain_swapped(span: Span, reader: Op, received: Array, *, dtype: Dtype) -> str | None:
    """What comes behind `reader`, if that has worked on what the span gives already."""
    right = _replay(span, {}, start=0)
    for other in span.around:
        if other.inputs == (reader.name,):
            try:
                value = span.evaluate(other, (right[span.ops[-1].name],))
            except ValueError:
                continue  # what comes behind it takes another shape
            if _equal(received, value, dtype):
                return f"receives what {other.name}, which comes behind it, makes of its input"
    return None


@of_anything
def explain_aftermath(given: Array, returned: Array, *, dtype: Dtype) -> str:
    """What happens to the last layer's value before the model returns it."""
    for mistake in aftermaths(given, returned):
        if _equal(returned, mistake.value, dtype):
            return mistake.cause
    return "is not what the model returns"


def _candidates(
    span: Span, op: Op, right: Mapping[str, Array], seen: Array | None
) -> Iterator[Mistake]:
    inputs = span.inputs(op, right)
    tensors = span.tensors(op, inputs)
    yield from mistakes(op, inputs, tensors=tensors, right=right[op.name], seen=seen)
    yield from _wrong_order(span, op, right)
    yield from _wrong_tensors(span, op, inputs, tensors)
    yield from _wrong_sources(span, op, inputs)


def _wrong_order(span: Span, op: Op, right: Mapping[str, Array]) -> Iterator[Mistake]:
    """An activation of what is added, instead of the sum."""
    added = next((each for each in span.around if each.name == op.inputs[0]), None)
    if isinstance(op, Activation) and isinstance(added, Add) and span.knows(added, right):
        main, shortcut = span.inputs(added, right)
        value = activate(op.function, main) + shortcut
        yield Mistake("comes in front of the addition, not behind", value)


def _wrong_tensors(
    span: Span, op: Op, inputs: tuple[Array, ...], own: Tensors
) -> Iterator[Mistake]:
    """The op, with the tensors of another one around."""
    shapes = {kind: tensor.shape for kind, tensor in own.items()}
    for other in span.around if own else ():
        if other.name != op.name and type(other) is type(op):
            tensors = span.tensors(other, inputs)
            if {kind: tensor.shape for kind, tensor in tensors.items()} == shapes:
                value = evaluate(op, inputs, tensors=tensors)
                yield Mistake(f"computes with the tensors of {other.name}", value)


def _wrong_sources(span: Span, op: Op, inputs: tuple[Array, ...]) -> Iterator[Mistake]:
    """The op, applied to some other value of the same shape."""
    for position, name in enumerate(op.inputs):
        for other, value in span.values.items():
            if other in op.inputs or value.shape != inputs[position].shape:
                continue
            moved = (*inputs[:position], value, *inputs[position + 1 :])
            yield Mistake(f"reads {other}, not {name}", span.evaluate(op, moved))


def _replay(span: Span, values: Mapping[str, Array], *, start: int) -> dict[str, Array]:
    """The values of the span's ops from the position `start` on, given those before it."""
    result = dict(values)
    for op in span.ops[start:]:
        result[op.name] = span.evaluate(op, span.inputs(op, result))
    return result


def _equal(seen: Array, expected: Array, dtype: Dtype) -> bool:
    """But for rounding; what is not finite has to be so in the same places."""
    finite = np.isfinite(seen)
    if not finite.all() and seen.shape == expected.shape and finite.any():
        if not np.array_equal(finite, np.isfinite(expected)):
            return False
        seen, expected = seen[finite], expected[finite]
    # In a narrow type that many ops may lose a third of a value, and what one does explains it.
    growth = 1.0 if is_narrow(dtype) else path_growth(_SLACK)
    return compare(seen, expected, dtype=dtype, growth=growth).passed
