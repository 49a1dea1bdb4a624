"""Compares a step of training that a framework took with the one that the interpreter took."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Network
from resnetgen.ir.ops import BatchNorm2d, Op
from resnetgen.ir.rules import Parameter, parameters
from resnetgen.verify.cases import Case
from resnetgen.verify.compare import (
    GRADIENT_TOLERANCE,
    Difference,
    compare,
    compare_gradient,
    describe,
)
from resnetgen.verify.dtypes import Dtype
from resnetgen.verify.gradient_causes import explain_gradient, suspects
from resnetgen.verify.mistake import of_anything
from resnetgen.verify.problem import Problem, positions
from resnetgen.verify.reference import Array
from resnetgen.verify.result import TrainingFigures, Unproven
from resnetgen.verify.runners.protocol import SeenStep
from resnetgen.verify.runners.registry import Variance
from resnetgen.verify.training import Owned, Statistics, Step, drawing

_FITS = 1e-9
"""A cause explains a statistic that it gives but for this share."""


@dataclass(frozen=True, slots=True)
class ExpectedStep:
    """What is right, and how exactly a framework can find it."""

    case: Case
    step: Step
    conditioning: float
    """How far gradients move when image and norms' inputs do by one part in 1e15."""
    growth: float
    """By how much rounding may have grown up to the loss.

    The norms' statistics are held to it, too: growth is measured where blocks end, and inside one
    it may be larger, since what a shortcut adds hides it; this is the largest that was measured.
    """
    owned: Owned
    """The tensors that the step was taken with."""

    def by(self, seen: SeenStep, scratch: Path) -> "ExpectedStep":
        """What is right by a framework that was seen to agree: its loss and gradients."""
        with np.load(scratch / seen.arrays, allow_pickle=False) as file:
            found = {name: np.asarray(file[name], np.float64) for name in self.step.gradients}
        return replace(self, step=replace(self.step, loss=seen.loss, gradients=found))


@dataclass(frozen=True, slots=True)
class ComparedStep:
    """What is wrong with a step, the likeliest origin first, its figures, and what of it rounding
    alone may have made: where that is anything, nothing is proven of the rest, either."""

    problems: tuple[Problem, ...]
    figures: TrainingFigures
    unproven: Unproven | None


def compare_step(
    network: Network,
    expected: ExpectedStep,
    seen: SeenStep,
    scratch: Path,
    *,
    dtype: Dtype,
    running_variance: Variance,
) -> ComparedStep:
    """The loss; then the gradients, from the loss backwards; then what the norms keep."""
    problems: list[Problem] = []
    with np.load(scratch / seen.arrays, allow_pickle=False) as file:
        arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
    for name, array in arrays.items():
        if array.dtype != dtype:
            reason = f"what training gives for {name} is {array.dtype}, not {dtype}"
            problems.append(Problem(0, name.rpartition(".")[0], reason))
    doubtful: list[Unproven] = []
    loss = _compare_loss(network, expected, seen.loss, dtype)
    if loss.proves_nothing:
        doubtful.append(Unproven("the loss", loss.rounding))
    elif not loss.passed:
        last = network.head[-1].name
        reason = f"the loss is {seen.loss:.6g}, not {expected.step.loss:.6g}"
        problems.append(Problem(positions(network)[last], last, reason))
    gradients, wrong = _compare_gradients(network, expected, arrays, doubtful)
    if wrong is not None:
        problems.append(wrong)
    statistics, wrong_statistics = _compare_statistics(
        network, expected, arrays, doubtful, dtype=dtype, kind=running_variance
    )
    problems += wrong_statistics
    figures = TrainingFigures(
        dtype=dtype,
        batch=len(expected.case.image),
        scale=expected.case.scale,
        loss=seen.loss,
        loss_rel_diff=loss.relative,
        gradients=len(gradients),
        max_rel_diff=max((each.relative for each in gradients), default=math.inf),
        tolerance=GRADIENT_TOLERANCE,
        conditioning=expected.conditioning,
        bound=max((each.bound for each in gradients), default=GRADIENT_TOLERANCE),
        minimum_tolerance=max(
            (each.relative / each.growth for each in gradients), default=math.inf
        ),
        statistics=len(statistics),
        statistics_max_rel_diff=max((each.relative for each in statistics), default=0.0),
        running_variance=running_variance,
        switched_off=drawing(network),
    )
    return ComparedStep(tuple(problems), figures, next(iter(doubtful), None))


def _compare_loss(
    network: Network, expected: ExpectedStep, seen: float, dtype: Dtype
) -> Difference:
    """A loss near 0 is what is left of logits that are not."""
    step = expected.step
    logits = step.values[network.head[-1].name]
    return compare(
        np.array([seen]),
        np.array([step.loss]),
        dtype=dtype,
        growth=expected.growth,
        scale=max(step.loss, float(np.abs(logits).max())),
    )


