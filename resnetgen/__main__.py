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
    except Exception as error:
        # Python 3.11 makes a RuntimeError of what comes in a class's `__set_name__`, as at imports.
        match _first_cause(error):
            case KeyboardInterrupt():
                return _deaf(128 + signal.SIGINT)
            case SystemExit(code=int(code)):
                return code
            case _:
                raise


def _deaf(code: int) -> int:
    """The exit code; that of an interrupt is no longer changed by another one."""
    if code == 128 + signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _first_cause(error: BaseException) -> BaseException:
    """Not its context: what fails while an interrupt is seen to is a failure."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


if __name__ == "__main__":
    sys.exit(main())
