"""Replaces output directories whole or not at all, and leaves alone what is the user's.

In a directory that resnetgen wrote, the files that its manifest lists are ours, and so are the
manifest and the certificate. Everything else is the user's and is carried over. A listed file
that was edited, or a file of the user's that has the name of one to be written, is not replaced
without `force`.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span
from resnetgen.emit import exchange
from resnetgen.emit.manifest import (
    CERTIFICATE,
    MANIFEST,
    Manifest,
    WeightsRecord,
    read,
    sha256,
    sha256_of,
)
from resnetgen.weights.layout import WEIGHTS_FILE


@dataclass(frozen=True, slots=True)
class Weights:
    """How to make the weights file: `write` streams it to a path and returns its hash."""

    seed: int
    write: Callable[[Path], str]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a build makes of one spec; without `weights` their file is not touched."""

    spec_sha256: str
    source: str
    overrides: tuple[str, ...]
    files: Mapping[str, bytes]
    weights: Weights | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files to be written, the manifest aside."""
        return (*self.files, WEIGHTS_FILE) if self.weights is not None else tuple(self.files)


@dataclass(frozen=True, slots=True)
class Plan:
    """A replacement that has been checked: it overwrites nothing that is not ours."""

    directory: Path
    contents: Contents
    old: Manifest | None
    kept: tuple[str, ...]
    """Listed files that this build does not make and that still belong to the spec."""
    present: Mapping[str, str]
    """The hashes of the files on disk that are to be replaced or removed."""


def place(parent: Path, name: str) -> Path:
    """The output directory `name` under `parent`; behind a symbolic link, where that leads."""
    directory = parent / name
    return directory.resolve() if directory.is_symlink() else directory


@contextmanager
def locked(directories: Iterable[Path], *, waiting: Callable[[Path], None]) -> Generator[None]:
    """Keeps other runs of resnetgen away from where `directories` lie; see `exchange.locked`."""
    parents = sorted({directory.parent for directory in directories})
    with _told(parents[0]), exchange.locked(parents, waiting=waiting):
        yield


def plan(directory: Path, contents: Contents, *, force: bool) -> Plan:
    """Decides what happens to each file; raises a DiagnosticError rather than overwrite."""
    if directory.exists() and not directory.is_dir():
        message = "is in the way: the output directory has this name"
        raise DiagnosticError(
            [Diagnostic("not-a-directory", message, Span.of_file(str(directory)))]
        )
    old = read(directory)
    listed = {} if old is None else old.listed
    kept: tuple[str, ...] = ()
    if old is not None and old.spec_sha256 == contents.spec_sha256:
        kept = tuple(name for name in listed if name not in contents.names)
    touched = dict.fromkeys([*contents.names, *listed])
    present = {
        name: _hash_of(directory / name)
        for name in touched
        if name not in kept and os.path.lexists(directory / name)
    }
    if not force:
        _refuse_to_overwrite(directory, contents, old, present)
    return Plan(directory, contents, old, kept, present)


def write(plan: Plan) -> Manifest:
    """Carries out a plan; the caller holds the lock since before the plan was made."""
    with _told(plan.directory):
        staging = exchange.staging_directory(plan.directory)
        try:
            manifest = _fill(staging, plan)
            if not _is_current(plan, manifest):
                _carry_over(staging, plan, manifest)
                exchange.sync(staging)
                exchange.swap_in(staging, plan.directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return manifest


def write_certificate(path: Path, text: str) -> None:
    """Writes one file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _told(path):
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def manifest_of(
    contents: Contents, *, kept: Mapping[str, str], weights: WeightsRecord | None
) -> Manifest:
    """The manifest of a directory with these contents and the `kept` files, by name and hash."""
    made = {name: sha256(content) for name, content in contents.files.items()}
    return Manifest(
        version=version("resnetgen"),
        spec_sha256=contents.spec_sha256,
        source=contents.source,
        overrides=contents.overrides,
        files={**kept, **made},
        weights=weights,
    )


def _refuse_to_overwrite(
    directory: Path, contents: Contents, old: Manifest | None, present: Mapping[str, str]
) -> None:
    listed = {} if old is None else old.listed
    wanted = {name: sha256(content) for name, content in contents.files.items()}
    edited = [
        name
        for name, found in present.items()
        if name in listed and found not in (listed[name], wanted.get(name))
    ]
    foreign = [
        name for name, found in present.items() if name not in listed and found != wanted.get(name)
    ]
    if old is None:
        foreign += [name for name in (MANIFEST, CERTIFICATE) if os.path.lexists(directory / name)]
    hint = "move it away or use --force"
    messages = [("edited-file", name, "was edited since resnetgen wrote it") for name in edited]
    messages += [
        ("foreign-file", name, "is not resnetgen's, and would be overwritten") for name in foreign
    ]
    if messages:
        raise DiagnosticError(
            Diagnostic(code, message, Span.of_file(str(directory / name)), hint=hint)
            for code, name, message in messages
        )


def _fill(staging: Path, plan: Plan) -> Manifest:
    """Writes what is ours into the empty directory."""
    contents = plan.contents
    for name, content in contents.files.items():
        (staging / name).write_bytes(content)
        exchange.sync(staging / name)
    old_weights = None if plan.old is None else plan.old.weights
    weights = old_weights if WEIGHTS_FILE in plan.kept else None
    if contents.weights is not None:
        digest = contents.weights.write(staging / WEIGHTS_FILE)
        exchange.sync(staging / WEIGHTS_FILE)
        weights = WeightsRecord(digest, contents.weights.seed)
    kept: dict[str, str] = {}
    if plan.old is not None:
        kept = {name: sha for name, sha in plan.old.files.items() if name in plan.kept}
    manifest = manifest_of(contents, kept=kept, weights=weights)
    (staging / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    exchange.sync(staging / MANIFEST)
    return manifest


def _is_current(plan: Plan, manifest: Manifest) -> bool:
    """Whether the directory holds exactly this already."""
    return manifest == plan.old and _files_stay(plan, manifest)


def _files_stay(plan: Plan, manifest: Manifest) -> bool:
    """Whether no file changes but perhaps the manifest, so that a certificate still holds."""
    after = {name: manifest.listed[name] for name in plan.contents.names}
    return plan.present == after


def _carry_over(staging: Path, plan: Plan, manifest: Manifest) -> None:
    """Gives the new directory the files that stay; both have them until the swap."""
    if not plan.directory.exists():
        return
    dropped = {MANIFEST, *plan.present}
    if not _files_stay(plan, manifest):
        dropped.add(CERTIFICATE)
    for path in plan.directory.iterdir():
        if path.name not in dropped:
            _share(path, staging / path.name)
    shutil.copymode(plan.directory, staging)


def _share(source: Path, target: Path) -> None:
    """Makes `target` the same file or tree as `source`, by hard links where they are possible."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir()
        for path in source.iterdir():
            _share(path, target / path.name)
        shutil.copystat(source, target)
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _hash_of(path: Path) -> str:
    """The hash of a file, or something that is no hash for what is not one."""
    with _told(path, "read"):
        return sha256_of(path) if path.is_file() else "not a file"


@contextmanager
def _told(subject: Path, what: Literal["read", "written"] = "written") -> Generator[None]:
    """Turns the system's refusals into a diagnostic on `subject`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        found = Diagnostic(f"not-{what}", f"cannot be {what}: {reason}", Span.of_file(str(subject)))
        raise DiagnosticError([found]) from error
