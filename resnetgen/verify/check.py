"""Verifies the files in a directory, as they are now, against the network they should be."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from typing import cast

from resnetgen import records
from resnetgen.diagnostics import listed
from resnetgen.ir.network import Network
from resnetgen.scratch import scratch_folder
from resnetgen.verify.cases import Case, LeftOut
from resnetgen.verify.cores import cores
from resnetgen.verify.document import Level
from resnetgen.verify.dtypes import Dtype
from resnetgen.verify.hashes import hashes
from resnetgen.verify.judge import Expected, Judge
from resnetgen.verify.prepare import (
    Prepared,
    WeightsState,
    measured_growths,
    prepare,
    reference_steps,
    reference_values,
    weights_state,
)
from resnetgen.verify.reference import Array
from resnetgen.verify.result import LeftOutFacts, TargetResult, Verification
from resnetgen.verify.runners.launch import Died
from resnetgen.verify.runners.protocol import Device, Report
from resnetgen.verify.runners.registry import (
    BrokenRunnerError,
    is_due,
    runner,
    targets,
    unavailable,
)
from resnetgen.verify.step import ExpectedStep
from resnetgen.verify.stored import StoredError
from resnetgen.verify.target import Trial
from resnetgen.weights.layout import WEIGHTS_FILE

Progress = Callable[[str, str], None]
"""Is told a target and what is happening to it: it waits, runs, or has its status.

