"""Takes one step of training in the interpreter: the loss, every gradient, and what norms see.

What draws at random in training is the identity here, as it is in inference, and frameworks are
told to leave it so.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.ir.ops import BatchNorm2d, Drop, Op
from resnetgen.ir.rules import parameters
from resnetgen.verify.cases import Case
from resnetgen.verify.dtypes import FORMATS
from resnetgen.verify.gradient import backward, cross_entropy
from resnetgen.verify.reference import Array, Inputs, Received, Tensors, run, softmax, unchanged

Owned = Callable[[Op], Tensors]
"""Gives an op its own tensors."""

_LEAST_PROBABILITY = FORMATS["float64"].smallest
"""Of a label: the gradient of the logarithm of one that is smaller may be infinite."""
_LEAST_GRADIENT = math.sqrt(_LEAST_PROBABILITY)
"""Of the logits: what comes of one that is smaller may leave float64's range on its way back."""
_NEGLIGIBLE = 1e-6
"""The share of the network's largest gradient below which an op's gradients are what rounding has
left of it."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Per channel what a batch norm kept before the step, and what it saw: `count` values of each
    channel, their mean, and their biased variance."""

    kept_mean: Array
    kept_variance: Array
    mean: Array
    variance: Array
    count: int


@dataclass(frozen=True, slots=True)
class Step:
    """What a framework has to find; tensors by canonical name, values and norms by their op's."""

    values: Mapping[str, Array]
    """Of all ops, in training."""
    loss: float
    of_output: Array
    """The gradient of what the network returns."""
    gradients: Mapping[str, Array]
    scales: Mapping[str, float]
    """For each gradient, the size of what it is made of."""
    statistics: Mapping[str, Statistics]

    def inputs(self, op: Op) -> Inputs:
        """What the op reads."""
        return tuple(self.values[name] for name in op.inputs)


def in_training(op: Op, inputs: tuple[Array, ...], *, tensors: Tensors) -> Tensors:
    """The op's tensors; of a batch norm, with the batch's statistics in place of the running ones,
    which are then called `kept`."""
    if not isinstance(op, BatchNorm2d):
        return tensors
    (value,) = inputs
    return {
        **tensors,
        "kept_mean": tensors["running_mean"],
        "kept_var": tensors["running_var"],
        "running_mean": value.mean(axis=(0, 2, 3)),
        "running_var": value.var(axis=(0, 2, 3)),
    }


def tensors_in(case: Case, owned: Owned) -> Callable[[Op, tuple[Array, ...]], Tensors]:
    """What each op computes with in this case, once its inputs are known."""
    if case.labels is None:
        return lambda op, _: owned(op)
    return lambda op, inputs: in_training(op, inputs, tensors=owned(op))


def walk(
    network: Network, case: Case, owned: Owned, *, received: Received = unchanged
) -> Iterator[tuple[Op, Array]]:
    """Each op and its value, in inference or in training, as the case has it."""
    given = {network.stem[0].name: case.image}
    return run(network.ops, given, tensors=tensors_in(case, owned), received=received)


def without_gradient(network: Network, case: Case, owned: Owned) -> str | None:
    """Why a step of training in this case would have no gradients that could be compared, if so.

    What a softmax gives of a label may be 0, of which there is no logarithm; logits always leave a
    probability. And what is all but certain is not moved any further.
    """
    assert case.labels is not None, f"{case}: nothing to be trained on"
    computed = walk(network, case, owned)
    probabilities = softmax(next(value for op, value in computed if op.name == network.logits))
    labelled = (np.arange(len(case.labels)), case.labels)
    if network.gives_probabilities and probabilities[labelled].min() < _LEAST_PROBABILITY:
        return "a label's probability is 0 in float64, or so near that there is no gradient"
    # Of the others: a label's own gradient is what theirs are together.
    probabilities[labelled] = 0.0
    if probabilities.max() < _LEAST_GRADIENT:
        return "every label is so certain that float64 has no gradient"
    return None


def drawing(network: Network) -> tuple[str, ...]:
    """The ops that draw at random in training, and are left out of it here."""
    return tuple(op.name for op in network.ops if isinstance(op, Drop))


def take_step(
    network: Network, case: Case, owned: Owned, *, received: Received = unchanged
) -> Step:
    """The loss of the case's images and labels, and all that follows from it.

    What becomes of an op's inputs on their way, `received` says, forwards and backwards alike.
    """
    assert case.labels is not None, f"{case}: nothing to be trained on"
    statistics: dict[str, Statistics] = {}

    def watched(op: Op, inputs: tuple[Array, ...]) -> Tensors:
        tensors = in_training(op, inputs, tensors=owned(op))
        if isinstance(op, BatchNorm2d):
            statistics[op.name] = Statistics(
                kept_mean=tensors["kept_mean"],
                kept_variance=tensors["kept_var"],
                mean=tensors["running_mean"],
                variance=tensors["running_var"],
                count=inputs[0].size // op.channels,
            )
        return tensors

    arrived: dict[str, Inputs] = {}

    def noted(op: Op, inputs: Inputs) -> Inputs:
        arrived[op.name] = received(op, inputs)
        return arrived[op.name]

    given = {network.stem[0].name: case.image}
    computed = run(network.ops, given, tensors=watched, received=noted)
    values = {op.name: value for op, value in computed}
    last = network.head[-1].name
    probabilities = network.gives_probabilities
    loss, of_output = cross_entropy(values[last], case.labels, probabilities=probabilities)
    back = backward(network.ops, lambda op: arrived[op.name], {last: of_output}, tensors=owned)
    found = {op: of_tensors for op, of_tensors, _ in back}
    named = {
        parameter.name: of_tensors[parameter.kind]
        for op, of_tensors in found.items()
        for parameter in parameters(op)
        if parameter.trainable
    }
    return Step(values, loss, of_output, named, _scales(found), statistics)


def _scales(found: Mapping[Op, Tensors]) -> dict[str, float]:
    """The largest entry among an op's gradients, for each of them.

    A gradient's own largest entry would not do: that of a bias in front of a norm is exactly 0,
    and what is found is what rounding leaves of sums as large as those in the weight's gradient.
    Nor would an op's where all of them are 0, as a norm makes them of a kernel with one weight.
    """
    largest = {
        op: max(float(np.abs(each).max()) for each in of_tensors.values())
        for op, of_tensors in found.items()
        if of_tensors
    }
    least = _NEGLIGIBLE * max(largest.values())
    return {
        parameter.name: max(size, least)
        for op, size in largest.items()
        for parameter in parameters(op)
        if parameter.trainable
    }