def _compare_gradients(
    network: Network,
    expected: ExpectedStep,
    arrays: Mapping[str, NDArray[Any]],
    doubtful: list[Unproven],
) -> tuple[list[Difference], Problem | None]:
    """All of them, and what is wrong with the first wrong gradient on the way back from the loss:
    all that lie before it are consequences. Adds to the `doubtful` those that prove nothing."""
    found: list[Difference] = []
    first: Problem | None = None
    position = positions(network)
    for op, parameter in _backwards(network):
        name = parameter.name
        right, actual = expected.step.gradients[name], arrays.get(name)
        if actual is None:
            reason = f"{name} gets no gradient"
        else:
            difference = compare_gradient(
                actual,
                right,
                scale=expected.step.scales[name],
                conditioning=expected.conditioning,
            )
            found.append(difference)
            if difference.passed:
                continue
            if difference.proves_nothing:
                doubtful.append(Unproven(f"the gradient of {name}", difference.rounding))
                continue
            reason = f"the gradient of {name} {describe(actual, right, difference)}"
        if first is None:
            cause = explain_gradient(network, expected.step, expected.owned, op, arrays)
            first = Problem(
                position[op.name],
                cause.op if cause else suspects(network, op),
                reason,
                cause=cause.cause if cause else None,
            )
    return found, first


def _backwards(network: Network) -> Iterator[tuple[Op, Parameter]]:
    for op in reversed(tuple(network.ops)):
        for parameter in reversed(parameters(op)):
            if parameter.trainable:
                yield op, parameter


def _compare_statistics(
    network: Network,
    expected: ExpectedStep,
    arrays: Mapping[str, NDArray[Any]],
    doubtful: list[Unproven],
    *,
    dtype: Dtype,
    kind: Variance,
) -> tuple[list[Difference], list[Problem]]:
    """What each norm has added to what it kept: momentum times the batch's mean and variance, the
    latter times the factor that belongs to the `kind` of it. Adds to the `doubtful` what proves
    nothing."""
    found: list[Difference] = []
    problems: list[Problem] = []
    for position, op in enumerate(network.ops):
        if not isinstance(op, BatchNorm2d):
            continue
        of_batch = expected.step.statistics[op.name]
        mean, variance = (
            arrays.get(f"{op.name}.{name}") for name in ("running_mean", "running_var")
        )
        if mean is None or variance is None:
            problems.append(Problem(position, op.name, f"shows no running statistics of {op.name}"))
            continue
        right = _added(of_batch, op.momentum, _factor(kind, of_batch))
        kept = (of_batch.kept_mean, of_batch.kept_variance)
        # A mean near 0 is one of values that are not.
        spread = np.sqrt(np.square(of_batch.mean) + of_batch.variance)
        sizes = (op.momentum * float(spread.max()), float(np.abs(right[1]).max()))
        names = ("mean", "variance")
        for name, actual, old, added, size in zip(
            names, (mean, variance), kept, right, sizes, strict=True
        ):
            before = (1 - op.momentum) * old
            seen = actual - before if actual.shape == old.shape else actual
            difference = compare(
                seen,
                added,
                dtype=dtype,
                growth=expected.growth,
                scale=max(size, float(np.abs(before).max())),
            )
            found.append(difference)
            statistic = f"the running {name} of {op.name}"
            if difference.proves_nothing:
                doubtful.append(Unproven(statistic, difference.rounding))
            elif not difference.passed:
                reason = f"{statistic} {describe(seen, added, difference)}"
                cause = _cause(op, of_batch, mean, variance, kind=kind)
                problems.append(Problem(position, op.name, reason, cause=cause))
    return found, problems


def _factor(kind: Variance, of_batch: Statistics) -> float:
    """What the biased variance is multiplied by, before it is kept."""
    return 1.0 if kind == "biased" else of_batch.count / (of_batch.count - 1)


def _added(of_batch: Statistics, momentum: float, factor: float) -> tuple[Array, Array]:
    return momentum * of_batch.mean, momentum * factor * of_batch.variance


@of_anything
def _cause(
    op: BatchNorm2d,
    of_batch: Statistics,
    mean: NDArray[Any],
    variance: NDArray[Any],
    *,
    kind: Variance,
) -> str | None:
    """The momentum and the kind of variance with which the norm keeps just these statistics."""
    kept_mean, kept_variance = of_batch.kept_mean, of_batch.kept_variance
    if mean.shape != kept_mean.shape or variance.shape != kept_variance.shape:
        return None
    if np.array_equal(mean, kept_mean) and np.array_equal(variance, kept_variance):
        return "does not move its running statistics"
    distance = of_batch.mean - kept_mean
    momentum = float(((mean - kept_mean) * distance).sum() / np.square(distance).sum())
    other: Variance = "biased" if kind == "unbiased" else "unbiased"
    for each in (kind, other):
        of_mean, of_variance = _added(of_batch, momentum, _factor(each, of_batch))
        if _fits(mean, (1 - momentum) * kept_mean + of_mean) and _fits(
            variance, (1 - momentum) * kept_variance + of_variance
        ):
            causes = [] if each == kind else [f"keeps the {each} variance, not the {kind} one"]
            if abs(momentum - op.momentum) > _FITS:
                causes.append(
                    f"momentum is {momentum:.6g} instead of {op.momentum:g} (as Keras and Flax "
                    f"count, {1 - momentum:.6g} instead of {1 - op.momentum:g})"
                )
            # What is right but for rounding fits, too, and is nobody's mistake.
            return ", and ".join(reversed(causes)) or None
    return None


def _fits(seen: NDArray[Any], value: Array) -> bool:
    return bool(np.abs(seen - value).max() <= _FITS * np.abs(value).max())
