"""The command `infer`: a spec from the names and shapes of a checkpoint's tensors."""

import sys
import textwrap
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnetgen.cli.checks import require_legal_name
from resnetgen.cli.options import KeyOption, complete_checkpoint, complete_spec, named_path
from resnetgen.cli.printing import reporting, say
from resnetgen.diagnostics import DiagnosticError, Span, quote

if TYPE_CHECKING:
    from resnetgen.spec.load import LoadedSpec
    from resnetgen.spec.model import ModelSpec
    from resnetgen.weights.infer import Inferred, Shapes

_WIDTH = 76


def infer(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            parser=named_path,
            help="A weights file with torchvision's or timm's names, or any that `convert` reads "
            "but Flax's.",
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
    key: KeyOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="The network's name; by default the file's, made legal."
        ),
    ] = None,
) -> None:
    """Print a spec whose network has a checkpoint's tensors, all of them and no others.

    Depth, blocks, widths, groups, attention and the like are read from names and shapes. Where the
    network strides, what it pools and which constants it has leave no trace: that is as in the one
    bundled network that has these names and shapes, or else assumed, and said on stderr. The YAML
    goes to stdout. Reads what `convert` reads, but for Flax's files; pickled code is never run.

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
        asked = None if assume is None else load(assume)
        chosen = _name(checkpoint, name)
        # A graph without batch norms is then that of a network without any.
        with opened(checkpoint, batch_norm=False, key=key) as file:
            shapes, prefix, remarks = file.shapes, file.prefix, file.remarks
        known = renamed(shapes, downsample="conv" if asked is None else asked.spec.downsample)
        untold = known is not None and not known.tells_downsample
        readings = [shapes if known is None else known.shapes]
        if known is not None:
            remarks = (*remarks, known.origin.title)
        if untold and asked is None:
            other = renamed(shapes, downsample="avg")
            assert other is not None, "these names were known"
            readings.append(other.shapes)
        with _about(checkpoint):
            found = infer_spec(readings[0], name=chosen, base=None if asked is None else asked.spec)
        alike = [] if asked else list(_alike(found, readings))
        if len(alike) == 1:
            found = infer_spec(alike[0].shapes, name=chosen, base=alike[0].spec)
    text = None
    if asked is not None and asked.is_bundled:
        text = extension(found.spec, asked.spec)
    sys.stdout.write(text or brief(found.spec))
    if prefix:
        say(f"{checkpoint}: every name is behind {quote(prefix)}")
    for remark in remarks:
        say(f"{checkpoint}: {remark}")
    for line in _remarks(found, asked, alike, untold=untold):
        say(line)


def _name(checkpoint: Path, asked: str | None) -> str:
    from resnetgen.spec import names

    if asked is None:
        return names.made_legal(checkpoint.name.partition(".")[0])
    require_legal_name(asked, told="--name")
    return asked


@contextmanager
def _about(checkpoint: Path) -> Generator[None]:
    """Says of which file a misfit is: the spec that it may have been found in is not written."""
    try:
        yield
    except DiagnosticError as error:
        place = Span.of_file(str(checkpoint))
        raise DiagnosticError(replace(each, span=place) for each in error.diagnostics) from None


@dataclass(frozen=True, slots=True)
class _Alike:
    """A bundled network with a file's names and shapes, as it is or with another image and head."""

    spec: "ModelSpec"
    is_exact: bool
    shapes: "Shapes"
    """The file's, by our names as they are in this network."""


def _alike(found: "Inferred", readings: Iterable["Shapes"]) -> Iterable[_Alike]:
    from resnetgen.spec.load import bundled, load
    from resnetgen.weights.infer import fitting, with_ends

    spec = found.spec
    known = {name: load(name).spec for name in bundled()}
    ends = {
        name: with_ends(each, channels=spec.input.channels, classes=spec.classes)
        for name, each in known.items()
    }
    for shapes in readings:
        for name in fitting(shapes, ends.values()):
            yield _Alike(known[name], known[name] == ends[name], shapes)


def _remarks(
    found: "Inferred", asked: "LoadedSpec | None", alike: Sequence[_Alike], *, untold: bool
) -> Iterable[str]:
    from resnetgen.report.network import headline

    yield f"{headline(found.network)}; its tensors are just those of the file"
    base = alike[0].spec if len(alike) == 1 else asked and asked.spec
    how = "assumed" if base is None else f"taken from {base.name}"
    yield f"{how}, since names and shapes do not tell:"
    assumed = dict(found.assumed)
    if untold:
        assumed["downsample"] = found.spec.downsample
    listed = ", ".join(f"{key} {value}" for key, value in assumed.items())
    yield textwrap.indent(textwrap.fill(listed, _WIDTH, break_on_hyphens=False), "  ")
    if found.spec.norm.kind == "group":
        yield "group norms, since there are no running statistics, which batch norms would have"
    if asked is None:
        yield from _bundled(alike)


def _bundled(alike: Sequence[_Alike]) -> Iterable[str]:
    """Which bundled networks fit as well, and what to do with them."""
    exact = [each.spec.name for each in alike if each.is_exact]
    others = [each.spec.name for each in alike if not each.is_exact]
    if exact:
        yield f"bundled networks with these names and shapes: {', '.join(exact)}"
    if others:
        yield f"bundled networks with these but for image and head: {', '.join(others)}"
    if len(alike) == 1:
        yield "--assume SPEC takes from another spec what is taken from it here"
    elif alike:
        yield "--assume NAME takes from one of them what is assumed here"
    else:
        yield "no bundled network has these names and shapes"
