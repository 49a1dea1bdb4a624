"""Finds the first op whose output is wrong given the inputs that it received.

The interpreter replays ops on the framework's own recorded values, so errors do not accumulate.
Ops that the framework does not show lie between two recorded values and are replayed together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from resnetgen.ir.ops import Input, Op
from resnetgen.verify.causes import (
    Loader,
    Span,
    explain,
    explain_aftermath,
    explain_misread,
    explain_swapped,
)
from resnetgen.verify.compare import compare, describe, path_growth
from resnetgen.verify.conditioning import own_growth
from resnetgen.verify.dtypes import Dtype
from resnetgen.verify.observed import RETURNED, Observation
from resnetgen.verify.reference import Array, evaluate

Witnesses = Mapping[str, Mapping[str | None, Array]]
"""Recorded arrays by value and by reader; a producer's own is under None and comes first."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a network first goes wrong; `name` is an op, or several joined by a plus sign."""

    name: str
    problem: str
    cause: str | None
    seen: str = "given its inputs"
    """How what is wrong was seen."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A value that the framework had, or that was replayed through ops it does not show."""

    array: Array
    unshown: tuple[Op, ...]
    growth: float = 1.0
    """How rounding may have grown in those."""


def localize(
    ops: Iterable[Op],
    seen: Iterable[Observation],
    *,
    given: Mapping[str, Array],
    tensors: Loader,
    dtype: Dtype,
) -> Divergence | None:
    """Replays `ops`, which come in order; None if each gives what was seen of it.

    `given` are values that the framework was given, and so need not show.
    """
    ops = tuple(ops)
    witnesses = _witnesses(seen)
    known = {name: _Known(array, ()) for name, array in given.items()}
    for op in ops:
        for name in op.inputs:
            if name not in known and name in witnesses:
                known[name] = _Known(_first(witnesses[name]), ())
                if misread := _misread(name, witnesses, known, dtype=dtype):
                    return misread
        if isinstance(op, Input) or any(name not in known for name in op.inputs):
            continue
        unshown = (inner for name in op.inputs for inner in known[name].unshown)
        span = (*dict.fromkeys(unshown), op)
        inputs = tuple(known[name].array for name in op.inputs)
        owned = tensors(op, inputs)
        expected = evaluate(op, inputs, tensors=owned)
        growth = max(
            own_growth(op, inputs, tensors=owned, value=expected),
            *(known[name].growth for name in op.inputs),
        )
        if op.name not in witnesses:
            known[op.name] = _Known(expected, span, growth)
            continue
        actual = _first(witnesses[op.name])
        limit = growth * path_growth(len(span))
        difference = compare(actual, expected, dtype=dtype, growth=limit)
        if not difference.passed:
            problem = describe(actual, expected, difference)
            reader = next(iter(witnesses[op.name]))
            return _divergence(
                span,
                actual,
                known,
                problem,
                reader=reader,
                tensors=tensors,
                around=ops,
                dtype=dtype,
            )
        known[op.name] = _Known(actual, ())
        if misread := _misread(op.name, witnesses, known, dtype=dtype):
            return misread
    return None


def _divergence(
    ops: tuple[Op, ...],
    actual: Array,
    known: Mapping[str, _Known],
    problem: str,
    *,
    reader: str | None,
    tensors: Loader,
    around: tuple[Op, ...],
    dtype: Dtype,
) -> Divergence:
    """Names the op to blame if a known cause explains what was seen, else all that it may be.

    Where only a `reader` shows it, it may as well be right, and its reader be given something else.
    """
    values = {name: value.array for name, value in known.items()}
    span = Span(ops, values, tensors, around)
    explanation = explain(span, actual, dtype=dtype)
    if explanation is not None:
        return Divergence(explanation.op, problem, explanation.cause)
    blamed = "+".join(op.name for op in ops)
    if reader is None or reader == RETURNED:
        return Divergence(blamed, problem, None)
    for op in around:
        if op.name == reader and (cause := explain_swapped(span, op, actual, dtype=dtype)):
            return Divergence(reader, problem, cause, seen="by what it receives")
    return Divergence(blamed, problem, None, seen=f"as {reader} receives it")


def _misread(
    value: str, witnesses: Witnesses, known: Mapping[str, _Known], *, dtype: Dtype
) -> Divergence | None:
    """A reader that received something else than what the value's producer gave."""
    given = known[value].array
    for reader, received in witnesses[value].items():
        if reader is None:
            continue
        difference = compare(received, given, dtype=dtype, growth=1.0)
        if difference.passed:
            continue
        problem = describe(received, given, difference)
        if reader == RETURNED:
            return Divergence(value, problem, explain_aftermath(given, received, dtype=dtype))
        values = {name: each.array for name, each in known.items()}
        return Divergence(reader, problem, explain_misread(value, received, values, dtype=dtype))
    return None


def _witnesses(seen: Iterable[Observation]) -> Witnesses:
    witnesses: dict[str, dict[str | None, Array]] = {}
    for observation in seen:
        if observation.array is not None:
            readers = witnesses.setdefault(observation.place.value, {})
            readers.setdefault(observation.place.reader, observation.array.astype(np.float64))
    return {
        value: dict(sorted(readers.items(), key=lambda item: item[0] is not None))
        for value, readers in witnesses.items()
    }


def _first(readers: Mapping[str | None, Array]) -> Array:
    return next(iter(readers.values()))
