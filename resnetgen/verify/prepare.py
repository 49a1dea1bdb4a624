"""Lays out what all runners share: weights, images, and the reference's values for them."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Norm, Op
from resnetgen.verify.bounded import Beyond, Bounded, walk_within
from resnetgen.verify.cases import (
    Case,
    KnownCase,
    LeftOut,
    drawn_cases,
    shipped_image,
    silences,
    sizes_only,
    training_cases,
)
from resnetgen.verify.compare import beyond_proof
from resnetgen.verify.conditioning import at_scale_of, gradient_conditioning, growths
from resnetgen.verify.document import Level, Weights, WeightsState
from resnetgen.verify.dtypes import FORMATS, Dtype, is_narrow
from resnetgen.verify.narrow import fit, largest_value
from resnetgen.verify.numbers import Drawn
from resnetgen.verify.observed import boundaries
from resnetgen.verify.reference import Array
from resnetgen.verify.runners.protocol import CaseRequest, TrainingRequest
from resnetgen.verify.step import ExpectedStep
from resnetgen.verify.stored import Stored, StoredError, read
from resnetgen.verify.training import take_step, walk, without_gradient
from resnetgen.weights.file import write
from resnetgen.weights.initial import initial
from resnetgen.weights.layout import WEIGHTS_FILE, layout

_LARGEST_PEAK = 1e6
"""If shipped weights drive a value beyond this, their image is scaled down until it is below one;
for a type that ends before, until it fits. Fresh weights double a residual sum at every block."""
_FARTHEST_LOGITS = 80.0
"""How far apart they may be for float32 to hold what a softmax makes of each."""
_MOST_ATTEMPTS = 3
"""How often an image is made smaller for that; logits may be a bias's, which no image changes."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The cases to run, and what of the reference was found while they were chosen."""

    stored: Mapping[Weights, Stored]
    cases: tuple[Case, ...]
    known: Mapping[int, Mapping[str, Array]]
    growths: Mapping[int, Mapping[str, float]]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """Weights files, cases, and images on disk."""

    network: Network
    state: WeightsState
    stored: Mapping[Weights, Stored]
    cases: tuple[Case, ...]
    known: Mapping[int, Mapping[str, Array]]
    """The reference's values by case, of those that are known already."""
    growths: Mapping[int, Mapping[str, float]]
    """How rounding grows up to each value, by case, where that is known already."""
    left_out: tuple[LeftOut, ...]
    requests: tuple[CaseRequest, ...]

    @property
    def unprovable(self) -> str | None:
        """Why no target can prove anything, where of some kind every case is left out: with the
        drawn weights, with the shipped ones if there are any, or of training."""
        remaining = {_kind(case) for case in self.cases}
        return next(
            (
                f"{out.case}: {out.reason}"
                for out in self.left_out
                if _kind(out.case) not in remaining and out.case.weights in ("shipped", "drawn")
            ),
            None,
        )

    @property
    def own(self) -> Weights:
        """Which weights stand for the directory's."""
        return "shipped" if self.state == "shipped" else "fresh"


def _kind(case: Case) -> tuple[Weights, bool]:
    return case.weights, case.labels is not None


def weights_state(directory: Path) -> WeightsState:
    """Whether the directory has a weights file, be it a broken one."""
    return "shipped" if os.path.lexists(directory / WEIGHTS_FILE) else "absent"


def prepare(
    network: Network,
    directory: Path,
    scratch: Path,
    *,
    level: Level,
    seed: int,
    dtype: Dtype | None,
) -> Prepared:
    """Raises StoredError where the directory's weights are not this network's, or not finite."""
    state = weights_state(directory)
    path = directory / WEIGHTS_FILE
    if state == "absent":
        path = scratch / "shipped" / WEIGHTS_FILE
        path.parent.mkdir()
        write(path, layout(network), tensors=initial(network, seed=seed))
    shipped = read(path, network)
    if level == "shapes":
        chosen = _Chosen({"shipped": shipped}, sizes_only(network, seed=seed), known={}, growths={})
    elif dtype is not None and is_narrow(dtype):
        chosen = _narrow(network, shipped, scratch, seed=seed, dtype=dtype)
    else:
        chosen = _wide(network, shipped, scratch, seed=seed, trains=level == "train")
    if state == "absent":
        chosen = _called_fresh(chosen)
    return Prepared(
        network,
        state,
        chosen.stored,
        chosen.cases,
        known=chosen.known,
        growths=chosen.growths,
        left_out=chosen.left_out,
        requests=tuple(_requests(network, chosen, scratch)),
    )


def _called_fresh(chosen: _Chosen) -> _Chosen:
    """The same, where the directory has no weights that could be shipped."""

    def called(case: Case) -> Case:
        return replace(case, weights="fresh") if case.weights == "shipped" else case

    return replace(
        chosen,
        stored={**chosen.stored, "fresh": chosen.stored["shipped"]},
        cases=tuple(map(called, chosen.cases)),
        left_out=tuple(replace(each, case=called(each.case)) for each in chosen.left_out),
    )


