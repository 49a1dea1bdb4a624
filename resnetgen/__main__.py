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
    asked: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        asked.append(number)
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

        return run()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:
        # Python makes another exception of one that comes while some classes are made.
        if asked:
            return 128 + asked[-1]
        raise


if __name__ == "__main__":
    sys.exit(main())
