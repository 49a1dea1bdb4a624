"""The command `new`: a spec to start from."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from resnetgen.cli.checks import refuse_to_replace, require_legal_name
from resnetgen.cli.options import Overrides, complete_spec, named_path
from resnetgen.cli.printing import reporting
from resnetgen.diagnostics import DiagnosticError, Span, printable, quote

_HEADER = """\
# `resnetgen check {file}` validates this, and `resnetgen build {file}` compiles and proves it.
# `resnetgen schema --format markdown` explains every key.
"""


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The network's name.", show_default=False)
    ],
    like: Annotated[
        str,
        typer.Option(
            "--like",
            metavar="SPEC",
            help="The network to start from: a YAML file's path, or a bundled spec's name.",
            autocompletion=complete_spec,
        ),
    ] = "resnet50",
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            parser=named_path,
            help="The file to write; NAME.yaml if left out.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Write a spec to edit: another one, whole, under a name of its own.

    It says what SPEC says without extending it, and leaves out what would be so anyway.

    Examples:

    \b
      resnetgen new my_network
      resnetgen new my_network --like wrn_28_10 --set classes=100
      resnetgen new my_network --like resnet18 -o specs/my_network.yaml
    """
    from resnetgen.pipeline import compile_spec
    from resnetgen.spec.brief import brief
    from resnetgen.spec.file import SUFFIXES
    from resnetgen.spec.load import bundled
    from resnetgen.spec.overrides import keys
    from resnetgen.whole_file import replaced

    with reporting(as_json=False):
        require_legal_name(name, told="NAME")
        if name in bundled():
            message = f"{quote(name)} is a network that ships with resnetgen"
            hint = f"`resnetgen new my_{name} --like {name}` starts from it"
            raise DiagnosticError.of("taken-name", message, hint=hint)
        file = Path(f"{name}.yaml") if output is None else output
        if file.suffix not in SUFFIXES:
            place = Span.of_file(str(file))
            raise DiagnosticError.of(
                "bad-ending", "is no name of a spec", place, expected=" or ".join(SUFFIXES)
            )
        refuse_to_replace(file, force=force)
        compiled = compile_spec(like, overrides=overrides or ())
        if "name" in keys(overrides or ()):
            message = "--set name asks for another name than NAME"
            raise DiagnosticError.of("two-names", message, hint="NAME is enough")
        header = _HEADER.format(file=printable(shlex.quote(str(file))))
        text = header + brief(replace(compiled.spec, name=name))
        with replaced(file, is_new=not force) as temporary:
            temporary.write_text(text, encoding="utf-8")
    typer.echo(f"{file}: {name}, {compiled.network.depth} layers, like {like}")
