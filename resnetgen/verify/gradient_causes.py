"""Explains a wrong gradient by the place where it is lost, or comes through too large or small.

Backwards everything is linear: what one op passes back to one of its inputs contributes to each
gradient before it by itself. A wrong gradient that is the right one less such a contribution, or
plus some multiple of it, says which op that is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Activation, BatchNorm2d, Op
from resnetgen.ir.rules import parameters
from resnetgen.verify.causes import Explanation
from resnetgen.verify.gradient import backward
from resnetgen.verify.mistake import of_anything
from resnetgen.verify.reference import Array, Tensors
from resnetgen.verify.training import Owned, Step

_REACH = 60
"""How many ops behind the wrong gradient may be to blame: what lies further on shows in gradients
that come before it on the way back."""
_WITNESSES = 4
"""How many ops before the wrong gradient are asked whether a cause explains theirs, too."""
_FITS = 1e-8
"""A cause explains gradients that it gives but for this share of their scale."""


@dataclass(frozen=True, slots=True)
class _Contribution:
    """What `op` passes back to `source`, one of its inputs, and what that adds to the gradients of
    the ops before it; or what it would pass back besides with a mistake, in words."""

    op: Op
    source: str
    added: Mapping[Op, Tensors]
    mistake: str | None = None


@of_anything
def explain_gradient(
    network: Network, step: Step, owned: Owned, wrong: Op, seen: Mapping[str, NDArray[Any]]
) -> Explanation | None:
    """Why the gradients of `wrong` are those `seen`, by canonical name, where all gradients that
    come before them on the way back are right.

    Where several ops in a row may be to blame, all are named.
    """
    ops = tuple(network.ops)
    witnesses = [op for op in ops[: ops.index(wrong)] if parameters(op)][-_WITNESSES:]
    found: list[tuple[_Contribution, float, bool]] = []
    for each in _contributions(ops, step, owned, wrong, witnesses):
        factor = _factor(_off(wrong, step, seen), each.added[wrong], step, wrong)
        if factor is not None and (each.mistake is None or abs(factor - 1) <= _FITS):
            agree = all(
                _is_small(_left(_off(op, step, seen), each.added.get(op, {}), factor), step, op)
                for op in witnesses
            )
            found.append((each, factor, agree))
    if any(agrees for _, _, agrees in found):
        # The gradients next on the way back tell a branch from what it is added to.
        found = [item for item in found if item[2]]
    if not found:
        return None
    first, factor, _ = found[0]
    if first.mistake is not None:
        return Explanation(first.op.name, first.mistake)
    alike = [each.op.name for each, other, _ in found if abs(other - factor) <= _FITS]
    share = "no" if abs(factor + 1) <= _FITS else f"{1 + factor:.6g} times the"
    return Explanation("+".join(alike), f"passes {share} gradient back to {first.source}")


def _off(op: Op, step: Step, seen: Mapping[str, NDArray[Any]]) -> Tensors:
    """By how much the op's gradients are off, where none counts as 0."""
    names = {each.kind: each.name for each in parameters(op) if each.trainable}
    return {
        kind: np.asarray(seen.get(name, 0.0), np.float64) - step.gradients[name]
        for kind, name in names.items()
    }


def _contributions(
    ops: tuple[Op, ...], step: Step, owned: Owned, wrong: Op, witnesses: Sequence[Op]
) -> Iterator[_Contribution]:
    """Those of the ops behind `wrong`, nearest first, down to the `witnesses` before it; but for
    what reaches tensors behind `wrong`, too, since their gradients are right."""
    first = ops.index(witnesses[0] if witnesses else wrong)
    start = ops.index(wrong)
    behind = ops[start + 1 : start + 1 + _REACH]
    passed: dict[Op, tuple[Array, ...]] = {}
    all_back = backward(ops, step.inputs, {ops[-1].name: step.of_output}, tensors=owned)
    for op, _, of_inputs in islice(all_back, len(ops) - start - 1):
        if op in behind:
            passed[op] = of_inputs
    for position, op in enumerate(behind, start + 1):
        for source, gradient, mistake in _passed(op, passed, step, owned):
            between = ops[first:position]
            reached = backward(between, step.inputs, {source: gradient}, tensors=owned)
            added = {each: of_tensors for each, of_tensors, _ in reached if of_tensors}
            if wrong in added and added.keys() <= {wrong, *witnesses}:
                yield _Contribution(op, source, added, mistake)


def _passed(
    op: Op, passed: Mapping[Op, tuple[Array, ...]], step: Step, owned: Owned
) -> Iterator[tuple[str, Array, str | None]]:
    """To which of its inputs the op passes what back, and what besides with which mistake."""
    for source, gradient in zip(op.inputs, passed[op], strict=True):
        yield source, gradient, None
    match op:
        case BatchNorm2d():
            deviation = np.sqrt(step.statistics[op.name].variance + op.epsilon)
            constant = _of_output(op, passed) * (owned(op)["weight"] / deviation)[:, None, None]
            yield op.inputs[0], constant - passed[op][0], "takes its statistics for constants"
        case Activation(function="relu"):
            (value,) = step.inputs(op)
            at_zero = _of_output(op, passed) * (value == 0)
            # What adds nothing explains nothing, and is not worth the way back.
            for slope in (1.0, 0.5) if at_zero.any() else ():
                yield op.inputs[0], slope * at_zero, f"has the slope {slope:g} at 0, not 0"
        case _:
            return


def _of_output(op: Op, passed: Mapping[Op, tuple[Array, ...]]) -> Array:
    """The gradient of what an op of one input gives, from what its readers pass back."""
    return sum(
        (
            gradient
            for reader, gradients in passed.items()
            for name, gradient in zip(reader.inputs, gradients, strict=True)
            if name == op.name
        ),
        start=np.zeros_like(passed[op][0]),
    )


def suspects(network: Network, wrong: Op) -> str:
    """The ops that may be to blame where the gradients of `wrong` are, and nothing explains them:
    itself, and those behind down to the next one with gradients, which are right."""
    ops = tuple(network.ops)
    behind = ops[ops.index(wrong) + 1 :]
    until = next((place for place, op in enumerate(behind) if parameters(op)), len(behind))
    return "+".join(op.name for op in (wrong, *behind[: until + 1]))


def _factor(off: Tensors, added: Tensors, step: Step, wrong: Op) -> float | None:
    """How many times more of what is added explains how far the gradients are off, if that does."""
    weight = sum(float(np.square(each).sum()) for each in added.values())
    if weight == 0.0:
        return None
    factor = sum(float((off[kind] * each).sum()) for kind, each in added.items()) / weight
    return factor if _is_small(_left(off, added, factor), step, wrong) else None


def _left(off: Tensors, added: Tensors, factor: float) -> Tensors:
    return {kind: each - factor * added.get(kind, 0.0) for kind, each in off.items()}


def _is_small(left: Tensors, step: Step, op: Op) -> bool:
    return all(
        float(np.abs(each).max()) <= _FITS * step.scales[f"{op.name}.{kind}"]
        for kind, each in left.items()
    )
