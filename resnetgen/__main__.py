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
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from resnetgen.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


def _terminate(number: int, frame: FrameType | None) -> None:
    """Ends like an interrupt does, so that processes and temporary files are cleared away."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
