"""Tries one target: runs it, has it judged, and where it is wrong looks closer for the layer."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import shorten
from threading import Event

from resnetgen.child.exhausted import HERE
from resnetgen.diagnostics import printable
from resnetgen.ir.ops import Op
from resnetgen.verify.declared import other_classes
from resnetgen.verify.document import Level, TargetStatus
from resnetgen.verify.dtypes import FORMATS, Dtype
from resnetgen.verify.judge import Judge, Judgement
from resnetgen.verify.localize import Divergence, localize
from resnetgen.verify.observed import boundary_labels, scope
from resnetgen.verify.prepare import Prepared
from resnetgen.verify.problem import Problem
from resnetgen.verify.result import TargetResult
from resnetgen.verify.runners.launch import Died, launch
from resnetgen.verify.runners.protocol import CaseRequest, Device, Report, Request, SeenRun
from resnetgen.verify.runners.registry import runner
from resnetgen.verify.training import drawing, tensors_in

_COLORS = re.compile(r"\x1b\[[0-9;]*m")
"""What Keras puts around words of its errors, for terminals."""
_NOTHING = "(?!)"
"""A pattern that no label matches."""
_MOST_OF_AN_ERROR = 200
"""How many characters of a framework's error stand behind what is wrong already."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a target's file in a directory is to be run."""

    target: str
    directory: Path
    scratch: Path
    """A folder of this target's own."""
    level: Level
    device: Device
    dtype: Dtype | None
    timeout: float
    threads: int
    stop: Event

    def run(self, prepared: Prepared) -> Report | Died:
        """Runs all cases; of the values only those at the boundaries are kept."""
        labels = _NOTHING if self.level == "shapes" else boundary_labels(prepared.network)
        classes = other_classes(prepared.network)
        return self._launch("all", prepared, prepared.requests, keep=labels, classes=classes)

    def conclude(self, found: Report | Died, judge: Judge, prepared: Prepared) -> TargetResult:
        """The verdict on what `run` found."""
        if isinstance(found, Died):
            return self._without_result(found.reason)
        if found.outcome == "exhausted":
            return self._without_result(f"{HERE}: {found.reason}")
        if found.outcome in ("unavailable", "no_such_dtype"):
            result = self._result("not_run", found.reason)
            return replace(result, due=found.outcome == "unavailable", versions=found.versions)
        keeps = runner(self.target).running_variance
        judgement = judge.judge(found, self.scratch / "all", running_variance=keeps)
        result = replace(
            self._result("passed", None),
            device_name=found.device_name,
            versions=found.versions,
            params=_trainable(found),
            output_shape=judgement.output_shape,
            parameters_compared=judgement.parameters_compared,
            shapes_compared=judgement.shapes_compared,
            blocks_compared=judgement.blocks_compared,
            runs=judgement.runs,
            training=judgement.training,
            unproven=judgement.unproven,
        )
        seen = judgement.first
        problem = seen or judge.where_it_broke(found, self.scratch / "all")
        if problem is None and found.outcome == "ran":
            reason = self._unproven(judgement, prepared)
            return replace(result, status="not_run", reason=reason) if reason else result
        if problem is None:
            return replace(result, status="failed", reason=self._readable(found.reason or ""))
        divergence = self._look_closer(problem, judgement, judge, prepared, name="closer")
        if divergence is None and (other := _in_another_case(problem, judgement)) is not None:
            again = self._look_closer(other, judgement, judge, prepared, name="another")
            # Of another layer it would say what follows from this one's mistake.
            divergence = again if again and again.name == problem.op else None
        # Where a run broke off is said already, unless something else is wrong before.
        broke = found.reason if found.outcome == "failed" and (seen or divergence) else None
        return replace(
            result,
            status="failed",
            reason=self._readable(_reason(problem, divergence, broke)),
            # Where a run broke off is no layer that was seen to be wrong.
            first_divergence=divergence.name if divergence else seen and seen.op,
            cause=divergence.cause if divergence else problem.cause,
        )

    def _without_result(self, reason: str) -> TargetResult:
        return replace(self._result("failed", self._readable(reason)), died=True)

    def _unproven(self, judgement: Judgement, prepared: Prepared) -> str | None:
        """What keeps a target that has no problem from having passed."""
        if judgement.never_proven is not None:
            return judgement.never_proven
        if self.level == "train" and not judgement.training:
            for (number, _), found in judgement.unproven.items():
                if prepared.cases[number].labels is not None:
                    return f"nothing can be proven of training: {found}"
            return "no step of training was run: gradients are compared in float64 alone"
        if self.level == "shapes" or prepared.state == "absent":
            return None
        compared = {number for run in judgement.runs for number in run.cases}
        if any(prepared.cases[number].weights == "shipped" for number in compared):
            return None
        dtypes = " and ".join(sorted({run.dtype for run in judgement.runs}))
        return f"the shipped weights were not run: their values leave the range of {dtypes}"

    def _look_closer(
        self,
        problem: Problem,
        judgement: Judgement,
        judge: Judge,
        prepared: Prepared,
        *,
        name: str,
    ) -> Divergence | None:
        """Runs the problem's case again with every layer around it recorded, and replays them; so
        with all cases that show it, of which one may show it earlier.

        None if it breaks off before it shows them. `name` is that of a folder to run it in.
        """
        if problem.run is None or problem.op is None or self.level == "shapes":
            return None
        ops, labels = scope(prepared.network, problem.op)
        numbers = _cases_of(problem, judgement, prepared)
        requests = tuple(prepared.requests[number] for number in numbers)
        found = self._launch(name, prepared, requests, keep=labels, classes=None)
        if isinstance(found, Died):
            return None
        shown = [run for run in found.runs if run.values_sent]
        wanted = (problem.run.evaluator, problem.run.dtype)
        runs = [run for run in shown if (run.evaluator, run.dtype) == wanted]
        if not runs and shown:
            runs = [max(shown, key=lambda each: FORMATS[each.dtype].digits)]
        # All of one kind, whose tensors are read once.
        owned = cache(prepared.stored[prepared.cases[numbers[0]].weights].tensors)
        divergences: list[Divergence] = []
        for run in runs:
            case = prepared.cases[numbers[run.case]]
            divergence = localize(
                ops,
                judge.observations(replace(run, case=numbers[run.case]), self.scratch / name),
                given={prepared.network.stem[0].name: case.image},
                tensors=tensors_in(case, owned),
                dtype=run.dtype,
            )
            if divergence is not None:
                divergences.append(divergence)
        return min(
            divergences,
            key=lambda each: (_last_position(ops, each), each.cause is None),
            default=None,
        )

    def _launch(
        self,
        name: str,
        prepared: Prepared,
        cases: tuple[CaseRequest, ...],
        *,
        keep: str,
        classes: int | None,
    ) -> Report | Died:
        scratch = self.scratch / name
        scratch.mkdir(parents=True)
        request = Request(
            target=self.target,
            directory=str(self.directory),
            scratch=str(scratch),
            cases=cases,
            device=self.device,
            dtype=self.dtype,
            keep=keep,
            resting="|".join(map(re.escape, drawing(prepared.network))) or _NOTHING,
            threads=self.threads,
            classes=classes,
        )
        return launch(request, timeout=self.timeout, stop=self.stop)

    def _result(self, status: TargetStatus, reason: str | None) -> TargetResult:
        return TargetResult(status, reason, device=self.device)

    def _readable(self, reason: str) -> str:
        """On one line, and without what moves a cursor, or the paths of this machine, which are no
        part of a verdict."""
        for path in (self.scratch, self.directory, self.scratch.parent):
            reason = reason.replace(f"{path}/", "")
        return printable(" ".join(_COLORS.sub("", reason).split()))


