"""Compares what one target reported with what the network says, and states what is wrong."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.ir.rules import Shape, parameters, shapes
from resnetgen.verify.cases import Case
from resnetgen.verify.compare import TOLERANCES, Difference, compare, describe
from resnetgen.verify.declared import (
    compare_parameters,
    initializer_problems,
    rebuilt_problems,
    signature_problems,
)
from resnetgen.verify.document import Level, Weights
from resnetgen.verify.dtypes import FORMATS, Dtype, is_narrow
from resnetgen.verify.observed import RETURNED, Observation, Place, observations, places
from resnetgen.verify.problem import Problem, positions
from resnetgen.verify.reference import Array
from resnetgen.verify.result import RunFigures, TrainingFigures, Unproven
from resnetgen.verify.rounding import rounded
from resnetgen.verify.runners.protocol import Report, SeenRun
from resnetgen.verify.runners.registry import Variance
from resnetgen.verify.step import ExpectedStep, compare_step
from resnetgen.weights.layout import Entry


@dataclass(frozen=True, slots=True)
class Expected:
    """What a network's files have to agree with, on the given cases."""

    network: Network
    level: Level
    cases: tuple[Case, ...]
    values: Sequence[Mapping[str, Array]]
    """For each case what is right at the boundaries; nothing at level `shapes`."""
    growths: Sequence[Mapping[str, float]]
    """For each case by how much rounding may have grown at the boundaries."""
    steps: Mapping[int, ExpectedStep]
    """What comes of each case that is a step of training, by its number."""
    entries: Mapping[str, Entry]
    """Where the tensors lie in `model.safetensors`."""


@dataclass(slots=True)
class Judgement:
    """All problems of one report, sorted, and its figures."""

    problems: list[Problem] = field(default_factory=list[Problem])
    runs: tuple[RunFigures, ...] = ()
    training: tuple[TrainingFigures, ...] = ()
    """Of each step, that of the evaluator that is off most."""
    output_shape: Shape | None = None
    parameters_compared: int = 0
    shapes_compared: int = 0
    blocks_compared: int = 0
    unproven: dict[tuple[int, Dtype], Unproven] = field(
        default_factory=dict[tuple[int, Dtype], Unproven]
    )
    """By the case's number and the dtype."""
    never_proven: str | None = None
    """What of it is not proven by any other case, either."""

    @property
    def first(self) -> Problem | None:
        """The problem that comes first in the network's order, as it is best seen."""
        return next(iter(self.problems), None)


_Compared = tuple[str, Difference]
"""A value's name, and by how much it is off."""


@dataclass(frozen=True, slots=True)
class _JudgedRun:
    """What one run shows."""

    problems: tuple[Problem, ...]
    shown: frozenset[str]
    """The names of the values that it shows."""
    compared: tuple[_Compared, ...]
    """Those that are proven; a value is seen in several places, and proven where all agree."""
    unproven: Unproven | None
    is_whole: bool
    """Whether it came to its end with all that is due."""
    shapes_compared: int
    output_shape: Shape | None


_Differences = dict[tuple[str, Dtype], dict[int, list[_Compared]]]
"""Of each evaluator and dtype, by case, only where something was compared."""


