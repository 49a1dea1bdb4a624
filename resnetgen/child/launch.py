"""Starts one of our modules in a process of its own, and waits for its end, whatever that is."""

import os
import signal
import site
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Literal

Device = Literal["cpu", "cuda"]

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_PATIENCE = 0.2
"""In seconds, how soon a wish to stop is noticed."""
_PATIENCE_WITH_THE_KILLED = 1.0
"""In seconds: they end within milliseconds, unless the system is in their way."""
_LAST_WORDS = 600
"""How many characters of what the process printed are quoted when it leaves no result."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, or None where it was stopped."""

    code: int | None
    log: Path

    def describe(self) -> str:
        """How a process that ended by itself did so, and what it printed last."""
        assert self.code is not None, "it was stopped"
        return how_it_ended(self.code) + _last_words(self.log)


def launch(
    module: str, scratch: Path, *, environment: dict[str, str], timeout: float, stop: Event
) -> Ended:
    """Runs `python -m MODULE SCRATCH PARENT` in a process group that is gone when this returns.

    It returns when the process ends, after `timeout` seconds, or soon after `stop` is set.
    """
    log = scratch / "log.txt"
    with log.open("wb") as output:
        process: subprocess.Popen[bytes] | None = None
        try:
            with _signals_held():
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", module, str(scratch), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=scratch,
                    env=environment,
                    start_new_session=True,
                )
            code = _wait(process, timeout, stop)
        finally:
            if process is not None:
                _end_group(process)
    return Ended(code, log)


def scrubbed_environment(scratch: Path, *, device: Device, threads: int) -> dict[str, str]:
    """A fixed environment: the user's settings of frameworks must not decide a result."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["PYTHONPATH"] = _import_path()
    environment |= dict.fromkeys(_THREAD_COUNTS, str(threads))
    environment |= {
        "HOME": str(scratch),
        # Frameworks leave files there.
        "TMPDIR": str(scratch),
        "PYTHONUSERBASE": site.getuserbase(),
        "NVIDIA_TF32_OVERRIDE": "0",
        "PYTHONHASHSEED": "0",
        "PYTHONIOENCODING": "utf-8",
    }
    if device == "cpu":
        environment |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    elif "CUDA_VISIBLE_DEVICES" in os.environ:
        environment["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"]
    return environment


def _import_path() -> str:
    """PYTHONPATH for a child: this process's own, and this package where it is not installed.

    Where it is, all that is installed would come before Python's own modules.
    """
    package_root = str(Path(__file__).parents[2])
    installed = (*site.getsitepackages(), site.getusersitepackages())
    further = None if package_root in installed else package_root
    return os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), further)))


@contextmanager
def _signals_held() -> Generator[None]:
    """Has signals that may end this process come once it is left: an exception in the midst of
    starting a process would leave nobody to end that."""
    if current_thread() is not main_thread():
        # Such signals come to the main thread.
        yield
        return
    held: list[int] = []
    before = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM)
        if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
    }
    for number in before:
        signal.signal(number, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in held:
            signal.raise_signal(number)


def _wait(process: "subprocess.Popen[bytes]", timeout: float, stop: Event) -> int | None:
    """The exit code, or None where the process did not end by itself."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and not stop.is_set():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_PATIENCE)
    return None


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kills the process and all that it started, which is of its group, and waits for their end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Whoever inherits the others may never ask how they ended: they are in the group until then.
    deadline = time.monotonic() + _PATIENCE_WITH_THE_KILLED
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.005)


def how_it_ended(code: int) -> str:
    """What to say of a process that ended with this exit code before its work was done."""
    if code < 0:
        named = {each.value: each.name for each in signal.Signals}
        # Those between SIGRTMIN and SIGRTMAX have none.
        name = named.get(-code, str(-code))
        if name == "SIGKILL":
            return "was killed (SIGKILL), perhaps for want of memory, before it gave a result"
        return f"was ended by signal {name} before it gave a result"
    return f"ended with exit code {code} before it gave a result"


def _last_words(log: Path) -> str:
    words = log.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]
    return f"; it printed: {words}" if words else ""
