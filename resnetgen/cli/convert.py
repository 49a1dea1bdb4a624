"""The command `convert`: a checkpoint of any library to a file of any framework."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnetgen.cli.checks import refuse_to_replace
from resnetgen.cli.options import (
    Json,
    KeyOption,
    OriginOption,
    Overrides,
    SeedOption,
    SpecOption,
    named_path,
    timeout_option,
    unknown,
)
from resnetgen.cli.printing import FAILED, NOT_INSTALLED, print_json, reporting, say
from resnetgen.convert.formats import FORMATS, refuse_other_endings
from resnetgen.diagnostics import DiagnosticError, Span

if TYPE_CHECKING:
    from resnetgen.convert.convert import Conversion
    from resnetgen.ir.network import Network

_ENDINGS = "; ".join(f"{', '.join(each.endings)} for {name}" for name, each in FORMATS.items())


def _complete_target(incomplete: str) -> list[str]:
    return [name for name in FORMATS if name.startswith(incomplete)]


def convert(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS", parser=named_path, help="A weights file.", show_default=False
        ),
    ],
    spec: SpecOption,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="TARGET",
            help="torch, keras, flax or onnx.",
            autocompletion=_complete_target,
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            parser=named_path,
            help=f"The file to write; its ending says what it is: {_ENDINGS}.",
            show_default=False,
        ),
    ],
    key: KeyOption = None,
    origin: OriginOption = None,
    overrides: Overrides = None,
    seed: SeedOption = 0,
    timeout: Annotated[
        float,
        timeout_option(help="The longest that the framework may take to write and run the file."),
    ] = 600.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a checkpoint of any library to a weights file of any framework.

    Reads .pth, .pt, .bin and .safetensors of torchvision, timm, mmpretrain, pycls, transformers and
    CIFAR ports, .h5, .weights.h5 and .keras of keras.applications and KerasHub, .msgpack of Flax's
    ImageNet example, and .onnx. Pickled code is never run. Every tensor has to be one of the
    network's, and the network has to be there whole. What is written is what the source loads that
    `resnetgen build` makes of SPEC: it is loaded there, run on a drawn image and compared with the
    network before it gets its name. A .keras file, which is a whole model, is also run by itself.

    Examples:

    \b
      resnetgen convert resnet50-11ad3fa6.pth --spec resnet50 --to keras -o r50.weights.h5
      resnetgen convert resnet20.th --spec resnet20 --from cifar --to onnx -o resnet20.onnx
      resnetgen convert resnet50.h5 --spec my_keras_resnet50.yaml --to torch -o resnet50.pth
    """
    with reporting(as_json=as_json):
        if to not in FORMATS:
            raise DiagnosticError([unknown("target", to, FORMATS)])
        refuse_other_endings(output, to)
        _refuse_to_replace_source(output, weights)
        refuse_to_replace(output, force=force)
        from resnetgen.convert.convert import convert as carry_out
        from resnetgen.convert.convert import installed_runner
        from resnetgen.pipeline import compile_spec
        from resnetgen.weights.load import loaded

        compiled = compile_spec(spec, overrides=overrides or ())
        network = compiled.network
        runner, lacking = installed_runner(to)
        if runner is None:
            if as_json:
                print_json(_facts(network, weights.as_posix(), output, to, "not_run", lacking))
            else:
                say(f"{to}: {lacking}")
            raise typer.Exit(NOT_INSTALLED)
        with loaded(weights, network, origin=origin, seed=None, key=key) as found:
            for remark in found.remarks(compiled.spec):
                say(remark)
            conversion = carry_out(
                found,
                output,
                target=to,
                runner_name=runner,
                seed=seed,
                timeout=timeout,
                force=force,
            )
    if as_json:
        file, failure = found.checkpoint.file, conversion.failure
        status = "passed" if failure is None else "failed"
        facts = _facts(network, file, output, to, status, failure)
        print_json({**facts, "format": found.format, **_figures(conversion)})
    elif conversion.difference is not None and conversion.failure is None:
        difference = conversion.difference
        typer.echo(
            f"{output}: {to} computes {network.name} with these weights, "
            f"difference {difference.relative:.1e} (bound {difference.bound:.1e})"
        )
    else:
        say(f"{output}: not written: in {to}, {conversion.failure}")
    if conversion.failure is not None:
        raise typer.Exit(FAILED)


def _refuse_to_replace_source(output: Path, weights: Path) -> None:
    if output.exists() and weights.exists() and output.samefile(weights):
        place = Span.of_file(str(output))
        raise DiagnosticError.of("not-written", "is what would be converted", place)


def _facts(
    network: "Network", weights: str, output: Path, target: str, status: str, reason: str | None
) -> dict[str, object]:
    """All keys, those null of which nobody knows anything yet."""
    return {
        "name": network.name,
        "spec_sha256": network.spec_sha256,
        "weights": weights,
        "format": None,
        "target": target,
        "output": output.as_posix(),
        "status": status,
        "reason": reason,
        "max_abs_diff": None,
        "max_rel_diff": None,
        "bound": None,
    }


def _figures(conversion: "Conversion") -> dict[str, object]:
    difference = conversion.difference
    if difference is None:
        return {}
    return {
        "max_abs_diff": difference.absolute,
        "max_rel_diff": difference.relative,
        "bound": difference.bound,
    }
