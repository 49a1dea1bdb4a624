"""What several commands take alike: annotated types, comma lists, and completion."""

import math
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from resnetgen.diagnostics import Diagnostic, DiagnosticError, did_you_mean, quote

OUTPUT = Path("generated")
"""Where `build` puts the networks' directories, unless it is told another place."""


class Level(StrEnum):
    """How much is compared."""

    shapes = "shapes"
    forward = "forward"
    train = "train"


class Device(StrEnum):
    """Where the frameworks run."""

    cpu = "cpu"
    cuda = "cuda"


class Dtype(StrEnum):
    """What the frameworks compute in."""

    float64 = "float64"
    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


def complete_spec(incomplete: str) -> list[str]:
    """Bundled names and paths that start so."""
    from resnetgen.spec.load import bundled

    return sorted(name for name in bundled() if name.startswith(incomplete)) + _paths(incomplete)


def complete_checkpoint(incomplete: str) -> list[str]:
    """Paths of checkpoints that start so."""
    from resnetgen.weights.open import SUFFIXES

    return _paths(incomplete, SUFFIXES)


def _complete_origin(incomplete: str) -> list[str]:
    from resnetgen.weights.origins import ORIGINS

    return [each.name for each in ORIGINS if each.name.startswith(incomplete)]


def _complete_directory(incomplete: str) -> list[str]:
    return [path for path in _paths(incomplete) if path.endswith("/")]


def _paths(incomplete: str, suffixes: Iterable[str] = (".yaml", ".yml")) -> list[str]:
    head, _, start = incomplete.rpartition("/")
    folder = Path(head or ("/" if incomplete.startswith("/") else "."))
    try:
        found = sorted(path for path in folder.iterdir() if path.name.startswith(start))
    except OSError:
        return []
    prefix = incomplete[: len(incomplete) - len(start)]
    return [
        f"{prefix}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.is_dir() or path.suffix in suffixes
    ]


def _complete_target(incomplete: str) -> list[str]:
    from resnetgen.emit import targets

    return _complete_list(incomplete, targets())


def _complete_runner(incomplete: str) -> list[str]:
    from resnetgen.verify.runners.registry import targets

    return _complete_list(incomplete, targets())


def _complete_list(incomplete: str, known: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in sorted(known) if name.startswith(last)]


def choice(name: str, known: type[StrEnum], *, help: str, what: str | None = None) -> object:
    """An option `--name` that takes one of the known words, each of which is a `what`."""

    def parse(word: str) -> StrEnum:
        if word not in list(known):
            raise DiagnosticError([unknown(what or name, word, list(known))])
        return known(word)

    def complete(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return typer.Option(
        f"--{name}",
        metavar=f"[{'|'.join(known)}]",
        help=help,
        parser=parse,
        autocompletion=complete,
    )


_SPEC = typer.Argument(
    metavar="SPEC",
    help="Paths of YAML files, or names of bundled specs (see `resnetgen specs`).",
    autocompletion=complete_spec,
    show_default=False,
)
Specs = Annotated[list[str], _SPEC]
OptionalSpecs = Annotated[list[str] | None, _SPEC]
SpecOption = Annotated[
    str,
    typer.Option(
        "--spec",
        metavar="SPEC",
        help="The network: a YAML file's path, or a bundled spec's name.",
        autocompletion=complete_spec,
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="K=V",
        help="Change a key of the spec, as in stages.2.repeats=15; repeatable.",
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")
]


def named_path(text: str) -> Path:
    """A path; raises a DiagnosticError for an empty one, as of a variable that is not set.

    To Path that is the current directory.
    """
    if not str(text):
        message = "a path on the command line is empty"
        raise DiagnosticError.of("no-path", message, hint="`.` is the current directory")
    return Path(text)


OutputParent = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="The parent of the directories, one per network.",
        parser=named_path,
    ),
]
BuildTargets = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="LIST",
        help="Comma-separated: torch, keras, flax, onnx; all by default. The files of others stay "
        "as they are if the spec is the one that they were built from, and else are removed.",
        autocompletion=_complete_target,
    ),
]
RunTargets = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="LIST",
        help="Comma-separated: torch, keras-tensorflow, keras-jax, keras-torch, flax, onnx; all by "
        "default, but Keras on JAX or PyTorch only where those are installed.",
        autocompletion=_complete_runner,
    ),
]
OutputDirectory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="A directory that `resnetgen build` wrote.",
        parser=named_path,
        autocompletion=_complete_directory,
        show_default=False,
    ),
]
LevelOption = Annotated[
    Level,
    choice(
        "level",
        Level,
        help="Compare shapes and parameters alone, or also what is computed, or also a step of "
        "training: the loss, every gradient, and every running statistic.",
    ),
]
DeviceOption = Annotated[
    Device,
    choice("device", Device, help="A target that cannot run there is reported as not run."),
]
DtypeOption = Annotated[
    Dtype | None,
    choice(
        "dtype",
        Dtype,
        help="The widest that each target computes, by default. Weights and images are rounded to "
        "a type of 16 bits, and what the network computes may differ by what rounding to it does.",
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="MODULE:FUNCTION",
        help="Compare with the PyTorch model that FUNCTION() of MODULE returns, given the same "
        "weights, and that model with the spec. Its parameters need the names that ours have: "
        "torchvision's. It runs on the CPU and in float64.",
        show_default=False,
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Where torch.save wrote several sets of weights, the key of the one to read, as "
        "state_dict_ema; by default it is state_dict, model or the like.",
        show_default=False,
    ),
]
OriginOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FORMAT",
        help="Whose names the checkpoint has, where that is not recognized: torchvision, "
        "torchvision_regnet, timm, cifar, mmpretrain, pycls, transformers, keras_applications, "
        "keras_hub, flax or resnetgen_keras.",
        autocompletion=_complete_origin,
        show_default=False,
    ),
]


def _number(seconds: float) -> float:
    """Passes on what is a number; the range of an option has nothing against nan."""
    if math.isnan(seconds):
        raise typer.BadParameter("nan is no number of seconds")
    return seconds


def timeout_option(*, help: str) -> object:
    """The option `--timeout`, which takes seconds."""
    return typer.Option("--timeout", metavar="SECONDS", min=1, callback=_number, help=help)


TimeoutOption = Annotated[
    float,
    timeout_option(
        help="The longest that one process may run: a target's, and where that is wrong, each of "
        "those that look closer.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", metavar="N", min=0, help="The seed that all drawn numbers come from."),
]
BuildJobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="Networks at a time; by default as many as there are cores are compiled, and one is "
        "verified.",
    ),
]
RunJobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="Frameworks at a time; by default as many as there are cores.",
    ),
]


def unknown(what: str, word: str, known: Iterable[str]) -> Diagnostic:
    """What to say about a word that is none of the known ones."""
    return Diagnostic(
        f"unknown-{what}",
        f"there is no {what} {quote(word)}",
        hint=did_you_mean(word, known),
        expected=", ".join(known),
    )
