"""What several commands refuse alike before they begin: arguments that cannot be, or that clash."""

import os
from collections.abc import Collection, Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from resnetgen.child.framework import is_importable
from resnetgen.cli.options import Dtype, Level, unknown
from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, quote

if TYPE_CHECKING:
    from resnetgen.ir.network import Network


def choose(listed: str | None, known: Iterable[str]) -> tuple[str, ...] | None:
    """The names of targets in a comma list, without repetition; None if no list was given."""
    if listed is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in listed.split(",")))
    available = list(known)
    wrong = [unknown("target", name, available) for name in names if name not in available]
    if wrong:
        raise DiagnosticError(wrong)
    return names


def check_dtype(level: Level, dtype: Dtype | None, *, against: str | None) -> None:
    """Raises a DiagnosticError where the level, or what targets are compared with, has no such
    dtype."""
    if level is Level.train and dtype not in (None, Dtype.float64):
        message = f"--level train compares gradients, and --dtype {dtype} rounds them too far"
        hint = "leave --dtype out, or compare with --level forward"
        raise DiagnosticError.of("no-such-dtype", message, hint=hint)
    if against is not None and dtype in (Dtype.float16, Dtype.bfloat16):
        message = f"--against runs a model in float64, and --dtype {dtype} rounds the weights"
        hint = "leave one of them out"
        raise DiagnosticError.of("no-such-dtype", message, hint=hint)


def check_trains(level: Level, networks: Iterable["Network"]) -> None:
    """Raises a DiagnosticError where a step of training would have no gradient to compare."""
    for network in networks:
        if level is Level.train and network.classes == 1:
            message = f"--level train compares gradients, and {network.name} has one class: its "
            message += "cross entropy is 0 whatever its weights are"
            hint = "compare with --level forward"
            raise DiagnosticError.of("no-gradient", message, hint=hint)


def check_peer(reference: str | None) -> None:
    """Raises a DiagnosticError where `reference` names nothing that could be imported."""
    if reference is None:
        return
    module, _, function = reference.partition(":")
    expected = "MODULE:FUNCTION, such as `torchvision.models:resnet50`"
    if not all(part.isidentifier() for part in [*module.split("."), *function.split(".")]):
        message = f"--against cannot be {quote(reference)}"
        raise DiagnosticError.of("bad-peer", message, expected=expected)
    top = module.partition(".")[0]
    if not is_importable(top) and PathFinder.find_spec(top, [os.getcwd()]) is None:
        message = f"there is no module {quote(top)}, which --against names"
        hint = "install it, or run this in the directory where it lies"
        raise DiagnosticError.of("bad-peer", message, hint=hint)


def folder_flaw(folder: Path) -> str | None:
    """Why no file can be written into a folder; None where one can."""
    if not os.path.lexists(folder):
        return "does not exist"
    if not folder.is_dir():
        return "is not a directory"
    return None if os.access(folder, os.W_OK | os.X_OK) else "is not writable"


def check_runs_in(directory: Path) -> None:
    """Raises a DiagnosticError where frameworks could not be given the paths of files there."""
    try:
        os.fsencode(os.path.realpath(directory)).decode("utf-8")
    except UnicodeDecodeError:
        message = "has a path that is not UTF-8, in which frameworks find no file"
        hint = "give it another name, or verify a copy elsewhere"
        place = Span.of_file(str(directory))
        raise DiagnosticError.of("bad-path", message, place, hint=hint) from None


def refuse_to_replace(file: Path, *, force: bool) -> None:
    """Raises a DiagnosticError where no file can be written, or none without `force`."""
    place, hint = file, None
    if (reason := folder_flaw(file.parent)) is not None:
        place = file.parent
    elif os.path.lexists(file) and not file.is_file():
        reason = "is in the way: it is no file"
    elif os.path.lexists(file) and not force:
        reason, hint = "is there already", "name another file or use --force"
    else:
        return
    raise DiagnosticError.of("not-written", reason, Span.of_file(str(place)), hint=hint)


def require_legal_name(name: str, *, told: str) -> None:
    """Raises a DiagnosticError where no network can have the name that is `told` so."""
    from resnetgen.spec import names

    if (objection := names.objection(name)) is None:
        return
    legal = names.nearest_legal(name)
    message = f"`{told}` cannot be {quote(name)}: {objection}"
    hint = None if legal is None else f"did you mean `{legal}`?"
    raise DiagnosticError.of("bad-name", message, None, hint, expected=names.EXPECTED)


def refuse_unread(context: typer.Context, read: Collection[str], what: str) -> None:
    """Raises a DiagnosticError with the stated options that `what` would not look at."""
    found: list[Diagnostic] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        is_stated = source is not None and source.name == "COMMANDLINE"
        if is_stated and parameter.name not in read:
            message = f"{parameter.opts[0]} means nothing to {what}"
            found.append(Diagnostic("idle-option", message, hint="leave it out"))
    if found:
        raise DiagnosticError(found)
