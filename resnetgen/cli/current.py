"""`build --check`: says which directories are not what their specs compile to."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from resnetgen.cli.printing import FAILED, PASSED, print_json, reporting
from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span

if TYPE_CHECKING:
    from resnetgen.emit.current import Finding
    from resnetgen.output import Compiled


def check_current(
    specs: Sequence[str], output: Path, *, overrides: Sequence[str], as_json: bool
) -> None:
    """Compares the directories of these specs with what they compile to; writes nothing.

    Without specs, all directories in `output` with what their recorded sources compile to.
    """
    from resnetgen.pipeline import findings

    with reporting(as_json=as_json):
        if overrides and not specs:
            message, hint = "--set changes a SPEC, and none is given", "name one"
            raise DiagnosticError.of("no-spec", message, hint=hint)
        compiled = _of_specs(specs, output, overrides) if specs else dict.fromkeys(_all(output))
        found: dict[Path, tuple[Finding, ...]] = {}
        wrong: list[Diagnostic] = []
        for directory, item in compiled.items():
            try:
                found[directory] = findings(directory, item)
            except DiagnosticError as error:
                wrong += error.diagnostics
        if wrong:
            # One whose source is lost says nothing of the others.
            if found and not as_json:
                _print(found)
            raise DiagnosticError(wrong)
    if as_json:
        print_json({"current": not any(found.values()), "directories": _facts(found)})
    else:
        _print(found)
    raise typer.Exit(FAILED if any(found.values()) else PASSED)


def _of_specs(
    specs: Sequence[str], output: Path, overrides: Sequence[str]
) -> "dict[Path, Compiled | None]":
    from resnetgen.pipeline import compile_specs, refuse_equal_names

    compiled = compile_specs(specs, overrides=overrides)
    refuse_equal_names(compiled)
    return {output / item.network.name: item for item in compiled}


def _all(output: Path) -> list[Path]:
    from resnetgen.records import MANIFEST

    manifests = output.glob(f"*/{MANIFEST}")
    found = sorted(path.parent for path in manifests if not path.parent.name.startswith("."))
    if not found:
        message = "holds no directory that resnetgen wrote"
        hint = "-o names the directory that holds them"
        raise DiagnosticError.of("no-output", message, Span.of_file(str(output)), hint=hint)
    return found


def _facts(found: dict[Path, tuple["Finding", ...]]) -> list[dict[str, object]]:
    return [
        {
            "output_dir": directory.as_posix(),
            "current": not findings,
            "files": [
                {
                    "name": item.name,
                    "state": item.state,
                    "reason": item.reason,
                    "diff": "\n".join(item.diff),
                }
                for item in findings
            ],
        }
        for directory, findings in found.items()
    ]


def _print(found: dict[Path, tuple["Finding", ...]]) -> None:
    for directory, findings in found.items():
        for item in findings:
            typer.echo(f"{directory / item.name}: {item.state}")
            if item.reason is not None:
                typer.echo(f"    nothing could be compared: {item.reason}")
                typer.echo("    restore it, or build the network again with --force")
            for line in item.diff:
                typer.echo(f"    {line}")
    stale = [directory.name for directory, findings in found.items() if findings]
    if stale:
        typer.echo(f"not current, {len(stale)} of {len(found)}: {', '.join(stale)}")
    else:
        typer.echo(f"current: {', '.join(directory.name for directory in found)}")
