"""The command `infer`: a spec from the names and shapes of a checkpoint's tensors."""

import sys
import textwrap
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnetgen.cli.options import complete_checkpoint, complete_spec
from resnetgen.cli.printing import reporting, say
from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, quote

if TYPE_CHECKING:
    from resnetgen.spec.load import LoadedSpec
    from resnetgen.weights.infer import Inferred, Renamed, Shapes

_WIDTH = 76


def infer(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A weights file with torchvision's or timm's names, or any that `convert` reads.",
            autocompletion=complete_checkpoint,
            show_default=False,
        ),
    ],
    assume: Annotated[
        str | None,
        typer.Option(
            "--assume",
            metavar="SPEC",
            help="Take what names and shapes leave open from this spec, and print what differs "
            "from it.",
            autocompletion=complete_spec,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="The network's name; by default the file's, made legal."
        ),
    ] = None,
) -> None:
    """Print a spec whose network has a checkpoint's tensors, all of them and no others.

    Depth, blocks, widths, groups, attention and the like are read from names and shapes. Where the
    network strides, what it pools and which constants it has leave no trace: that is assumed, and
    said on stderr. The YAML goes to stdout. Reads what `convert` reads; pickled code is never run.

    Examples:

    \b
      resnetgen infer model.safetensors > model.yaml
      resnetgen infer resnet50-11ad3fa6.pth
      resnetgen infer model.safetensors --assume resnetaa50d
      resnetgen infer model.safetensors --name my_network
    """
    from resnetgen.spec.brief import brief, extension
    from resnetgen.spec.load import load
    from resnetgen.weights.infer import infer as infer_spec
    from resnetgen.weights.infer import renamed
    from resnetgen.weights.open import opened

    with reporting(as_json=False):
        base = None if assume is None else load(assume)
        chosen = _name(checkpoint, name)
        # A graph without batch norms is then that of a network without any.
        with opened(checkpoint, batch_norm=False) as file:
            shapes, prefix, remarks = file.shapes, file.prefix, file.remarks
        known = renamed(shapes, downsample="conv" if base is None else base.spec.downsample)
        if known is not None:
            shapes = known.shapes
            remarks = (*remarks, *_of_names(known))
        with _about(checkpoint):
            found = infer_spec(shapes, name=chosen, base=None if base is None else base.spec)
    text = None
    if base is not None and base.is_bundled:
        text = extension(found.spec, base.spec)
    sys.stdout.write(text or brief(found.spec))
    if prefix:
        say(f"{checkpoint}: every name is behind {quote(prefix)}")
    for remark in remarks:
        say(f"{checkpoint}: {remark}")
    for line in _remarks(found, shapes, base):
        say(line)


def _name(checkpoint: Path, asked: str | None) -> str:
    from resnetgen.spec import names

    if asked is None:
        return names.made_legal(checkpoint.name.partition(".")[0])
    objection = names.objection(asked)
    if objection is None:
        return asked
    legal = names.nearest_legal(asked)
    message = f"`--name` cannot be {quote(asked)}: {objection}"
    hint = None if legal is None else f"did you mean `{legal}`?"
    raise DiagnosticError([Diagnostic("bad-name", message, None, hint, names.EXPECTED)])


@contextmanager
def _about(checkpoint: Path) -> Generator[None]:
    """Says of which file a misfit is: the spec that it may have been found in is not written."""
    try:
        yield
    except DiagnosticError as error:
        place = Span.of_file(str(checkpoint))
        raise DiagnosticError(replace(each, span=place) for each in error.diagnostics) from None


def _of_names(known: "Renamed") -> Iterable[str]:
    yield known.origin.title
    if not known.tells_downsample:
        yield "these do not tell `downsample: conv` from `avg`: --assume SPEC says which it is"


def _remarks(found: "Inferred", shapes: "Shapes", base: "LoadedSpec | None") -> Iterable[str]:
    from resnetgen.report.network import headline

    yield f"{headline(found.network)}; its tensors are just those of the file"
    if base is None:
        yield "assumed, since names and shapes do not tell:"
    else:
        yield f"taken from {base.spec.name}, since names and shapes do not tell:"
    assumed = ", ".join(f"{key} {value}" for key, value in found.assumed.items())
    yield textwrap.indent(textwrap.fill(assumed, _WIDTH, break_on_hyphens=False), "  ")
    if base is None:
        yield from _bundled(found, shapes)


def _bundled(found: "Inferred", shapes: "Shapes") -> Iterable[str]:
    """Which bundled networks fit as well, as they are or with another image and head."""
    from resnetgen.spec.load import bundled, load
    from resnetgen.weights.infer import fitting, with_ends

    spec = found.spec
    known = [load(name).spec for name in bundled()]
    ends = [with_ends(each, channels=spec.input.channels, classes=spec.classes) for each in known]
    unchanged = {each.name for each, other in zip(known, ends, strict=True) if each == other}
    fit = fitting(shapes, ends)
    exact = [name for name in fit if name in unchanged]
    others = [name for name in fit if name not in unchanged]
    if exact:
        yield f"bundled networks with these names and shapes: {', '.join(exact)}"
    if others:
        yield f"bundled networks with these but for image and head: {', '.join(others)}"
    if fit:
        yield "--assume NAME takes from one of them what is assumed here"
    else:
        yield "no bundled network has these names and shapes"
