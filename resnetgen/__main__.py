"""Starts the command line, as `resnetgen` and as `python -m resnetgen`."""

import gc
import signal
import sys
from types import FrameType

_RARE = 100_000
"""New objects between two collections: imports make many that stay, which it is vain to look
through every 700."""


def main() -> int:
    """Runs the command line; the exit code. An interrupt is quiet from the first import on."""
    gc.set_threshold(_RARE)

    def end(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            # What is called next, or returns, asks again.
            sys.setprofile(lambda frame, _event, _argument: end(number, frame))
            return
        sys.setprofile(None)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        # As an interrupt does, so that processes and temporary files are cleared away.
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    # What is started in the background may have to ignore it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    try:
        from resnetgen.cli import main as run

        return _deaf(run())
    except KeyboardInterrupt:
        return _deaf(128 + signal.SIGINT)


def _deaf(code: int) -> int:
    """The exit code; that of an interrupt is no longer changed by another one."""
    if code == 128 + signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _is_importing(frame: FrameType | None) -> bool:
    """Whether what `main` runs is in the middle of an import.

    Extension modules may crash when an exception comes while they are set up, as `onnx` does, and
    callbacks of importlib and what makes a class swallow it or make it another one.
    """
    while frame is not None and frame.f_code is not main.__code__:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    sys.exit(main())
