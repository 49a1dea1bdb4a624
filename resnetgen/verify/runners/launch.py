"""Starts a runner's process, waits for it, and reads what it left, whatever became of it."""

import os
import signal
import site
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from resnetgen.verify.runners.protocol import (
    Report,
    Request,
    read_report,
    report_path,
    request_path,
    write,
)
from resnetgen.verify.runners.registry import runner

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")
_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_PATIENCE = 0.2
"""In seconds, how soon a wish to stop is noticed."""
_LAST_WORDS = 600
"""How many characters of what the process printed are quoted when it leaves no report."""


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
    log = scratch / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "resnetgen.verify.runners.process", str(scratch)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=scratch,
            env=_environment(request),
            start_new_session=True,
        )
        try:
            code = _wait(process, timeout, stop)
        finally:
            _end_group(process)
    if code is None:
        limit = f"gave no result within {timeout:g} s, the limit that --timeout sets"
        return Died("was stopped" if stop.is_set() else limit)
    report = report_path(scratch)
    if code != 0 or not report.exists():
        return Died(_how_it_ended(code) + _last_words(log))
    try:
        return read_report(report)
    except ValueError as error:
        return Died(f"left a report that cannot be read: {error}")


def _environment(request: Request) -> dict[str, str]:
    """A fixed environment: the user's settings of frameworks must not decide a verdict."""
    package_root = Path(__file__).parents[3]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (os.environ.get("PYTHONPATH"), str(package_root)))
    )
    environment |= dict.fromkeys(_THREAD_COUNTS, str(request.threads))
    environment |= {
        "HOME": request.scratch,
        "PYTHONUSERBASE": site.getuserbase(),
        "NVIDIA_TF32_OVERRIDE": "0",
        "PYTHONHASHSEED": "0",
        "PYTHONIOENCODING": "utf-8",
    }
    if request.device == "cpu":
        environment |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    elif "CUDA_VISIBLE_DEVICES" in os.environ:
        environment["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"]
    return environment | dict(runner(request.target).environment)


def _wait(process: "subprocess.Popen[bytes]", timeout: float, stop: Event) -> int | None:
    """The exit code, or None where the process did not end by itself."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and not stop.is_set():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_PATIENCE)
    return None


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kills the process and all that it started; those are of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was ended by signal {signal.Signals(-code).name} before it gave a result"
    return f"ended with exit code {code} before it gave a result"


def _last_words(log: Path) -> str:
    words = log.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]
    return f"; it printed: {words}" if words else ""
