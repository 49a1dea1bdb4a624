"""Starts a runner's process, waits for it, and reads what it left, whatever became of it."""

from dataclasses import dataclass
from pathlib import Path
from threading import Event

from resnetgen.child import launch as child
from resnetgen.verify.runners.protocol import (
    Report,
    Request,
    read_report,
    report_path,
    request_path,
    write,
)
from resnetgen.verify.runners.registry import runner


@dataclass(frozen=True, slots=True)
class Died:
    """A process that left no readable report."""

    reason: str


def launch(request: Request, *, timeout: float, stop: Event) -> Report | Died:
    """Runs the request in a process group of its own, which is gone when this returns.

    It returns when the process ends, after `timeout` seconds, or soon after `stop` is set.
    """
    scratch = Path(request.scratch)
    write(request_path(scratch), request)
    environment = child.scrubbed_environment(
        scratch, device=request.device, threads=request.threads
    )
    ended = child.launch(
        "resnetgen.verify.runners.process",
        scratch,
        environment=environment | dict(runner(request.target).environment),
        timeout=timeout,
        stop=stop,
    )
    if ended.code is None:
        limit = f"gave no result within {timeout:g} s, the limit that --timeout sets"
        return Died("was stopped" if stop.is_set() else limit)
    report = report_path(scratch)
    if ended.code != 0 or not report.exists():
        return Died(ended.describe())
    try:
        return read_report(report)
    except ValueError as error:
        return Died(f"left a report that cannot be read: {error}")
