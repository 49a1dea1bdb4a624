"""`verify --certificate`: says whether a directory is still what a certificate is about."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from resnetgen.cli.printing import FAILED, PASSED, print_json, say
from resnetgen.diagnostics import DiagnosticError, Span, listed, printable
from resnetgen.records import SPEC

if TYPE_CHECKING:
    from collections.abc import ItemsView

    from resnetgen.ir.network import Network
    from resnetgen.verify.document import CertifiedTargetJson
    from resnetgen.verify.recheck import Recheck


def recheck_certificate(
    network: "Network", directory: Path, certificate: Path, *, as_json: bool
) -> None:
    """Compares the files with the certificate, prints what differs, and exits.

    Raises DiagnosticError where there is no certificate to compare them with.
    """
    found = _found(network, directory, certificate)
    if as_json:
        print_json(
            {
                "name": network.name,
                "output_dir": directory.as_posix(),
                "certificate": certificate.as_posix(),
                "matches": found.matches,
                "same_spec": found.same_spec,
                "files": dict(found.files),
                "status": found.certificate["status"],
                "level": found.certificate["level"],
                "dtypes": _dtypes(found),
                "targets": {name: each["status"] for name, each in _targets(found)},
            }
        )
    else:
        _print(found, network, directory, certificate)
    raise typer.Exit(PASSED if found.holds else FAILED)


def _found(network: "Network", directory: Path, certificate: Path) -> "Recheck":
    from resnetgen.verify.recheck import NoCertificateError, recheck

    try:
        return recheck(network, directory, certificate)
    except NoCertificateError as error:
        reason = str(error)
        expected: str | None = "a file that `resnetgen verify` or `build` wrote"
    except OSError as error:
        reason, expected = f"cannot be read: {error.strerror or error}", None
    place = Span.of_file(str(certificate))
    raise DiagnosticError.of("not-a-certificate", reason, place, expected=expected)


def _print(found: "Recheck", network: "Network", directory: Path, certificate: Path) -> None:
    document = found.certificate
    if not found.same_spec:
        typer.echo(f"{directory / SPEC}: means another network than was certified")
    for name, state in found.files.items():
        if state not in ("as certified", "not here"):
            typer.echo(printable(f"{directory / name}: {state}"))
    if not found.matches:
        typer.echo(f"not as certified: verify {directory} again to know what it is now")
        return
    if "not here" in found.files.values():
        say("the weights that were certified are not here, so nothing is said of them")
    dtypes = _dtypes(found)
    peer = document["reference"]
    if peer in dtypes:
        del dtypes[peer]
        say(f"{peer}, with which they were compared, is none of these files: it was not looked at")
    narrower = sorted({dtype for dtype in dtypes.values() if dtype not in (None, "float64")})
    verdict = f"{document['status']} at the level {document['level']}"
    if narrower:
        verdict += f" in {listed(narrower)}"
    if failed := [name for name, each in _targets(found) if each["status"] == "failed"]:
        verdict += f", in {listed(failed)}; {listed(list(dtypes)) if dtypes else 'none'} passed"
    elif dtypes:
        verdict += f", in {listed(list(dtypes))}"
    typer.echo(f"{network.name} is as certified in {certificate}: {verdict}")


def _dtypes(found: "Recheck") -> dict[str, str | None]:
    """In which type each target passed; None where no value was compared."""
    return {name: each["dtype"] for name, each in _targets(found) if each["status"] == "passed"}


def _targets(found: "Recheck") -> "ItemsView[str, CertifiedTargetJson]":
    return found.certificate["targets"].items()
