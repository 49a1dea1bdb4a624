"""Measures how rounding grows in a network, by moving what it computes with a little.

A plain network of a hundred layers amplifies what its first ones round away a hundred times; a
residual one of a thousand does not. So the growth is measured for each network, with its weights
and at each scale of the images, and not assumed.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import accumulate

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.ir.ops import BatchNorm2d, GroupNorm, Op, Sigmoid
from resnetgen.ir.rules import parameters
from resnetgen.verify.cases import Case
from resnetgen.verify.dtypes import FORMATS, Dtype
from resnetgen.verify.reference import Array, Inputs, Received, Tensors, evaluate, sigmoid
from resnetgen.verify.rounding import rounded
from resnetgen.verify.stored import Stored
from resnetgen.verify.training import Owned, Step, take_step, walk
from resnetgen.weights.initial import stream

_MOVED = 2.0**-26
"""How far each number is moved, relative to itself: far above float64's rounding, and so little
that the network answers in proportion."""
_MOST_IN_PROPORTION = 2.0**16
"""Where rounding has grown by more, what was moved so far has become a thousandth of a value's
scale: what comes behind it can no longer answer in proportion, and nobody knows how far rounding
goes."""
_MOVED_IN_STEP = 1e-15
"""So in a step of training, which a larger move takes over the kinks of ReLUs."""


def growths(
    network: Network, case: Case, stored: Stored, *, values: Mapping[str, Array], seed: int
) -> dict[str, float]:
    """For each of `values`, how many times larger than one op's rounding may have become.

    `values` are the reference's in `case`, in the network's order. The growth is the relative
    change of a value, in units of the weights' own, or that of any value before it.

    What is normalized by its own statistics does not feel weights that move all its pixels as one,
    as rounding does not: so these are moved too, each by itself.
    """
    changed = walk(
        network,
        case,
        lambda op: _moved_tensors(op, stored.tensors(op), seed),
        received=_norms_moved(case, seed=seed, by=_MOVED),
    )
    return _largest_so_far(changed, values, unit=_MOVED)


def at_scale_of(
    values: Mapping[str, Array], growth: Mapping[str, float], *, measured_on: Mapping[str, Array]
) -> dict[str, float]:
    """The growths that were measured on one image, for another's values.

    What rounding leaves is as large where a value happens to be small, and so more of its scale,
    and of that of what comes of it.
    """

    def scaled(name: str) -> float:
        before, now = (float(np.abs(each[name]).max()) for each in (measured_on, values))
        return growth[name] * max(1.0, before / now if now else 1.0)

    return dict(zip(growth, accumulate(map(scaled, growth), max), strict=True))


def gradient_conditioning(
    network: Network, case: Case, step: Step, owned: Owned, *, seed: int
) -> float:
    """How far any gradient of the step moves, relative to its scale, when each pixel, and each
    number that a norm receives, moves by about one part in 1e15.

    An image alone would not do: where biases hide it, a norm takes what is left of differences
    between numbers that are nearly the same. And a gate's gradient is what it leaves of 1: that is
    moved as the rounding of the gate does.
    """
    image = _moved(case.image, "image", seed=seed, by=_MOVED_IN_STEP)
    norms = _norms_moved(case, seed=seed, by=_MOVED_IN_STEP)

    def received(op: Op, inputs: Inputs) -> Inputs:
        return _gate_moved(op, inputs, seed=seed) if isinstance(op, Sigmoid) else norms(op, inputs)

    moved = take_step(network, replace(case, image=image), owned, received=received)
    return max(
        float(np.abs(moved.gradients[name] - gradient).max()) / step.scales[name]
        for name, gradient in step.gradients.items()
    )


def narrow_growths(
    network: Network, case: Case, stored: Stored, *, dtype: Dtype, values: Mapping[str, Array]
) -> dict[str, float]:
    """The same for a type so narrow that what it rounds is not small: each value is rounded to it
    on its way to an op, and the growth is the relative change in units of the type's epsilon.

    The case's image and the tensors are numbers of the type already.
    """

    def received(_: Op, inputs: Inputs) -> Inputs:
        return tuple(rounded(value, dtype) for value in inputs)

    changed = walk(network, case, stored.tensors, received=received)
    return _largest_so_far(changed, values, unit=FORMATS[dtype].epsilon)


def own_growth(op: Op, inputs: Inputs, *, tensors: Tensors, value: Array) -> float:
    """How many times larger what rounding has left in its inputs may be in the op's `value`.

    Above 1 for an op that takes its own statistics alone: where a group's values hardly differ,
    they are differences of large numbers.
    """
    if not isinstance(op, GroupNorm):
        return 1.0
    changed = evaluate(op, _moved_inputs(op, inputs, seed=0, by=_MOVED), tensors=tensors)
    return _relative_change(changed, value, unit=_MOVED)


def _norms_moved(case: Case, *, seed: int, by: float) -> Received:
    """Moves what is received by each norm that takes its own statistics in the case."""
    kinds = GroupNorm if case.labels is None else GroupNorm | BatchNorm2d

    def received(op: Op, inputs: Inputs) -> Inputs:
        return _moved_inputs(op, inputs, seed=seed, by=by) if isinstance(op, kinds) else inputs

    return received


def _gate_moved(op: Sigmoid, inputs: Inputs, *, seed: int) -> Inputs:
    """What a gate receives, moved so far that what it leaves of 1 moves as one part of it does."""
    (value,) = inputs
    left = np.maximum(sigmoid(-value), _MOVED_IN_STEP)
    return (value + _MOVED_IN_STEP / left * _noise(value, f"{op.name}.input", seed),)


def _moved_inputs(op: Op, inputs: Inputs, *, seed: int, by: float) -> Inputs:
    return tuple(_moved(value, f"{op.name}.input", seed=seed, by=by) for value in inputs)


def _moved(value: Array, name: str, *, seed: int, by: float) -> Array:
    """The value with each of its numbers moved by about this part of itself."""
    return value * (1 + by * _noise(value, name, seed))


def _noise(value: Array, name: str, seed: int) -> Array:
    return stream(seed, f"conditioning.{name}").standard_normal(value.shape)


def _moved_tensors(op: Op, tensors: Tensors, seed: int) -> Tensors:
    names = {parameter.kind: parameter.name for parameter in parameters(op)}
    return {
        kind: _moved(tensor, names[kind], seed=seed, by=_MOVED) for kind, tensor in tensors.items()
    }


def _largest_so_far(
    changed: Iterable[tuple[Op, Array]], values: Mapping[str, Array], *, unit: float
) -> dict[str, float]:
    """The relative change of each of the values, or that of any before it."""
    found = {
        op.name: _relative_change(value, values[op.name], unit=unit)
        for op, value in changed
        if op.name in values
    }
    return dict(zip(found, accumulate(found.values(), max), strict=True))


def _relative_change(changed: Array, value: Array, *, unit: float) -> float:
    """In units of what was moved, and not below 1; infinite where it says nothing any more."""
    scale = float(np.abs(value).max())
    change = float(np.abs(changed - value).max())
    growth = max(1.0, change / scale / unit if scale else 1.0)
    return growth if growth <= _MOST_IN_PROPORTION else math.inf