class Judge:
    """Judges the reports of a network's targets."""

    def __init__(self, expected: Expected) -> None:
        network = expected.network
        self._expected = expected
        self._places = places(network)
        self._positions = positions(network)
        self._shapes = [shapes(network, case.size) for case in expected.cases]
        # What must be compared: each block's output, and the logits.
        self._blocks = {block.ops[-1].name: block for block in network.blocks}
        self._due = self._blocks.keys() | {network.head[-1].name}

    def judge(
        self, report: Report, scratch: Path, *, running_variance: Variance | None
    ) -> Judgement:
        """Parameters, also of another build, the weights' places, then all that each run shows.

        `running_variance` is the kind that the target's framework keeps, if it trains.
        """
        expected = self._expected
        judgement = Judgement()
        if report.parameters:
            compared = compare_parameters(expected.network, report.parameters)
            judgement.problems += compared.problems
            judgement.parameters_compared = compared.number
        for built, of_variant in report.variants.items():
            judgement.problems += (
                replace(problem, reason=f"{built}, {problem.reason}")
                for problem in compare_parameters(expected.network, of_variant).problems
            )
        if report.initializers is not None:
            judgement.problems += initializer_problems(
                expected.network, report.initializers, entries=expected.entries
            )
        if report.signature is not None:
            judgement.problems += signature_problems(expected.network, report.signature)
        if report.rebuilt is not None:
            judgement.problems += rebuilt_problems(expected.network, report.rebuilt)
        differences: _Differences = {}
        incomplete: set[tuple[str, Dtype]] = set()
        seen: dict[Shape, set[str]] = {case.shape: set() for case in expected.cases}
        for run in report.runs:
            shown = seen[expected.cases[run.case].shape]
            judged = self._judge_run(run, scratch, shown)
            shown |= judged.shown
            judgement.problems += judged.problems
            judgement.shapes_compared += judged.shapes_compared
            judgement.output_shape = judgement.output_shape or judged.output_shape
            if judged.unproven is not None:
                judgement.unproven.setdefault((run.case, run.dtype), judged.unproven)
            if judged.compared:
                proven = {name for name, _ in judged.compared}
                judgement.blocks_compared += len(proven & self._blocks.keys())
                by_case = differences.setdefault((run.evaluator, run.dtype), {})
                by_case.setdefault(run.case, []).extend(judged.compared)
                if not judged.is_whole:
                    incomplete.add((run.evaluator, run.dtype))
        judgement.problems.sort(key=self._rank)
        if report.outcome == "ran":
            # Behind all others: a layer is not seen, too, where another is used in its place.
            unseen = self._unseen(report, seen, differences, judgement.unproven)
            judgement.problems += sorted(unseen, key=self._rank)
            judgement.never_proven = self._never_proven(differences, judgement.unproven)
        if running_variance is not None:
            # Behind all others: what is wrong forwards is so backwards, too.
            self._judge_steps(report, scratch, judgement, running_variance)
        judgement.runs = tuple(
            _figures(*key, by_case, is_whole=key not in incomplete)
            for key, by_case in differences.items()
        )
        return judgement

    def observations(self, run: SeenRun, scratch: Path) -> Iterator[Observation]:
        """What a run shows of the network's values."""
        return observations(run, self._places, scratch, self._batched_shapes(run.case))

    def by(self, report: Report, scratch: Path) -> "Judge":
        """A judge for whom that is right which the report shows, instead of the interpreter's."""
        values = [dict(each) for each in self._expected.values]
        for run in report.runs:
            known = values[run.case]
            for seen in self.observations(run, scratch):
                if seen.array is not None and seen.place.value in known:
                    known[seen.place.value] = np.asarray(seen.array, np.float64)
        steps = dict(self._expected.steps)
        for run in report.runs:
            if run.case in steps and run.step is not None:
                steps[run.case] = steps[run.case].by(run.step, scratch)
        return Judge(replace(self._expected, values=values, steps=steps))

    def where_it_broke(self, report: Report, scratch: Path) -> Problem | None:
        """The op behind the last one shown by a run that an exception ended."""
        run = next((run for run in report.runs if run.error is not None), None)
        if run is None:
            return None
        shown = (self._positions[seen.place.value] for seen in self.observations(run, scratch))
        position = min(max(shown, default=0) + 1, len(self._positions) - 1)
        reason = f"{run.error} ({self._expected.cases[run.case]})"
        return Problem(position, list(self._positions)[position], reason, run)

    def _judge_steps(
        self, report: Report, scratch: Path, judgement: Judgement, running_variance: Variance
    ) -> None:
        network = self._expected.network
        figures: dict[int, list[TrainingFigures]] = {}
        for run in report.runs:
            expected = self._expected.steps.get(run.case)
            if expected is None or run.error is not None:
                continue
            if run.step is None:
                problem = Problem(len(self._positions), None, "shows no step of training", run)
                judgement.problems.append(problem)
                continue
            compared = compare_step(
                network,
                expected,
                run.step,
                scratch,
                dtype=run.dtype,
                running_variance=running_variance,
            )
            judgement.problems += (
                replace(problem, reason=f"{problem.reason} ({expected.case})")
                for problem in compared.problems
            )
            if compared.unproven is None:
                figures.setdefault(run.case, []).append(compared.figures)
            else:
                judgement.unproven.setdefault((run.case, run.dtype), compared.unproven)
        judgement.training = tuple(
            max(of_case, key=lambda each: each.largest) for of_case in figures.values()
        )

    def _judge_run(self, run: SeenRun, scratch: Path, before: Set[str]) -> _JudgedRun:
        """Judges all that the run shows; `before` are the values that those before it have shown.

        A run that sends any value has to send all that are due: a label that means none of the
        network's values stands for nothing.
        """
        known = self._batched_shapes(run.case)
        values = self._expected.values[run.case]
        problems: list[Problem] = []
        shown: list[str] = []
        compared: list[_Compared] = []
        unproven: dict[str, Difference] = {}
        output_shape: Shape | None = None
        for seen in self.observations(run, scratch):
            name = seen.place.value
            shown.append(name)
            if seen.place.reader == RETURNED:
                output_shape = seen.shape
            if seen.shape != known[name]:
                reason = f"has shape {list(seen.shape)}, not {list(known[name])}"
                problems.append(self._problem(seen.place, reason, run))
            elif seen.array is not None and name in values:
                if is_narrow(run.dtype) and not np.array_equal(
                    seen.array, rounded(seen.array, run.dtype), equal_nan=True
                ):
                    reason = f"has more digits than {run.dtype}: it was computed in a wider type"
                    problems.append(self._problem(seen.place, reason, run))
                growth = self._expected.growths[run.case][name]
                difference = compare(seen.array, values[name], dtype=run.dtype, growth=growth)
                if difference.proves_nothing:
                    unproven[name] = difference
                    continue
                compared.append((name, difference))
                if not difference.passed:
                    reason = describe(seen.array, values[name], difference)
                    problems.append(self._problem(seen.place, reason, run))
        missing = self._due - {name for name, _ in compared} - unproven.keys()
        if values and run.values_sent and run.error is None:
            problems += (
                Problem(self._positions[name], name, self._absent(name, before | set(shown)), run)
                for name in missing
            )
            if output_shape is None:
                last = len(self._positions)
                problems.append(Problem(last, None, "shows nothing that it returns", run))
        first = min(unproven, key=self._positions.__getitem__, default=None)
        return _JudgedRun(
            problems=tuple(problems),
            shown=frozenset(shown),
            compared=tuple(each for each in compared if each[0] not in unproven),
            unproven=None if first is None else Unproven(first, unproven[first].rounding),
            is_whole=run.error is None and not missing,
            shapes_compared=len(shown),
            output_shape=output_shape,
        )

    def _absent(self, name: str, shown: Set[str]) -> str:
        """What it means that a run shows no such value, where those others are shown."""
        block = self._blocks.get(name)
        # The last value shows as what the next block receives, too, whatever that is.
        if block is None or any(op.name in shown for op in block.ops[:-1]):
            return f"shows no value of {name}"
        others = f"nor of any other layer of {block.name}"
        return f"shows no value of {name}, {others}: is it called, once, and by its name?"

    def _unseen(
        self,
        report: Report,
        seen: Mapping[Shape, set[str]],
        differences: _Differences,
        unproven: Mapping[tuple[int, Dtype], Unproven],
    ) -> Iterator[Problem]:
        """What should have been seen and was not; nothing compared is a failure.

        `seen` are the names of the values shown of images of each shape: names and shapes do not
        depend on what is in an image, and a runner may infer them once for several cases.
        """
        last = len(self._positions)
        if not report.parameters:
            yield Problem(last, None, "shows no parameters")
        weighted = {op.name for op in self._expected.network.ops if parameters(op)}
        for shape, names in seen.items():
            for name in (weighted | self._due) - names:
                image = "x".join(map(str, shape))
                reason = f"shows nothing named {name} on an input of {image}"
                yield Problem(self._positions[name], name, reason)
        if not differences and self._expected.level != "shapes":
            yield Problem(last, None, "no value was compared")
        for (evaluator, dtype), by_case in differences.items():
            for number, case in enumerate(self._expected.cases):
                if dtype not in case.dtypes or (number, dtype) in unproven:
                    continue
                if number not in by_case:
                    yield Problem(last, None, f"{evaluator} in {dtype} was not compared on {case}")

    def _never_proven(
        self, differences: _Differences, unproven: Mapping[tuple[int, Dtype], Unproven]
    ) -> str | None:
        """The first value that is not proven on any input with one kind of weights, in the widest
        dtype: it has the most digits."""
        compared_in = {dtype for _, dtype in differences}
        widest = next((dtype for dtype in FORMATS if dtype in compared_in), None)
        weights: tuple[Weights, ...] = tuple(case.weights for case in self._expected.cases)
        proven: dict[Weights, set[str]] = {}
        for (_, dtype), by_case in differences.items():
            if dtype != widest:
                continue
            for number, compared in by_case.items():
                proven.setdefault(weights[number], set()).update(name for name, _ in compared)
        doubtful: set[Weights] = {weights[number] for number, dtype in unproven if dtype == widest}
        # Silent weights add to what the drawn ones show, whose values are compared as well.
        for kind in sorted(doubtful - {"silent"}):
            if missing := self._due - proven.get(kind, set()):
                name = min(missing, key=self._positions.__getitem__)
                moved = f"rounding to {widest} alone may move {name} too far"
                return f"nothing can be proven: {moved} on every input with {kind} weights"
        return None

    def _rank(self, problem: Problem) -> tuple[int, bool, bool, bool]:
        """In the network's order; of one op's, where weights were drawn and the dtype is wide."""
        run = problem.run
        if run is None:
            return (problem.position, not problem.explains, True, True)
        is_drawn = self._expected.cases[run.case].weights == "drawn"
        return (problem.position, True, not is_drawn, run.dtype != "float64")

    def _problem(self, place: Place, reason: str, run: SeenRun) -> Problem:
        case = self._expected.cases[run.case]
        text = f"{_where(place)} {reason} ({run.evaluator}, {case})"
        return Problem(self._positions[place.value], place.value, text, run)

    def _batched_shapes(self, case: int) -> dict[str, Shape]:
        batch = self._expected.cases[case].shape[0]
        return {name: (batch, *shape) for name, shape in self._shapes[case].items()}


def _figures(
    evaluator: str, dtype: Dtype, by_case: Mapping[int, Sequence[_Compared]], *, is_whole: bool
) -> RunFigures:
    """Where a run is not whole, what it did not come to may be off by anything."""
    unknown = 0.0 if is_whole else math.inf
    compared = [each for of_case in by_case.values() for each in of_case]
    found = [difference for _, difference in compared]
    at: dict[str, float] = {}
    for name, difference in compared:
        at[name] = max(at.get(name, 0.0), difference.relative)
    return RunFigures(
        evaluator=evaluator,
        dtype=dtype,
        cases=tuple(sorted(by_case)),
        values=len(found),
        max_abs_diff=max(unknown, *(each.absolute for each in found)),
        max_rel_diff=max(unknown, *at.values()),
        max_rel_diff_at=at,
        tolerance=TOLERANCES[dtype],
        bound=max(each.bound for each in found),
        minimum_tolerance=max(unknown, *(each.relative / each.growth for each in found)),
    )


def _where(place: Place) -> str:
    if place.reader == RETURNED:
        return "what the model returns"
    if place.reader is None:
        return place.value
    return f"what {place.reader} receives of {place.value}"