def _wide(network: Network, shipped: Stored, scratch: Path, *, seed: int, trains: bool) -> _Chosen:
    """For a type that holds the weights as they are."""
    first = shipped_case(network, shipped, seed=seed)
    drawn, drawn_values = _draw(network, shipped, scratch, seed=seed)
    stored: dict[Weights, Stored] = {"shipped": shipped, "drawn": drawn}
    if trains and silences(network):
        stored["silent"] = _silenced(network, drawn, scratch)
    steps, left_out = _steps(network, stored, seed=seed) if trains else ((), ())
    return _Chosen(
        stored,
        (first.case, *drawn_cases(network, seed=seed), *steps),
        known={0: first.values, 1: drawn_values},
        growths={0: first.growths},
        left_out=left_out,
    )


def _narrow(
    network: Network, shipped: Stored, scratch: Path, *, seed: int, dtype: Dtype
) -> _Chosen:
    """The cases that the type can run, with images and tensors of its numbers; none of training,
    whose gradients it rounds too far."""
    largest = min(_LARGEST_PEAK, largest_value(dtype))
    first = _fitting(network, shipped, seed=seed, largest=largest)
    drawn, _ = _draw(network, shipped, scratch, seed=seed)
    stored: dict[Weights, Stored] = {
        "shipped": replace(shipped, narrow=dtype),
        "drawn": replace(drawn, narrow=dtype),
    }

    def fitted_to(case: Case) -> KnownCase | LeftOut:
        return fit(network, case, stored[case.weights], dtype=dtype)

    whole = fitted_to(first.case)
    if isinstance(whole, LeftOut) and first.peak > 1:
        small = fitted_to(_smaller(first.case, by=first.peak))
        whole = small if isinstance(small, KnownCase) else whole
    fits = [whole, *map(fitted_to, drawn_cases(network, seed=seed))]
    fitted = [each for each in fits if isinstance(each, KnownCase)]
    return _Chosen(
        stored,
        tuple(each.case for each in fitted),
        known={number: each.values for number, each in enumerate(fitted)},
        growths={number: each.growths for number, each in enumerate(fitted)},
        left_out=tuple(each for each in fits if isinstance(each, LeftOut)),
    )


def _steps(
    network: Network, stored: Mapping[Weights, Stored], *, seed: int
) -> tuple[tuple[Case, ...], tuple[LeftOut, ...]]:
    """The steps of training that have gradients, and those that have none."""
    steps: list[Case] = []
    left_out: list[LeftOut] = []
    for case in training_cases(network, seed=seed):
        reason = without_gradient(network, case, stored[case.weights].tensors)
        if reason is None:
            steps.append(case)
        else:
            left_out.append(LeftOut(case, reason))
    return tuple(steps), tuple(left_out)


def reference_values(prepared: Prepared) -> list[Mapping[str, Array]]:
    """For each case what the interpreter computes at the boundaries."""
    network = prepared.network
    return [
        prepared.known.get(number)
        or _boundary_values(network, walk(network, case, prepared.stored[case.weights].tensors))
        for number, case in enumerate(prepared.cases)
    ]


def reference_steps(
    prepared: Prepared, growths: Sequence[Mapping[str, float]], *, seed: int
) -> dict[int, ExpectedStep]:
    """What the interpreter finds in each case that is a step of training, by the case's number.

    `growths` are those of the cases' values.
    """
    network = prepared.network
    steps: dict[int, ExpectedStep] = {}
    for number, (case, growth) in enumerate(zip(prepared.cases, growths, strict=True)):
        if case.labels is None:
            continue
        owned = prepared.stored[case.weights].tensors
        step = take_step(network, case, owned)
        moved = gradient_conditioning(network, case, step, owned, seed=seed)
        steps[number] = ExpectedStep(case, step, moved, growth[network.head[-1].name], owned)
    return steps


def measured_growths(
    prepared: Prepared, values: Sequence[Mapping[str, Array]], *, seed: int
) -> list[Mapping[str, float]]:
    """For each case how rounding grows: what is known, or else measured on the first case with the
    same weights and scale, and on a step of training by itself.

    What saturates, as a gate does, lets rounding grow otherwise at another scale.
    """
    measured: dict[tuple[Weights, float, bool], int] = {}
    found: list[Mapping[str, float]] = []
    for number, (case, expected) in enumerate(zip(prepared.cases, values, strict=True)):
        first = measured.setdefault((case.weights, case.scale, case.labels is None), number)
        if number in prepared.growths:
            found.append(prepared.growths[number])
        elif first < number:
            found.append(at_scale_of(expected, found[first], measured_on=values[first]))
        else:
            stored = prepared.stored[case.weights]
            found.append(growths(prepared.network, case, stored, values=expected, seed=seed))
    return found


