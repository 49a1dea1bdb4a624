"""Starts the command line, as `resnetgen` and as `python -m resnetgen`."""

import sys


def main() -> int:
    """Runs the command line; the exit code. An interrupt is quiet from the first import on."""
    try:
        from resnetgen.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