def _cases_of(problem: Problem, judgement: Judgement, prepared: Prepared) -> tuple[int, ...]:
    """The problem's case, and the others that show it, too: as it was run, and of its weights."""
    assert problem.run is not None, "it was seen in a run"

    def kind(run: SeenRun) -> tuple[object, ...]:
        case = prepared.cases[run.case]
        return run.evaluator, run.dtype, case.weights, case.labels is None

    own = problem.run
    alike = (
        other.run.case
        for other in judgement.problems
        if other.op == problem.op
        and other.run is not None
        and other.run.error is None
        and kind(other.run) == kind(own)
    )
    return tuple(dict.fromkeys((own.case, *alike)))


def _last_position(ops: Sequence[Op], divergence: Divergence) -> int:
    """Where the last op stands that may be to blame, or the first of what reads a value."""
    last = divergence.name.rpartition("+")[2]
    inside = (at for at, op in enumerate(ops) if f"{op.name}.".startswith(f"{last}."))
    return next(inside, len(ops))


def _in_another_case(problem: Problem, judgement: Judgement) -> Problem | None:
    """The first problem of a run that came to its end, where the one that is to be explained may
    have ended its own."""
    if problem.run is None:
        return None
    case = problem.run.case
    whole = (
        other
        for other in judgement.problems
        if other.run is not None and other.run.case != case and other.run.error is None
    )
    return next((other for other in whole if other.run and other.run.values_sent), None)


def _trainable(found: Report) -> int | None:
    """What the framework counts, if it came as far as to show any parameters."""
    if not found.parameters:
        return None
    return sum(math.prod(each.shape) for each in found.parameters if each.trainable)


def _reason(problem: Problem, divergence: Divergence | None, broke: str | None) -> str:
    """`broke` is the error that ended a run, where that is not the problem itself."""
    reason = problem.reason
    if divergence is not None:
        reason = f"{divergence.name}, {divergence.seen}, {divergence.problem}"
    if broke is None:
        return reason
    return f"{reason}; then {shorten(broke, _MOST_OF_AN_ERROR, placeholder=' ...')}"
