"""The command `show`: the paper's table, one stage's blocks, or one target's source."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from resnetgen.cli.options import Json, Overrides, Specs, unknown
from resnetgen.cli.printing import print_grids, print_json, reporting
from resnetgen.diagnostics import DiagnosticError

if TYPE_CHECKING:
    from resnetgen.ir.network import Network
    from resnetgen.ir.summary import Row
    from resnetgen.report.grid import Grid

_TABLES = ("table", "markdown", "latex", "json")


def _complete_format(incomplete: str) -> list[str]:
    from resnetgen.emit import targets

    known = [*_TABLES, *sorted(targets())]
    return [name for name in known if name.startswith(incomplete)]


def _complete_block(ctx: typer.Context, incomplete: str) -> list[str]:
    """The rows of the networks on the line so far; none while a spec is not right."""
    from resnetgen.pipeline import compile_specs

    # Before an option that still lacks its value, the parser leaves the arguments where they are.
    specs = ctx.params.get("spec") or ctx.args
    try:
        networks = compile_specs(specs, overrides=ctx.params.get("overrides") or ())
    except DiagnosticError:
        return []
    known = dict.fromkeys(name for item in networks for name in _rows_by_name(item.network))
    return [name for name in known if name.startswith(incomplete)]


def show(
    spec: Specs,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="table (the default), markdown, latex or json; or a target's source: torch, "
            "keras, flax, onnx.",
            autocompletion=_complete_format,
            show_default=False,
        ),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(
            "--block",
            metavar="STAGE",
            help="One row of the table, op by op: conv2_x or layer1 with its distinct blocks, "
            "stem or head.",
            autocompletion=_complete_block,
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Print a network's table and counts, one stage's blocks, or one target's source.

    MACs are the multiply-accumulates of convolutions and the linear layer for one image.

    Examples:

    \b
      resnetgen show resnet50
      resnetgen show resnet50 resnet50_paper --format markdown
      resnetgen show resnet50 --block conv2_x
      resnetgen show resnet50 --format torch
      resnetgen show resnet18 --set classes=10 --format json
    """
    from resnetgen.emit import targets
    from resnetgen.pipeline import compile_specs

    asked, form = form, form or ("json" if as_json else "table")
    with reporting(as_json=as_json or form == "json"):
        known = (*_TABLES, *targets())
        if form not in known:
            raise DiagnosticError([unknown("format", form, known)])
        if as_json and form != "json":
            message = f"--json and --format {asked} ask for two different things"
            raise DiagnosticError.of("two-formats", message, hint="give one of them")
        if form in targets() and (len(spec) > 1 or block is not None):
            message = f"--format {form} prints the whole source of one network"
            hint = "give one SPEC, and no --block"
            raise DiagnosticError.of("one-source", message, hint=hint)
        networks = [item.network for item in compile_specs(spec, overrides=overrides or ())]
        if form in targets():
            _print_source(networks[0], form)
        elif form == "json":
            facts = [_facts(network, block) for network in networks]
            print_json(facts[0] if len(facts) == 1 else {"networks": facts})
        else:
            _print_grids([grid for network in networks for grid in _grids(network, block)], form)


def _print_source(network: "Network", target: str) -> None:
    from resnetgen.emit import source

    sys.stdout.write(source(network, target))


def _print_grids(grids: "Sequence[Grid]", form: str) -> None:
    if form == "table":
        print_grids(grids)
        return
    from resnetgen.report.latex import latex
    from resnetgen.report.markdown import markdown

    render = markdown if form == "markdown" else latex
    sys.stdout.write(render(grids))


def _grids(network: "Network", block: str | None) -> "tuple[Grid, ...]":
    from resnetgen.report.network import network_grid
    from resnetgen.report.row import row_grids

    if block is None:
        return (network_grid(network),)
    return row_grids(_row(network, block), network)


def _facts(network: "Network", block: str | None) -> dict[str, object]:
    from resnetgen.report.facts import row_facts, table_facts

    if block is None:
        return table_facts(network)
    return row_facts(_row(network, block), network)


def _row(network: "Network", asked: str) -> "Row":
    """The row of the table with this title or name."""
    known = _rows_by_name(network)
    if asked not in known:
        raise DiagnosticError([unknown("stage", asked, known)])
    return known[asked]


def _rows_by_name(network: "Network") -> "dict[str, Row]":
    """The rows of the table by their titles and by their names."""
    from resnetgen.ir.summary import rows
    from resnetgen.report.row import label

    found = rows(network)
    return {label(row): row for row in found} | {row.name: row for row in found}