def shipped_case(network: Network, shipped: Stored, *, seed: int) -> KnownCase:
    """The shipped weights on one image, scaled down if they drive a value beyond what is looked at,
    or gates so far that rounding alone could hide all that comes behind.

    Fresh weights of a deep network with squeeze-and-excitation do: sums that double at every block
    drive its gates to their ends, and between them a gate takes what rounding says. Raises
    StoredError where no framework could be compared: on what is not finite.
    """
    run = _fitting(network, shipped, seed=seed, largest=_LARGEST_PEAK)
    whole = _known(network, run, shipped, seed=seed)
    if run.peak <= 1 or _is_provable(whole):
        return whole
    run = _run(network, _smaller(run.case, by=run.peak), shipped)
    small = _known(network, run, shipped, seed=seed)
    return small if _is_provable(small) else whole


def telling_case(network: Network, shipped: Stored, *, seed: int) -> KnownCase | None:
    """As `shipped_case`, for whoever sees nothing but what the network gives.

    A softmax gives 0 for a logit that lies far below another, whatever both are: the image is
    scaled down until none does. None where that does not help, and where there is one class.
    """
    known = shipped_case(network, shipped, seed=seed)
    if not network.gives_probabilities:
        return known
    if network.classes == 1:
        return None

    def farthest() -> float:
        return float(np.ptp(known.values[network.logits], axis=1).max())

    for _ in range(_MOST_ATTEMPTS):
        if farthest() <= _FARTHEST_LOGITS:
            break
        run = _run(network, _smaller(known.case, by=farthest()), shipped)
        known = _known(network, run, shipped, seed=seed)
    return known if farthest() <= _FARTHEST_LOGITS else None


def _fitting(network: Network, shipped: Stored, *, seed: int, largest: float) -> Bounded:
    """The shipped weights on one image, scaled down if they drive a value beyond the `largest`."""
    shipped.refuse_not_finite()
    case = Case("shipped", 1.0, shipped_image(network, seed=seed))
    run = _run(network, case, shipped)
    if run.peak <= largest:
        return run
    goal = 1.0 if largest >= _LARGEST_PEAK else largest
    return _run(network, _smaller(case, by=run.peak / goal), shipped)


def _run(network: Network, case: Case, shipped: Stored) -> Bounded:
    run = walk_within(network, case, shipped.tensors, largest=FORMATS["float64"].largest)
    if isinstance(run, Beyond):
        raise StoredError(f"{WEIGHTS_FILE}: these weights make {run.op} NaN or infinite")
    return run


def _smaller(case: Case, *, by: float) -> Case:
    """The case on an image that is smaller by a power of ten, and at least `by` that."""
    return case.times(10.0 ** -math.ceil(math.log10(by)))


def _known(network: Network, run: Bounded, stored: Stored, *, seed: int) -> KnownCase:
    growth = growths(network, run.case, stored, values=run.values, seed=seed)
    return KnownCase(run.case, run.values, growth)


def _is_provable(known: KnownCase) -> bool:
    """Whether rounding leaves something to be proven of each value."""
    largest = max(known.growths.values())
    return all(beyond_proof(dtype, growth=largest) is None for dtype in ("float64", "float32"))


def _draw(
    network: Network, shipped: Stored, scratch: Path, *, seed: int
) -> tuple[Stored, Mapping[str, Array]]:
    drawn = Drawn(network, seed=seed)
    image = drawn_cases(network, seed=seed)[0].image
    values = _boundary_values(network, drawn.walk(image))
    path = scratch / "drawn" / WEIGHTS_FILE
    path.parent.mkdir()
    return shipped.copy(path, tensors=drawn.tensors), values


def _silenced(network: Network, drawn: Stored, scratch: Path) -> Stored:
    """The drawn weights with 0 for the first channel's gamma and beta of each norm."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for op in network.ops:
        if isinstance(op, Norm):
            own = drawn.tensors(op)
            for kind in ("weight", "bias"):
                tensor = own[kind].astype(np.float32)
                tensor[0] = 0.0
                tensors[f"{op.name}.{kind}"] = tensor
    path = scratch / "silent" / WEIGHTS_FILE
    path.parent.mkdir()
    return drawn.copy(path, tensors=tensors)


def _boundary_values(network: Network, walk: Iterator[tuple[Op, Array]]) -> dict[str, Array]:
    kept = set(boundaries(network))
    return {op.name: value for op, value in walk if op.name in kept}


def _requests(network: Network, chosen: _Chosen, scratch: Path) -> Iterator[CaseRequest]:
    for number, case in enumerate(chosen.cases):
        image = scratch / f"image{number}.npy"
        np.save(image, case.image)
        training = None
        if case.labels is not None:
            labels = scratch / f"labels{number}.npy"
            np.save(labels, case.labels)
            training = TrainingRequest(str(labels), network.gives_probabilities)
        weights = chosen.stored[case.weights].path.parent
        yield CaseRequest(str(weights), str(image), case.dtypes, training)
