"""The command `diff`: the facts in which two specs differ, and what each of them does."""

from typing import Annotated

import typer

from resnetgen.cli.options import Json, Overrides, complete_spec
from resnetgen.cli.printing import has_room, print_grids, print_json, print_wrapped, reporting


def diff(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="The path of a YAML file, or the name of a bundled spec.",
            autocompletion=complete_spec,
            show_default=False,
        ),
    ],
    b: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="What it is compared with.",
            autocompletion=complete_spec,
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Print the facts in which two specs differ, and what each does to the network alone.

    Each change is tried by itself: A, with that one fact as in B. Counts are differences from A's;
    "numbers alone" marks what changes no count or shape but is computed, trained or started with
    differently. Overrides apply to both specs. The exit code is 0 whether they differ or not.

    Examples:

    \b
      resnetgen diff resnet50 resnet50_paper
      resnetgen diff resnet34 my_network.yaml --json
      resnetgen diff resnet50 resnet101 --set input.size=320
    """
    from resnetgen.difference import compare
    from resnetgen.pipeline import compile_specs
    from resnetgen.report.difference import (
        INDENT,
        difference_facts,
        difference_grid,
        difference_lines,
        remarks,
    )
    from resnetgen.report.facts import network_facts

    with reporting(as_json=as_json):
        first, second = compile_specs([a, b], overrides=overrides or ())
        found = compare(first.spec, second.spec)
    if as_json:
        before, after = network_facts(first.network), network_facts(second.network)
        print_json(difference_facts(found, before=before, after=after))
        return
    if not found.changes:
        typer.echo(f"{a} and {b} are the same network, and their specs say the same.")
        return
    names = (first.spec.name, second.spec.name)
    before, after = names if names[0] != names[1] else (a, b)
    grid = difference_grid(found, before=before, after=after)
    if has_room(grid):
        print_grids([grid])
    else:
        print_wrapped(difference_lines(found, before=before, after=after), indent=INDENT)
    print_wrapped(remarks(found), indent=INDENT)