Calls come from several threads, but never two at a time.
"""

_OF_EVERY_TARGET = (records.SPEC, WEIGHTS_FILE)
"""Files that every verdict is about."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to verify. `targets` None means those that are due by default in the directory;
    `dtype` None the widest that each computes; `timeout` is in seconds for one process."""

    targets: tuple[str, ...] | None = None
    level: Level = "forward"
    device: Device = "cpu"
    dtype: Dtype | None = None
    seed: int = 0
    against: str | None = None
    """Somebody else's model, MODULE:FUNCTION: judged like a target and then, if it is the network,
    what the targets are compared with. It runs on the CPU and in float64."""
    timeout: float = 600.0
    jobs: int | None = None
    """How many targets run at a time; None means as many as there are cores."""


class NoPeerError(Exception):
    """There is no model to compare with; the message says which and why."""


def verify(
    network: Network, directory: Path, *, options: Options, progress: Progress
) -> Verification:
    """Runs every target that is due, each in a process of its own, and judges it by the network.

    Writes nothing into the directory. What it says is of the files as they were when it began: see
    `of_what_stayed`. Raises NoPeerError where what `against` names is not there.
    """
    directory = directory.resolve()
    named = options.targets if options.targets is not None else _due(directory)
    if options.against is not None:
        named = (options.against, *named)
    results = {target: _without_running(network, target, directory, options) for target in named}
    _refuse_absent_peer(options.against, results)
    runnable = [target for target, result in results.items() if result is None]
    before = hashes(directory, _judged_files(_judged(results)))
    with scratch_folder() as scratch:
        try:
            prepared = prepare(
                network,
                directory,
                scratch,
                level=options.level,
                seed=options.seed,
                dtype=options.dtype,
            )
        except StoredError as error:
            failed = TargetResult("failed", str(error), device=options.device)
            results |= dict.fromkeys(runnable, failed)
            return _verification(
                options=options,
                state=weights_state(directory),
                prepared=None,
                files=before,
                results=results,
            )
        if (reason := prepared.unprovable) is not None:
            idle = TargetResult("not_run", reason, device=options.device)
            results |= dict.fromkeys(runnable, idle)
        else:
            stop = Event()
            trials = _trials(runnable, directory, scratch, options, stop)
            results |= _run(trials, prepared, options, _one_at_a_time(progress), stop)
    return _verification(
        options=options, state=prepared.state, prepared=prepared, files=before, results=results
    )


def of_what_stayed(verification: Verification, directory: Path) -> Verification:
    """The verdict, but failed for each target of whose files nobody can say what ran."""
    before = verification.files
    after = hashes(directory, _judged_files(_judged(verification.targets)))
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if not changed:
        return verification
    return replace(
        verification,
        changed=tuple(sorted(changed)),
        targets={
            target: _unless_changed(target, result, changed)
            for target, result in verification.targets.items()
        },
    )


def _refuse_absent_peer(peer: str | None, results: Mapping[str, TargetResult | None]) -> None:
    """Raises NoPeerError where it is certain that the model to compare with does not run."""
    result = None if peer is None else results.get(peer)
    if result is not None and result.status == "not_run":
        raise NoPeerError(f"cannot compare with {peer}: {result.reason}")


def _due(directory: Path) -> tuple[str, ...]:
    """The targets due for the files that were built; without a manifest, for those there."""
    listed = _manifest_files(directory)
    return tuple(
        target
        for target in targets()
        if is_due(target) and _may_be_there(target, directory, listed)
    )


def _may_be_there(target: str, directory: Path, listed: frozenset[str]) -> bool:
    try:
        file = runner(target).file
    except BrokenRunnerError:
        return True
    assert file is not None, f"{target} runs no file of the directory"
    return file in listed if listed else (directory / file).exists()


def _manifest_files(directory: Path) -> frozenset[str]:
    manifest = records.read_json(directory / records.MANIFEST)
    if not isinstance(manifest, dict):
        return frozenset()
    listed = cast(dict[str, object], manifest).get(records.LISTED)
    return frozenset(cast(dict[str, object], listed)) if isinstance(listed, dict) else frozenset()


def _without_running(
    network: Network, target: str, directory: Path, options: Options
) -> TargetResult | None:
    """The verdict on a target that cannot be started at all."""
    if (reason := unavailable(target)) is not None:
        return TargetResult("not_run", reason, device=options.device)
    record = runner(target)
    if options.level == "train" and record.running_variance is None:
        reason = (
            f"there is no level train for {target}, which computes inference alone: "
            f"`verify --target {target} --output FILE` proves that"
        )
        return TargetResult("not_run", reason, device=options.device, due=False)
    reason = record.widens(network, options.dtype) if options.dtype else None
    if reason is not None:
        return TargetResult("not_run", reason, device=options.device, due=False)
    listed = _manifest_files(directory)
    for file in record.files:
        needed = file == record.file or file in listed
        if needed and not (directory / file).is_file():
            if listed and file not in listed:
                reason = f"{file} was not built here"
                return TargetResult("not_run", reason, device=options.device)
            return TargetResult("failed", f"{file} is not there", device=options.device)
    return None


def _judged_files(names: Iterable[str]) -> set[str]:
    return {*_OF_EVERY_TARGET, *(file for target in names for file in runner(target).files)}


def _judged(results: Mapping[str, TargetResult | None]) -> Iterator[str]:
    """The targets on which there is a verdict, or will be one."""
    return (
        target for target, result in results.items() if result is None or result.status != "not_run"
    )


def _unless_changed(target: str, result: TargetResult, changed: set[str]) -> TargetResult:
    if result.status == "not_run":
        return result
    for file in sorted(changed & _judged_files([target])):
        reason = f"{file} changed while it was verified"
        return TargetResult("failed", reason, device=result.device)
    return result


def _trials(
    names: Sequence[str], directory: Path, scratch: Path, options: Options, stop: Event
) -> tuple[Trial, ...]:
    at_a_time = max(1, min(_jobs(options), len(names)))
    return tuple(
        Trial(
            target=target,
            directory=directory,
            scratch=scratch / target,
            level=options.level,
            device="cpu" if target == options.against else options.device,
            dtype="float64" if target == options.against else options.dtype,
            timeout=options.timeout,
            threads=max(1, cores() // at_a_time),
            stop=stop,
        )
        for target in names
    )


def _run(
    trials: Sequence[Trial], prepared: Prepared, options: Options, progress: Progress, stop: Event
) -> dict[str, TargetResult]:
    """Runs the trials in processes, computes the reference meanwhile, judges each as it ends."""
    results: dict[str, TargetResult] = {}

    def start(trial: Trial) -> Report | Died:
        progress(trial.target, "running")
        return trial.run(prepared)

    for trial in trials:
        progress(trial.target, "waiting")
    with ThreadPoolExecutor(max_workers=_jobs(options)) as pool:
        running = {pool.submit(start, trial): trial for trial in trials}
        try:
            judge = _judge(prepared, options)
            for done in _peer_first(running, options):
                trial = running[done]
                found = done.result()
                result = trial.conclude(found, judge, prepared)
                results[trial.target] = result
                progress(trial.target, result.status)
                _refuse_absent_peer(options.against, results)
                if trial.target == options.against and result.status == "passed":
                    assert isinstance(found, Report), "a process that died passed"
                    judge = judge.by(found, trial.scratch / "all")
        finally:
            # First those that wait: they would start in the place of those that end.
            for future in running:
                future.cancel()
            stop.set()
    return results


def _peer_first(
    running: Mapping[Future[Report | Died], Trial], options: Options
) -> Iterator[Future[Report | Died]]:
    """Each as it is done, but first somebody else's model, with which the others are compared."""
    first = [future for future, trial in running.items() if trial.target == options.against]
    yield from first
    yield from as_completed(running.keys() - set(first))


