"""Compares a directory with a certificate: whether its files are those that were judged."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resnetgen.diagnostics import listed
from resnetgen.ir.network import Network
from resnetgen.records import SPEC
from resnetgen.verify.document import CertificateJson, parse
from resnetgen.verify.hashes import hashes
from resnetgen.verify.runners.registry import BrokenRunnerError, Runner, runner, targets
from resnetgen.weights.layout import WEIGHTS_FILE

State = Literal["as certified", "changed", "missing", "unreadable", "not here", "not certified"]


class NoCertificateError(Exception):
    """The file is none; the message says so, or what it lacks."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """The certificate, and what has become of the files that it is about."""

    certificate: CertificateJson
    files: Mapping[str, State]
    """By name; `not here` are weights alone, which a clone does without, and `not certified` is
    what a target would read, too, and has come since."""
    same_spec: bool
    """Whether `spec.yaml` still means the network that was certified."""

    @property
    def matches(self) -> bool:
        """Whether all that is here is what was judged."""
        states = set(self.files.values())
        return self.same_spec and states <= {"as certified", "not here"}

    @property
    def holds(self) -> bool:
        """Whether it is, and was not found to be wrong."""
        return self.matches and self.certificate["status"] in ("passed", "partial")


def recheck(network: Network, directory: Path, certificate: Path) -> Recheck:
    """Takes the hashes of the directory's files, and runs none of them.

    `network` is what its `spec.yaml` compiles to. Raises NoCertificateError, or OSError where the
    certificate cannot be read.
    """
    try:
        document = parse(certificate.read_bytes())
    except ValueError as error:
        raise NoCertificateError("is no certificate") from error
    if (contradiction := _contradiction(document)) is not None:
        raise NoCertificateError(contradiction)
    for name in _certified(document):
        if name not in document["files"]:
            reason = f"says that targets passed, and nothing of {name}, which they need"
            raise NoCertificateError(reason)
    judged = {file for target in _passed(document) for file in target.files}
    found = hashes(directory, {*document["files"], *judged, WEIGHTS_FILE})
    states: dict[str, State] = {
        name: _state(directory / name, digest, found.get(name))
        for name, digest in document["files"].items()
    }
    states |= dict.fromkeys(sorted(found.keys() - states.keys()), "not certified")
    return Recheck(document, states, document["spec_sha256"] == network.spec_sha256)


def _contradiction(document: CertificateJson) -> str | None:
    """Where it says that it passed, as a whole or in part, and its targets do not."""
    by_status: dict[str, list[str]] = {}
    for name, each in document["targets"].items():
        by_status.setdefault(each["status"], []).append(name)
    if document["status"] == "failed":
        return None
    if failed := by_status.get("failed"):
        return f"says {document['status']}, and that {listed(failed)} failed"
    return None if "passed" in by_status else f"says {document['status']}, and of no target so"


def _certified(document: CertificateJson) -> Iterator[str]:
    """The files without which nobody knows what passed."""
    yield SPEC
    for target in _passed(document):
        if target.file is not None:
            yield target.file


def _passed(document: CertificateJson) -> Iterator[Runner]:
    """The runners of what passed, as far as they are known here."""
    passed = {name for name, each in document["targets"].items() if each["status"] == "passed"}
    for target in passed.intersection(targets()):
        with suppress(BrokenRunnerError):
            yield runner(target)


def _state(path: Path, certified: str, found: str | None) -> State:
    if found is None and os.path.lexists(path):
        return "unreadable"
    if found is None:
        return "not here" if path.name == WEIGHTS_FILE else "missing"
    return "as certified" if found == certified else "changed"
