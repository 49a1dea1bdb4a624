"""Runs the command line, and strikes it: `python -m disturbances.struck STRIKE ARGUMENT ...`.

Or, where it is to be quick, as `--serve` says.

The moments are the operations on files of which Python tells its audit hooks before it does them,
or the lines of the modules that write. STRIKE is a `Strike` in JSON. Nothing in resnetgen knows of
this: what is run is what a person runs.
"""

import ctypes
import errno
import io
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from disturbances.specs import SPEC

ROOT = Path(__file__).parents[2]
WRITING = (
    "emit/exchange.py",
    "emit/trees.py",
    "emit/write.py",
    "certificates.py",
    "locks.py",
    "whole_file.py",
    "weights/file.py",
)
"""The modules that a build without verification writes by, all of which it comes to."""
_NAMES = {str(ROOT / "resnetgen" / name): name for name in WRITING}
assert all(map(os.path.isfile, _NAMES)), "a module of these is gone"
_CREATING = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.fsync", "open to write"}
_CHANGING = _CREATING | {"os.remove", "os.rmdir", "os.chmod", "os.utime"}
_OTHER = {"open to read", "os.listdir", "os.scandir", "fcntl.flock", "the exchange"}
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH, _PR_CAPBSET_DROP = 1, 2, 24


@dataclass(frozen=True)
class Strike:
    """What is done at which moment; at the moment 0, which never comes, nothing is."""

    at: int = 0
    by: str = "operation"
    """What is counted: an `operation`, or a `line` of a module that writes, each once."""
    do: str = ""
    """The name of a signal or of an error; or `move`, `save`, `append` or `delete` with texts."""
    texts: tuple[str, ...] = ()
    folder: str = ""
    """Of the operations that read, those below it count; those that write, everywhere."""
    exchanges: bool = True
    """Whether the system can exchange two names in one step."""
    largest_file: int = -1
    """In bytes, unless negative: what a file may grow to."""
    dies_of_it: bool = False
    """Whether to write more is the end of the process, rather than an error."""
    moments: str = ""
    """A file in which the moments are noted, a line for each."""

    def command(self, *arguments: object) -> list[str]:
        """Runs resnetgen with these arguments and this strike."""
        return [sys.executable, "-m", __spec__.name, json.dumps(asdict(self)), *map(str, arguments)]


class _Striker:
    def __init__(self, strike: Strike) -> None:
        self.strike = strike
        self.count = 0
        self.busy = False
        self.lines: set[tuple[str, int]] = set()

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook."""
        if not self.busy and (what := _operation(event, arguments, self.strike.folder)) is not None:
            self.meet(*what)

    def trace(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        """The trace function: of the modules that write, every line that is met first."""
        if (name := _NAMES.get(frame.f_code.co_filename)) is None:
            return None
        place = (name, frame.f_lineno)
        if event == "line" and place not in self.lines:
            self.lines.add(place)
            self.meet("line", f"{name}:{frame.f_lineno}")
        return self.trace

    def meet(self, what: str, path: str) -> None:
        self.count += 1
        if self.strike.moments:
            self.aside(lambda: _append(self.strike.moments, f"{what} {path}\n"))
        do, at = self.strike.do, self.strike.at
        if do in ("ENOSPC", "EROFS"):
            affected = _CREATING if do == "ENOSPC" else _CHANGING
            if 0 < at <= self.count and what in affected:
                number = getattr(errno, do)
                raise OSError(number, os.strerror(number), path)
        elif self.count == at:
            self.act(path)

    def act(self, path: str) -> None:
        do, texts = self.strike.do, self.strike.texts
        if do.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, do))
        elif do.startswith("E"):
            number = getattr(errno, do)
            raise OSError(number, os.strerror(number), path)
        elif do == "move":
            self.aside(lambda: os.path.exists(texts[0]) and os.rename(*texts))
        elif do == "delete":
            self.aside(lambda: Path(*texts).unlink(missing_ok=True))
        elif do == "append":
            self.aside(lambda: _append(*texts))
        else:
            assert do == "save", do
            self.aside(lambda: _save(*texts))

    def aside(self, task: Callable[[], object]) -> None:
        """Does what is not resnetgen's own doing, and so is no moment."""
        self.busy = True
        try:
            task()
        finally:
            self.busy = False


def _operation(event: str, arguments: tuple[Any, ...], folder: str) -> tuple[str, str] | None:
    """What the event is called here, and its path; None for one that does not count."""
    if event == "ctypes.dlsym":
        return ("the exchange", "") if arguments[1] == "renameat2" else None
    path = os.fsdecode(arguments[0]) if arguments and isinstance(arguments[0], str | bytes) else ""
    if event == "open":
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return None if path.startswith("/dev/") else ("open to write", path)
        event = "open to read"
    if event in _CHANGING:
        return event, path
    # Below a folder that is removed the names stand alone.
    is_ours = path.startswith(folder) or (path and "/" not in path and event != "open to read")
    return (event, path) if event in _OTHER and (is_ours or event == "fcntl.flock") else None


def _append(path: str, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def _save(path: str, text: str) -> None:
    """As an editor does: another file takes the place of the one that was there."""
    _append(f"{path}.swp", text)
    os.replace(f"{path}.swp", path)


def drop_superuser() -> None:
    """Has what is run from here on be refused what permissions refuse, even to the superuser."""
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def _arm(strike: Strike) -> None:
    if not strike.exchanges:
        from resnetgen.emit import exchange

        exchange._exchange = lambda first, second: False
    if strike.largest_file >= 0:
        if strike.dies_of_it:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (strike.largest_file, resource.RLIM_INFINITY))
    striker = _Striker(strike)
    if strike.by == "line":
        sys.settrace(striker.trace)
        return
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if not striker.busy:
            striker.meet("os.fsync", "")
        sync(descriptor)

    os.fsync = fsync
    sys.addaudithook(striker.hear)


def _run(strike: Strike, arguments: list[str]) -> int:
    from resnetgen.__main__ import main

    sys.argv = ["resnetgen", *arguments]
    _arm(strike)
    try:
        return main()
    except Exception:
        traceback.print_exc()
        return 70


def _serve() -> int:
    """Runs what each line of stdin asks for in a fork of this process, and answers how it ended.

    Python and what it imports are started once, and a fork is a process like any other.
    """
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder, "spec.yaml")
        spec.write_text(SPEC)
        sys.argv = ["resnetgen", "build", str(spec), "--no-verify", "-o", folder]
        with redirect_stdout(io.StringIO()):
            from resnetgen.__main__ import main

            assert main() == 0
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            return _forked(request)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


def _forked(request: dict[str, Any]) -> int:
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    said = os.open(request["said"], os.O_CREAT | os.O_WRONLY)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, goal in ((nothing, 0), (nothing, 1), (said, 2)):
        os.dup2(descriptor, goal)
    signal.alarm(request["patience"])
    return _run(Strike(**request["strike"]), request["arguments"])


def main() -> int:
    if sys.argv[1:] == ["--serve"]:
        return _serve()
    # Before it is armed, so that to import what writes is no moment.
    from resnetgen import pipeline  # noqa: F401

    return _run(Strike(**json.loads(sys.argv[1])), sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
