"""The commands that look at specs alone: `check`, `specs` and `schema`."""

import os
import sys
from collections.abc import Sequence
from enum import StrEnum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnetgen.cli.options import Json, Overrides, Specs, choice
from resnetgen.cli.printing import (
    BAD_INPUT,
    diagnose,
    diagnostic_facts,
    print_grids,
    print_json,
    reporting,
)
from resnetgen.diagnostics import Diagnostic, DiagnosticError, did_you_mean, quote

if TYPE_CHECKING:
    from resnetgen.report.grid import Grid


def check(spec: Specs, overrides: Overrides = None, as_json: Json = False) -> None:
    """Validate specs without building them; exit code 2 if one is not right.

    Examples:

    \b
      resnetgen check my_network.yaml
      resnetgen check specs/*.yaml --json
      resnetgen check resnet50 --set stages.2.repeats=15
    """
    from resnetgen.pipeline import compile_spec

    valid: list[dict[str, object]] = []
    wrong: list[Diagnostic] = []
    for reference in spec:
        try:
            network = compile_spec(reference, overrides=overrides or ()).network
        except DiagnosticError as error:
            wrong += error.diagnostics
        else:
            valid.append({"spec": reference, "name": network.name, "depth": network.depth})
    if as_json:
        found = [diagnostic_facts(item) for item in dict.fromkeys(wrong)]
        print_json({"valid": valid, "diagnostics": found})
    else:
        for item in valid:
            typer.echo(f"{item['spec']}: {item['name']}, {item['depth']} layers")
        if wrong:
            error = DiagnosticError(wrong)
            diagnose(error.diagnostics, error.render(), as_json=False)
    if wrong:
        raise typer.Exit(BAD_INPUT)


def specs(
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="List only those with this in their names, or in the folder of this name.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the networks that ship with resnetgen.

    Any of these names works wherever a spec's path does.

    Examples:

    \b
      resnetgen specs
      resnetgen specs resnext
      resnetgen specs timm
      resnetgen specs --json
    """
    from resnetgen.pipeline import compile_spec
    from resnetgen.report.catalog import catalog_facts, catalog_grid

    with reporting(as_json=as_json):
        chosen = _named_like(text or "")
        networks = {path: compile_spec(name).network for name, path in chosen.items()}
    if as_json:
        print_json({"specs": catalog_facts(networks)})
    else:
        _print_catalog(catalog_grid(networks), list(networks))


def _named_like(text: str) -> dict[str, Path]:
    """The bundled specs with this in their names, or in the folder of this name."""
    from resnetgen.spec.load import bundled

    sought = text.lower()
    found = {
        name: path
        for name, path in bundled().items()
        if sought in name or sought == path.parent.name
    }
    if not found:
        message = (
            f"no bundled spec has {quote(text)} in its name, and no folder of them is called so"
        )
        hint = did_you_mean(text, bundled()) or "`resnetgen specs` lists them all"
        raise DiagnosticError.of("unknown-spec", message, hint=hint)
    return found


def _print_catalog(grid: "Grid", paths: Sequence[Path]) -> None:
    """Below the table, in which folders the files are; it may have no room for them itself."""
    print_grids([grid])
    folders = dict.fromkeys(_shown(path.parent) for path in sorted(paths))
    typer.echo("Their depths are without the convolutions of shortcuts.")
    typer.echo(f"Their files: NAME.yaml in {' or '.join(folders)}")


def _shown(folder: Path) -> str:
    """The folder from here, if it lies below here."""
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative


class SchemaFormat(StrEnum):
    """What a schema is printed as."""

    json = auto()
    markdown = auto()


class Subject(StrEnum):
    """What a schema is of."""

    spec = auto()
    certificate = auto()


def schema(
    of: Annotated[
        Subject,
        choice("of", Subject, help="What is described: specs, or certificates.", what="schema"),
    ] = Subject.spec,
    form: Annotated[
        SchemaFormat,
        choice("format", SchemaFormat, help="JSON Schema, or a page for people, of specs alone."),
    ] = SchemaFormat.json,
) -> None:
    """Print what a spec or a certificate may say, as JSON Schema; or a page on each key of specs.

    Examples:

    \b
      resnetgen schema > spec.schema.json
      # first line of a spec, for editors with the YAML language server:
      # yaml-language-server: $schema=spec.schema.json
      resnetgen schema --format markdown
      resnetgen schema --of certificate
    """
    with reporting(as_json=False):
        if form is SchemaFormat.markdown and of is Subject.certificate:
            message = "there is a page on specs alone"
            hint = "leave out --format, or --of"
            raise DiagnosticError.of("no-page", message, hint=hint)
    if form is SchemaFormat.markdown:
        from resnetgen.report.language import language

        sys.stdout.write(language())
        return
    if of is Subject.certificate:
        from resnetgen.verify.document import json_schema
    else:
        from resnetgen.spec.schema import json_schema
    print_json(json_schema())
