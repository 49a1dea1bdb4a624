"""Lays out what all runners share: weights, images, and the reference's values for them."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op
from resnetgen.verify.cases import (
    Case,
    Weights,
    drawn_cases,
    scaled,
    shipped_image,
    sizes_only,
    training_case,
)
from resnetgen.verify.conditioning import growths
from resnetgen.verify.document import Level, WeightsState
from resnetgen.verify.numbers import Drawn
from resnetgen.verify.observed import boundaries
from resnetgen.verify.reference import Array
from resnetgen.verify.runners.protocol import CaseRequest, TrainingRequest
from resnetgen.verify.step import ExpectedStep
from resnetgen.verify.stored import Stored, StoredError, read
from resnetgen.verify.training import conditioning, gives_probabilities, take_step, walk
from resnetgen.weights.file import write
from resnetgen.weights.initial import initial
from resnetgen.weights.layout import WEIGHTS_FILE, layout

_LARGEST_PEAK = 1e6
"""If shipped weights drive a value beyond this, their image is scaled down until it is below one:
fresh weights double a residual sum at every block."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Weights files, cases, and images on disk; `known` are reference values found on the way."""

    network: Network
    state: WeightsState
    stored: Mapping[Weights, Stored]
    cases: tuple[Case, ...]
    requests: tuple[CaseRequest, ...]
    known: Mapping[int, Mapping[str, Array]]


def weights_state(directory: Path) -> WeightsState:
    """Whether the directory has a weights file, be it a broken one."""
    return "shipped" if os.path.lexists(directory / WEIGHTS_FILE) else "absent"


def prepare(
    network: Network, directory: Path, scratch: Path, *, level: Level, seed: int
) -> Prepared:
    """Raises StoredError where the directory's weights are not this network's, or not finite."""
    path = directory / WEIGHTS_FILE
    state = weights_state(directory)
    if state == "absent":
        path = scratch / "shipped" / WEIGHTS_FILE
        path.parent.mkdir()
        write(path, layout(network), tensors=initial(network, seed=seed))
    shipped = read(path, network)
    stored: dict[Weights, Stored] = {"shipped": shipped}
    if level == "shapes":
        cases, known = sizes_only(network, seed=seed), {}
    else:
        first, first_values = shipped_case(network, shipped, seed=seed)
        drawn, drawn_values = _draw(network, shipped, scratch, seed=seed)
        stored["drawn"] = drawn
        cases = (first, *drawn_cases(network, seed=seed))
        known = {0: first_values, 1: drawn_values}
        if level == "train":
            cases = (*cases, training_case(network, seed=seed))
    requests = tuple(_requests(network, cases, stored, scratch))
    return Prepared(network, state, stored, cases, requests, known)


def reference_values(prepared: Prepared) -> list[Mapping[str, Array]]:
    """For each case what the interpreter computes at the boundaries."""
    network = prepared.network
    return [
        prepared.known.get(number)
        or _boundary_values(network, walk(network, case, prepared.stored[case.weights].tensors))
        for number, case in enumerate(prepared.cases)
    ]


def reference_step(
    prepared: Prepared, growths: Sequence[Mapping[str, float]], *, seed: int
) -> ExpectedStep | None:
    """What the interpreter finds in the case that is a step of training, if there is one.

    `growths` are those of the cases' values.
    """
    network = prepared.network
    for case, growth in zip(prepared.cases, growths, strict=True):
        if case.labels is None:
            continue
        owned = prepared.stored[case.weights].tensors
        step = take_step(network, case, owned)
        moved = conditioning(network, case, step, owned, seed=seed)
        return ExpectedStep(case, step, moved, growth[network.head[-1].name], owned)
    return None


def measured_growths(
    prepared: Prepared, values: Sequence[Mapping[str, Array]], *, seed: int
) -> list[Mapping[str, float]]:
    """For each case how rounding grows, measured on the first case with the same weights and scale,
    and on a step of training by itself.

    What saturates, as a gate does, lets rounding grow otherwise at another scale.
    """
    measured: dict[tuple[Weights, float, bool], Mapping[str, float]] = {}
    alike: list[tuple[Weights, float, bool]] = [
        (case.weights, case.scale, case.labels is None) for case in prepared.cases
    ]
    for kind, case, expected in zip(alike, prepared.cases, values, strict=True):
        if kind not in measured:
            stored = prepared.stored[case.weights]
            measured[kind] = growths(prepared.network, case, stored, values=expected, seed=seed)
    return [measured[kind] for kind in alike]


def shipped_case(
    network: Network, shipped: Stored, *, seed: int
) -> tuple[Case, Mapping[str, Array]]:
    """The shipped weights on one image, scaled down if they blow it up.

    Raises StoredError where no framework could be compared: on what is not finite.
    """
    shipped.refuse_not_finite()
    case = Case("shipped", 1.0, shipped_image(network, seed=seed))
    peak = 0.0
    values: dict[str, Array] = {}
    kept = set(boundaries(network))
    with np.errstate(over="ignore", invalid="ignore"):
        for op, value in walk(network, case, shipped.tensors):
            largest = float(np.abs(value).max())
            if not math.isfinite(largest):
                raise StoredError(f"{WEIGHTS_FILE}: these weights make {op.name} NaN or infinite")
            peak = max(peak, largest)
            if op.name in kept:
                values[op.name] = value
    if peak <= _LARGEST_PEAK:
        return case, values
    scale = 10.0 ** -math.ceil(math.log10(peak))
    case = Case("shipped", scale, scaled(case.image, scale))
    return case, _boundary_values(network, walk(network, case, shipped.tensors))


def _draw(
    network: Network, shipped: Stored, scratch: Path, *, seed: int
) -> tuple[Stored, Mapping[str, Array]]:
    drawn = Drawn(network, seed=seed)
    image = drawn_cases(network, seed=seed)[0].image
    values = _boundary_values(network, drawn.walk(image))
    path = scratch / "drawn" / WEIGHTS_FILE
    path.parent.mkdir()
    return shipped.copy(path, tensors=drawn.tensors), values


def _boundary_values(network: Network, walk: Iterator[tuple[Op, Array]]) -> dict[str, Array]:
    kept = set(boundaries(network))
    return {op.name: value for op, value in walk if op.name in kept}


def _requests(
    network: Network, cases: tuple[Case, ...], stored: Mapping[Weights, Stored], scratch: Path
) -> Iterator[CaseRequest]:
    for number, case in enumerate(cases):
        image = scratch / f"image{number}.npy"
        np.save(image, case.image)
        training = None
        if case.labels is not None:
            labels = scratch / f"labels{number}.npy"
            np.save(labels, case.labels)
            training = TrainingRequest(str(labels), gives_probabilities(network))
        weights = stored[case.weights].path.parent
        yield CaseRequest(str(weights), str(image), case.dtypes, training)