def _one_at_a_time(progress: Progress) -> Progress:
    lock = Lock()

    def report(target: str, what: str) -> None:
        with lock:
            progress(target, what)

    return report


def _judge(prepared: Prepared, options: Options) -> Judge:
    values: list[Mapping[str, Array]] = [{} for _ in prepared.cases]
    growths: Sequence[Mapping[str, float]] = [{} for _ in prepared.cases]
    steps: Mapping[int, ExpectedStep] = {}
    if options.level != "shapes":
        values = reference_values(prepared)
        growths = measured_growths(prepared, values, seed=options.seed)
        steps = reference_steps(prepared, growths, seed=options.seed)
    entries = prepared.stored[prepared.own].entries
    return Judge(
        Expected(prepared.network, options.level, prepared.cases, values, growths, steps, entries)
    )


def _verification(
    *,
    options: Options,
    state: WeightsState,
    prepared: Prepared | None,
    files: Mapping[str, str],
    results: Mapping[str, TargetResult | None],
) -> Verification:
    """`prepared` is None where the weights were not to be read; without a proof to be had, nothing
    was run."""
    left_out = list(prepared.left_out if prepared is not None else ())
    cases = prepared.cases if prepared is not None and prepared.unprovable is None else ()
    verdicts = {target: result for target, result in results.items() if result is not None}
    left_out += _unproven(cases, verdicts)
    judged = _judged_files(_judged(verdicts))
    return Verification(
        level=options.level,
        reference=_reference(options, verdicts),
        weights=state,
        seed=options.seed,
        cases=tuple(case.facts for case in cases),
        left_out=tuple(LeftOutFacts(each.case.facts, each.reason) for each in left_out),
        files={name: digest for name, digest in files.items() if name in judged},
        targets=verdicts,
    )


def _unproven(cases: Sequence[Case], verdicts: Mapping[str, TargetResult]) -> Iterator[LeftOut]:
    """What in some targets proves nothing, by case and dtype."""
    found = {key for result in verdicts.values() for key in result.unproven}
    for number, dtype in sorted(found):
        where = {
            target: result.unproven[number, dtype]
            for target, result in verdicts.items()
            if (number, dtype) in result.unproven
        }
        least = min(where.values(), key=lambda each: each.rounding)
        targets = listed(list(where))
        reason = f"in {dtype}, {least}, so nothing is proven there in {targets}"
        yield LeftOut(cases[number], reason)


def _reference(options: Options, verdicts: Mapping[str, TargetResult]) -> str:
    """What the targets were compared with: somebody else's model only where it is the network."""
    peer = options.against
    if peer is not None and peer in verdicts and verdicts[peer].status == "passed":
        return peer
    return "ir"


def _jobs(options: Options) -> int:
    return options.jobs if options.jobs is not None else cores()
