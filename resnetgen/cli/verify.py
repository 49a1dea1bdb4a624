"""The command `verify`: proves what lies in a directory as it is now."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnetgen.cli.checks import (
    check_dtype,
    check_peer,
    check_runs_in,
    check_trains,
    choose,
    folder_flaw,
    refuse_unread,
)
from resnetgen.cli.options import (
    OUTPUT,
    AgainstOption,
    Device,
    DeviceOption,
    DtypeOption,
    Json,
    Level,
    LevelOption,
    OutputDirectory,
    RunJobs,
    RunTargets,
    SeedOption,
    TimeoutOption,
    named_path,
)
from resnetgen.cli.printing import print_json, reporting, say, say_waiting
from resnetgen.cli.progress import progress
from resnetgen.cli.recheck import recheck_certificate
from resnetgen.cli.verdict import (
    announce_losses,
    exit_code,
    print_verdict,
    verification_facts,
)
from resnetgen.diagnostics import DiagnosticError, Span, quote

if TYPE_CHECKING:
    from resnetgen.emit.manifest import Manifest
    from resnetgen.ir.network import Network


_READ_BY_CERTIFICATE = frozenset({"directory", "certificate", "as_json"})


def verify(
    context: typer.Context,
    directory: OutputDirectory,
    target: RunTargets = None,
    level: LevelOption = Level.forward,
    device: DeviceOption = Device.cpu,
    dtype: DtypeOption = None,
    seed: SeedOption = 0,
    against: AgainstOption = None,
    timeout: TimeoutOption = 600.0,
    jobs: RunJobs = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            parser=named_path,
            help="Write the certificate here instead of DIR/certificate.json; what is there must "
            "be a certificate too.",
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=named_path,
            help="Run nothing: say whether DIR still has the files that this certificate is about. "
            "Exit code 1 if not, or if they had failed.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that the files in DIR, as they are now, compute the network of its spec.yaml.

    This runs the Python in DIR (and what --against names), so give it only what you would run
    yourself. Each framework runs in a process of its own on the same weights and images, and is
    compared with a NumPy interpreter of the network. Replaces the certificate, unless no target
    gave a result, and writes nothing else; where the one before proved more, it says so.

    Examples:

    \b
      resnetgen verify generated/resnet50
      resnetgen verify generated/resnet50 --target torch,onnx --level shapes
      resnetgen verify generated/resnet50 --level train
      resnetgen verify generated/resnet50 --dtype bfloat16 -o bfloat16.json
      resnetgen verify generated/resnet50 --device cuda -o gpu.json
      resnetgen verify generated/resnet50 --against torchvision.models:resnet50
      resnetgen verify generated/resnet50 --certificate generated/resnet50/certificate.json
    """
    from resnetgen.certificates import passed
    from resnetgen.emit.manifest import files, read
    from resnetgen.pipeline import compile_spec, prove
    from resnetgen.records import CERTIFICATE
    from resnetgen.report.facts import network_facts
    from resnetgen.verify.check import Options
    from resnetgen.verify.runners import registry

    with reporting(as_json=as_json):
        if certificate is not None:
            refuse_unread(context, _READ_BY_CERTIFICATE, "--certificate, which runs nothing")
        named = choose(target, registry.targets())
        check_dtype(level, dtype, against=against)
        check_peer(against)
        network = compile_spec(str(_spec_file(directory))).network
        if certificate is not None:
            recheck_certificate(network, directory, certificate, as_json=as_json)
        check_runs_in(directory)
        check_trains(level, [network])
        _refuse_unwritable(directory, output)
        path = output or directory / CERTIFICATE
        manifest = read(directory)
        _refuse_to_replace(path, is_ours=output is None and manifest is not None)
        _announce_edited_spec(directory, manifest, network)
        is_new = output is not None and not os.path.lexists(path)
        proven = passed(path)
        options = Options(
            targets=named,
            level=level.value,
            device=device.value,
            dtype=None if dtype is None else dtype.value,
            seed=seed,
            against=against,
            timeout=timeout,
            jobs=jobs,
        )
        with progress() as reporter:
            verification = prove(
                network,
                directory,
                options=options,
                certificate=path,
                is_new=is_new,
                progress=reporter(network.name),
                waiting=say_waiting,
            )
    if as_json:
        print_json(
            {
                **network_facts(network),
                "output_dir": directory.as_posix(),
                "files": files(directory),
                **verification_facts(verification),
            }
        )
    else:
        print_verdict(network.name, verification, building=False)
    announce_losses(path, proven, verification, way_out="--output FILE writes elsewhere")
    raise typer.Exit(exit_code([verification], named=named or ()))


def _refuse_unwritable(directory: Path, output: Path | None) -> None:
    """Says at once what would otherwise be found out when the frameworks have run."""
    folder = directory if output is None else output.parent
    reason = folder_flaw(folder)
    if reason is None:
        return
    if output is None:
        hint = "--output FILE puts the certificate elsewhere"
    else:
        hint = "--output takes a file in a directory that exists and can be written to"
    raise DiagnosticError.of("not-written", reason, Span.of_file(str(folder)), hint=hint)


def _refuse_to_replace(path: Path, *, is_ours: bool) -> None:
    """Saves a file that was named by mistake; one that is ours by its place needs no look."""
    from resnetgen.certificates import is_certificate

    if not os.path.lexists(path):
        return
    if not path.is_file():
        reason = "is in the way: it is no file"
    elif not is_ours and not is_certificate(path):
        reason = "is no certificate, and would be overwritten"
    else:
        return
    hint = "move it away, or name another file with --output"
    raise DiagnosticError.of("not-a-certificate", reason, Span.of_file(str(path)), hint=hint)


def _announce_edited_spec(directory: Path, manifest: "Manifest | None", network: "Network") -> None:
    """Says that the spec, and not the source, is what changed; a comment in it changes nothing."""
    from resnetgen.digests import sha256_of
    from resnetgen.records import SPEC

    path = directory / SPEC
    if manifest is None or manifest.spec_sha256 == network.spec_sha256:
        return
    # Another version of resnetgen may come to another hash of what nobody edited.
    if manifest.files.get(SPEC) != sha256_of(path):
        say(
            f"{path}: was edited since the build, so the other files are those of another network; "
            f"`resnetgen build {path} -o DIR` compiles it"
        )


def _spec_file(directory: Path) -> Path:
    """The resolved spec in `directory`; without one it is no output of `build`."""
    from resnetgen.records import SPEC

    path = directory / SPEC
    if path.is_file():
        return path
    kind = f"has no {SPEC}" if directory.is_dir() else "is not a directory"
    built = OUTPUT / directory
    hint = f"did you mean {quote(built.as_posix())}?" if (built / SPEC).is_file() else None
    raise DiagnosticError.of(
        "no-output",
        kind,
        Span.of_file(str(directory)),
        hint,
        expected="a directory that `resnetgen build` wrote",
    )
