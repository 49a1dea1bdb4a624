"""The command line: arguments, progress, printing and exit codes."""

import atexit
import errno
import gc
import os
import signal
import sys
from typing import Annotated, cast

import typer

from resnetgen.child.exhausted import is_no_more
from resnetgen.cli import build, catalog, convert, diff, infer, new, show, verify
from resnetgen.cli.printing import (
    BAD_INPUT,
    INTERRUPTED,
    diagnose,
    give_up_stdout,
    prepare_streams,
    say,
    usage_error,
)
from resnetgen.diagnostics import DiagnosticError, Span

__all__ = ["app", "main"]

# Typer has no public name for what every mistake in the arguments derives from.
_UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])
_REFUSALS = (errno.EPIPE, errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""How the system refuses what is written to stdout."""

app = typer.Typer(
    name="resnetgen",
    help="""One spec of a residual network, every framework, proven to be one network.

    Examples:

    \b
      resnetgen build resnet50             source, graph, weights and a proof in generated/resnet50
      resnetgen show resnet50 resnet101    the tables of the paper
      resnetgen specs                      the networks that ship with resnetgen
    """,
    epilog="""Exit codes: 0 passed, partly passed or not verified; 1 a check failed, or nothing
    could be run; 2 bad input, or a file that cannot be written; 3 a target named on the command
    line is not installed; 130 interrupted, and each directory is as it was or whole; 141 stdout
    has no reader left; 143 ended by SIGTERM, and each directory as with 130.""",
    # Plain help starts in half the time that Rich's panels take.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("build", short_help="Compile specs, and prove the result.")(build.build)
app.command("check", short_help="Validate specs without building them.")(catalog.check)
app.command("show", short_help="Print tables, counts or one source.")(show.show)
app.command("diff", short_help="Say in what two specs differ, and what that does.")(diff.diff)
app.command("infer", short_help="Print a spec for a checkpoint's tensors.")(infer.infer)
app.command("verify", short_help="Prove what lies in a directory as it is.")(verify.verify)
app.command("convert", short_help="Convert a checkpoint to any framework.")(convert.convert)
app.command("new", short_help="Write a spec to start from.")(new.new)
app.command("specs", short_help="List the bundled specs.")(catalog.specs)
app.command("schema", short_help="Print the JSON Schema of specs, or of certificates.")(
    catalog.schema
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"resnetgen {version('resnetgen')}")
        raise typer.Exit


def _before_commands(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Holds the options that stand before a command; there is nothing else to do."""


app.callback(help=app.info.help)(_before_commands)


def _bad_input(error: DiagnosticError) -> int:
    diagnose(error.diagnostics, error.render(), as_json="--json" in sys.argv[1:])
    return BAD_INPUT


def _no_more() -> int:
    hint = "`build` and `verify` take the least with --jobs 1"
    message = "there is not enough memory for this, or too much is running"
    return _bad_input(DiagnosticError.of("no-memory", message, hint=hint))


def main() -> int:
    """Runs the command line; the exit code."""
    # What is alive at the end goes with the process: looking it through for cycles takes longer.
    atexit.register(gc.freeze)
    # The frameworks need the cores; NumPy's own threads would only wait for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    arguments = sys.argv[1:]
    prepare_streams()
    try:
        # Typer turns an interrupt into this exit code itself.
        code = app(args=arguments, prog_name="resnetgen", standalone_mode=False) or 0
        sys.stdout.flush()
    except _UsageError as error:
        usage_error(cast(typer.BadParameter, error), as_json="--json" in arguments)
        return BAD_INPUT
    except DiagnosticError as error:
        return _bad_input(error)
    except MemoryError:
        return _no_more()
    except OSError as error:
        if is_no_more(error):
            return _no_more()
        # What fails at any other file than stdout names it.
        if error.filename is not None:
            message = f"cannot be read or written: {error.strerror}"
            place = Span.of_file(os.fsdecode(error.filename))
            return _bad_input(DiagnosticError.of("refused", message, place))
        if error.errno == errno.ENOENT:
            message = "the working directory is no longer there"
            return _bad_input(DiagnosticError.of("no-directory", message))
        if error.errno not in _REFUSALS:
            raise
        return give_up_stdout(error)
    except SystemExit as error:
        # Typer makes this of a reader that has gone, if it printed itself.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        return give_up_stdout(error.__context__)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        # Another interrupt would end this without a word.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("interrupted")
        signal.signal(signal.SIGINT, before)
    return code
