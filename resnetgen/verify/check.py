"""Verifies the files in a directory, as they are now, against the network they should be."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from resnetgen.ir.network import Network
from resnetgen.verify.compare import Dtype
from resnetgen.verify.cores import cores
from resnetgen.verify.judge import Expected, Judge
from resnetgen.verify.prepare import Prepared, measured_growths, prepare, reference_values
from resnetgen.verify.reference import Array
from resnetgen.verify.result import CaseFacts, Level, TargetResult, Verification
from resnetgen.verify.runners.protocol import Device
from resnetgen.verify.runners.registry import runner, targets, unavailable
from resnetgen.verify.stored import StoredError
from resnetgen.verify.target import Trial

Progress = Callable[[str, str], None]
"""Is told a target and what is happening to it."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to verify. `targets` None means those that are due by default in the directory;
    `dtype` None the widest that each computes; `timeout` is in seconds for one process."""

    targets: tuple[str, ...] | None = None
    level: Level = "forward"
    device: Device = "cpu"
    dtype: Dtype | None = None
    seed: int = 0
    timeout: float = 600.0
    jobs: int | None = None
    """How many targets run at a time; None means as many as there are cores."""


def verify(
    network: Network, directory: Path, *, options: Options, progress: Progress
) -> Verification:
    """Runs every target that is due, each in a process of its own, and judges it by the network.

    Writes nothing into the directory.
    """
    directory = directory.resolve()
    named = options.targets if options.targets is not None else _due(directory)
    results = {target: _without_running(target, directory, options) for target in named}
    runnable = [target for target, result in results.items() if result is None]
    with TemporaryDirectory(prefix="resnetgen-", ignore_cleanup_errors=True) as name:
        scratch = Path(name).resolve()
        try:
            prepared = prepare(network, directory, scratch, level=options.level, seed=options.seed)
        except StoredError as error:
            failed = TargetResult("failed", str(error), device=options.device)
            results |= dict.fromkeys(runnable, failed)
            return _verification(options, None, results)
        stop = Event()
        trials = _trials(runnable, directory, scratch, options, stop)
        results |= _run(trials, prepared, options, progress, stop)
    return _verification(options, prepared, results)


def _due(directory: Path) -> tuple[str, ...]:
    """The default targets of the files that were built; without a manifest, of those there."""
    listed = _manifest_files(directory)
    return tuple(
        target
        for target in targets()
        if (record := runner(target)).default
        and (record.file in listed if listed else (directory / record.file).exists())
    )


def _manifest_files(directory: Path) -> frozenset[str]:
    try:
        manifest: Any = json.loads((directory / "manifest.json").read_bytes())
        return frozenset(manifest["files"])
    except (OSError, ValueError, TypeError, KeyError):
        return frozenset()


def _without_running(target: str, directory: Path, options: Options) -> TargetResult | None:
    """The verdict on a target that cannot be started at all."""
    if (reason := unavailable(target)) is not None:
        return TargetResult("not_run", reason, device=options.device)
    file = runner(target).file
    if not (directory / file).is_file():
        return TargetResult("failed", f"{file} is not there", device=options.device)
    return None


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
            device=options.device,
            dtype=options.dtype,
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
    with ThreadPoolExecutor(max_workers=_jobs(options)) as pool:
        running = {pool.submit(trial.run, prepared): trial for trial in trials}
        try:
            for trial in trials:
                progress(trial.target, "running")
            judge = _judge(prepared, options)
            for done in as_completed(running):
                trial = running[done]
                result = trial.conclude(done.result(), judge, prepared)
                results[trial.target] = result
                progress(trial.target, result.status)
        finally:
            stop.set()
    return results


def _judge(prepared: Prepared, options: Options) -> Judge:
    values: list[Mapping[str, Array]] = [{} for _ in prepared.cases]
    growths: list[Mapping[str, float]] = [{} for _ in prepared.cases]
    if options.level == "forward":
        values = reference_values(prepared)
        growths = measured_growths(prepared, values, seed=options.seed)
    entries = prepared.stored["shipped"].entries
    return Judge(
        Expected(prepared.network, options.level, prepared.cases, values, growths, entries)
    )


def _verification(
    options: Options,
    prepared: Prepared | None,
    results: Mapping[str, TargetResult | None],
) -> Verification:
    return Verification(
        level=options.level,
        reference="ir",
        weights=prepared.state if prepared else "shipped",
        seed=options.seed,
        cases=tuple(
            CaseFacts(case.weights, case.shape, case.scale)
            for case in (prepared.cases if prepared else ())
        ),
        targets={target: result for target, result in results.items() if result is not None},
    )


def _jobs(options: Options) -> int:
    return options.jobs if options.jobs is not None else cores()
