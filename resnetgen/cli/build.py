"""The command `build`: from specs to directories with a proof, or a check that they are current."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnetgen.cli.checks import (
    check_peer,
    check_runs_in,
    check_trains,
    choose,
    refuse_unread,
)
from resnetgen.cli.current import check_current
from resnetgen.cli.options import (
    OUTPUT,
    AgainstOption,
    BuildJobs,
    BuildTargets,
    Device,
    DeviceOption,
    Json,
    KeyOption,
    Level,
    LevelOption,
    OptionalSpecs,
    OriginOption,
    OutputParent,
    Overrides,
    SeedOption,
    TimeoutOption,
    named_path,
)
from resnetgen.cli.printing import print_grids, print_json, reporting, say, say_waiting
from resnetgen.cli.verdict import (
    announce_losses,
    exit_code,
    print_verdict,
    runners_of,
    verification_facts,
)
from resnetgen.diagnostics import DiagnosticError

if TYPE_CHECKING:
    from resnetgen.pipeline import Built
    from resnetgen.verify.result import Verification


_READ_BY_CHECK = frozenset({"spec", "output", "overrides", "check", "as_json"})
_READ_BY_RUNS = frozenset({"level", "device", "against", "timeout"})


def build(
    context: typer.Context,
    spec: OptionalSpecs = None,
    output: OutputParent = OUTPUT,
    target: BuildTargets = None,
    seed: SeedOption = 0,
    overrides: Overrides = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            parser=named_path,
            help="Take the weights from a checkpoint of torchvision, timm, Keras and others; see "
            "`resnetgen convert --help`.",
            show_default=False,
        ),
    ] = None,
    key: KeyOption = None,
    origin: OriginOption = None,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Write the files and run no framework.")
    ] = False,
    no_weights: Annotated[
        bool,
        typer.Option(
            "--no-weights",
            help="Write no model.safetensors; one that is there stays if the spec is the one that "
            "it was built from, and else is removed.",
        ),
    ] = False,
    level: LevelOption = Level.forward,
    device: DeviceOption = Device.cpu,
    against: AgainstOption = None,
    timeout: TimeoutOption = 600.0,
    jobs: BuildJobs = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite files that were edited or are not resnetgen's."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Write nothing; exit code 1 if a directory is not what SPEC compiles to, or "
            "without SPEC any of them what its recorded source does.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Compile specs to source, graph and weights, and prove that they are one network.

    Each network gets a directory named like itself, which is replaced whole or not at all. Files
    of your own in it stay; files that you edited are not overwritten without --force. Several
    specs are compiled in parallel and verified one after the other, unless --jobs says how many
    at a time.

    Examples:

    \b
      resnetgen build resnet50
      resnetgen build my_network.yaml -o models --target torch,onnx
      resnetgen build resnet50 --set stages.2.repeats=15 --set name=resnet77
      resnetgen build resnet50 --weights resnet50-11ad3fa6.pth
      resnetgen build resnet50 --against torchvision.models:resnet50
      resnetgen build specs/*.yaml --no-verify --no-weights
      resnetgen build --check
    """
    if check:
        with reporting(as_json=as_json):
            refuse_unread(context, _READ_BY_CHECK, "--check, which writes and runs nothing")
        check_current(spec or (), output, overrides=overrides or (), as_json=as_json)
        return
    from resnetgen import pipeline
    from resnetgen.emit import targets
    from resnetgen.verify.cores import cores

    finished: list[Path] = []
    with reporting(as_json=as_json), _telling_what_is_kept(finished, proving=not no_verify):
        if not spec:
            hint = "`resnetgen specs` lists the bundled ones"
            raise DiagnosticError.of("no-spec", "build needs a SPEC", hint=hint)
        if weights is not None and no_weights:
            message = "--weights and --no-weights ask for two different things"
            raise DiagnosticError.of("two-weights", message, hint="give one of them")
        if weights is None:
            read = context.params.keys() - {"key", "origin"}
            refuse_unread(context, read, "a build without --weights")
        if no_verify and no_weights:
            read = context.params.keys() - {"seed"}
            refuse_unread(context, read, "a build that neither writes weights nor runs anything")
        if no_verify:
            read = context.params.keys() - _READ_BY_RUNS
            refuse_unread(context, read, "--no-verify, which runs nothing")
        else:
            check_runs_in(output)
        check_peer(against)
        if against is not None and len(spec) != 1:
            message = f"--against names one network, and there are {len(spec)} specs"
            raise DiagnosticError.of("one-spec", message, hint="give one SPEC")
        named = choose(target, targets())
        compiled = pipeline.compile_specs(spec, overrides=overrides or ())
        check_trains(level, (item.network for item in compiled))
        built = pipeline.build(
            compiled,
            output,
            options=pipeline.BuildOptions(
                targets=named or tuple(targets()),
                seed=None if no_weights else seed,
                checkpoint=weights,
                key=key,
                origin=origin,
                force=force,
                jobs=jobs or cores(),
            ),
            waiting=say_waiting,
            telling=say,
            finished=finished.append,
        )
        if not as_json:
            _announce(built)
        made = {name for item in built for name in item.made}
        runners = runners_of(named, made) if named else None
        verifications: dict[str, Verification] = {}
        if not no_verify:
            from resnetgen.cli.proofs import proofs
            from resnetgen.verify.check import Options

            options = Options(
                targets=runners,
                level=level.value,
                device=device.value,
                dtype=None,
                seed=seed,
                against=against,
                timeout=timeout,
                jobs=max(1, cores() // (jobs or 1)),
            )
            for item, verification in proofs(built, options, at_once=jobs or 1):
                verifications[item.network.name] = verification
                if not as_json:
                    print_verdict(item.network.name, verification, building=True)
        _announce_losses(built, verifications)
    if as_json:
        facts = [_facts(item, verifications.get(item.network.name)) for item in built]
        print_json(facts[0] if len(facts) == 1 else {"networks": facts})
    elif len(verifications) > 1:
        _sum_up(verifications)
    if verifications:
        raise typer.Exit(exit_code(verifications.values(), named=runners or ()))


@contextmanager
def _telling_what_is_kept(finished: Sequence[Path], *, proving: bool) -> Generator[None]:
    """Says after an interrupt which directories are in place, and whether they are proven."""
    from resnetgen.records import CERTIFICATE

    try:
        yield
    except KeyboardInterrupt:
        written = sorted(finished)
        unproven = [directory for directory in written if not (directory / CERTIFICATE).exists()]
        say(f"written: {', '.join(map(str, written))}" if written else "nothing was written")
        if proving and unproven:
            say(f"not verified: {', '.join(map(str, unproven))}")
        raise


def _announce(built: Sequence["Built"]) -> None:
    from resnetgen.report.network import headline

    for item in built:
        typer.echo(f"{headline(item.network)} -> {item.directory}")


def _announce_losses(built: Sequence["Built"], verifications: "Mapping[str, Verification]") -> None:
    """Names the certificates that are gone, and those whose successors prove less."""
    from resnetgen.records import CERTIFICATE

    for item in built:
        path, found = item.directory / CERTIFICATE, verifications.get(item.network.name)
        if found and found.certifies:
            way_out = "-o DIR builds elsewhere"
            announce_losses(path, item.proven, found, way_out=way_out)
        elif item.lost_certificate:
            say(f"{path}: removed, since it was not about the files as they are now")


def _sum_up(verifications: dict[str, "Verification"]) -> None:
    from resnetgen.report.verification import summary_grid

    print_grids([summary_grid(verifications)])


def _facts(built: "Built", verification: "Verification | None") -> dict[str, object]:
    from resnetgen.emit.manifest import files
    from resnetgen.report.facts import network_facts

    return {
        **network_facts(built.network),
        "output_dir": built.directory.as_posix(),
        "files": files(built.directory),
        **verification_facts(verification),
    }
