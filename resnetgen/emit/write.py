"""Replaces output directories whole or not at all, and leaves alone what is the user's.

In a directory that resnetgen wrote, the files that its manifest lists are ours, and so are the
manifest and the certificate. Everything else is the user's and is carried over. A listed file
that was edited, or a file of the user's that has the name of one to be written, is not replaced
without `force`.
"""

import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, quote
from resnetgen.digests import sha256, sha256_of
from resnetgen.emit import exchange
from resnetgen.emit.manifest import (
    CheckpointRecord,
    Manifest,
    WeightsRecord,
    certified,
    flaw,
    read,
)
from resnetgen.emit.trees import State, Tree, carry, tree
from resnetgen.records import CERTIFICATE, MANIFEST, SPEC
from resnetgen.weights.layout import WEIGHTS_FILE
from resnetgen.whole_file import remove_remains, told

_Hashes = dict[tuple[State, int], str]
"""The hashes of files, by their state and when anything of them changed last, in nanoseconds."""
_TICK_NS = 2_000_000_000
"""What the coarsest clock of a file system, FAT's, takes for the same time."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How to make the weights file: `write` streams it to a path and returns its hash."""

    origin: int | CheckpointRecord
    """The seed that they are drawn from, or the file that they are read from."""
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
    foreign_records: tuple[str, ...]
    """A manifest or certificate that lies there and is not resnetgen's."""
    hashes: _Hashes = field(compare=False, repr=False)
    """What need not be read again to be known."""

    @property
    def is_same_spec(self) -> bool:
        """Whether what lies there was built from the spec that is built now."""
        return self.old is not None and self.old.spec_sha256 == self.contents.spec_sha256


def place(parent: Path, name: str) -> Path:
    """The output directory `name` under `parent`; behind a symbolic link, where that leads."""
    directory = parent / name
    # Unlike `resolve`, this raises nothing for links that lead in a circle.
    return Path(os.path.realpath(directory)) if directory.is_symlink() else directory


def refuse_overlaps(directories: Sequence[Path]) -> None:
    """Raises a DiagnosticError if one directory is another, or lies in it, behind some link."""
    resolved = [Path(os.path.realpath(directory)) for directory in directories]
    shortest_first = sorted(resolved, key=lambda directory: len(directory.parts))
    found: list[Diagnostic] = []
    for outer, inner in combinations(shortest_first, 2):
        if outer == inner:
            message = "two networks would be written here"
        elif outer in inner.parents:
            message = f"another network would be written in here, to {inner}"
        else:
            continue
        hint = "a symbolic link leads here: remove it, or build them into different directories"
        found.append(Diagnostic("same-directory", message, Span.of_file(str(outer)), hint=hint))
    if found:
        raise DiagnosticError(found)


@contextmanager
def locked(directories: Iterable[Path], *, waiting: Callable[[Path], None]) -> Generator[None]:
    """Keeps other runs of resnetgen away from where `directories` lie; see `exchange.locked`."""
    # One order for all runs, whatever they call the directories: none waits for one that waits.
    parents = {os.path.realpath(each.parent): each.parent for each in directories}
    ordered = [parents[resolved] for resolved in sorted(parents)]
    with told(ordered[0]), exchange.locked(ordered, waiting=waiting):
        yield


@contextmanager
def undisturbed(directory: Path, *, waiting: Callable[[Path], None]) -> Generator[None]:
    """Keeps runs that would replace the directory from doing so meanwhile."""
    with exchange.undisturbed(Path(os.path.realpath(directory)).parent, waiting=waiting):
        yield


def plan(directory: Path, contents: Contents, *, force: bool) -> Plan:
    """Decides what happens to each file; raises a DiagnosticError rather than overwrite."""
    if directory.exists() and not directory.is_dir():
        message = "is in the way: the output directory has this name"
        raise DiagnosticError.of("not-a-directory", message, Span.of_file(str(directory)))
    found = _survey(directory, contents, {})
    if not force:
        _refuse_to_overwrite(found)
    if directory.exists():
        # For what it refuses, even with `force`.
        with told(directory):
            tree(directory)
    return found


def write(plan: Plan) -> Manifest:
    """Carries out a plan; the caller holds the lock since before the plan was made.

    The lock keeps no editor away, and to draw weights takes seconds: so what is there is looked
    at once more before it goes, and anything that changed is refused even with `force`.
    """
    with told(plan.directory), exchange.staged(plan.directory) as staging:
        manifest = _fill(staging, plan)
        if not _is_current(plan, manifest):
            _replace(staging, plan, manifest)
    return manifest


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


def _replace(staging: Path, plan: Plan, manifest: Manifest) -> None:
    """Puts the filled directory in the place of the old one, with what is the user's in there."""
    # A verification that was killed left them; they would be carried over as the user's.
    remove_remains(plan.directory / CERTIFICATE)
    carried: Tree = {}
    _carry_over(staging, plan, manifest, carried)
    exchange.sync(staging)
    _refuse_changes(plan, plan.directory)
    # Again, for what has come since; most is there already.
    _carry_over(staging, plan, manifest, carried)

    def last_look(old: Path) -> None:
        _refuse_changes(plan, old)
        _carry_over(plan.directory, replace(plan, directory=old), manifest, carried)

    exchange.swap_in(staging, plan.directory, last_look=last_look)


def _survey(directory: Path, contents: Contents, hashes: _Hashes) -> Plan:
    """What lies in the directory now, and what would become of it."""
    old = read(directory)
    listed = {} if old is None else old.listed
    kept: tuple[str, ...] = ()
    if old is not None and old.spec_sha256 == contents.spec_sha256:
        kept = tuple(name for name in listed if name not in contents.names)
    touched = dict.fromkeys([*contents.names, *listed])
    present = {
        name: _hash_of(directory / name, hashes)
        for name in touched
        if name not in kept and os.path.lexists(directory / name)
    }
    records = (MANIFEST, CERTIFICATE) if old is None else ()
    foreign_records = tuple(name for name in records if os.path.lexists(directory / name))
    return Plan(directory, contents, old, kept, present, foreign_records, hashes)


def _refuse_to_overwrite(plan: Plan) -> None:
    directory, present = plan.directory, plan.present
    if MANIFEST in plan.foreign_records and (reason := flaw(directory)):
        # Without it every file here would be said not to be ours.
        message = f"cannot be read, and so does not say which files are resnetgen's: {reason}"
        hint = "restore it, or move the directory away; --force replaces the files of this build"
        place = Span.of_file(str(directory / MANIFEST))
        raise DiagnosticError.of("damaged-manifest", message, place, hint=hint)
    listed = {} if plan.old is None else plan.old.listed
    wanted = {name: sha256(content) for name, content in plan.contents.files.items()}
    edited = [
        name
        for name, found in present.items()
        if name in listed and found not in (listed[name], wanted.get(name))
    ]
    foreign = [
        name for name, found in present.items() if name not in listed and found != wanted.get(name)
    ]
    foreign += plan.foreign_records
    messages = [("edited-file", name, "was edited since resnetgen wrote it") for name in edited]
    messages += [
        ("foreign-file", name, "is not resnetgen's, and would be overwritten") for name in foreign
    ]
    found = [
        Diagnostic(code, message, Span.of_file(str(directory / name)), hint=_ways_out(plan, name))
        for code, name, message in messages
    ]
    found += filter(None, (_lost_checkpoint(plan), _lost_source(plan)))
    if found:
        raise DiagnosticError(found)


def _ways_out(plan: Plan, name: str) -> str:
    """What to do about a file that would be overwritten."""
    stays = plan.old is None or WEIGHTS_FILE not in plan.old.listed or plan.is_same_spec
    if name == WEIGHTS_FILE and plan.contents.weights is not None and stays:
        return "move it away, keep it with --no-weights, or use --force"
    return "move it away or use --force"


def _lost_checkpoint(plan: Plan) -> Diagnostic | None:
    """Drawn weights are drawn again at will; those of a checkpoint go only for those of another."""
    old = None if plan.old is None else plan.old.weights
    if (
        old is None
        or not isinstance(old.origin, CheckpointRecord)
        or WEIGHTS_FILE not in plan.present
    ):
        return None
    new = plan.contents.weights
    if new is not None and isinstance(new.origin, CheckpointRecord):
        return None
    file = quote(old.origin.file)
    fate = "removed" if new is None else f"replaced by those of seed {new.origin}"
    keep = "keep them with --no-weights, " if plan.is_same_spec else ""
    return Diagnostic(
        "checkpoint-weights",
        f"holds the weights of {file}, which would be {fate}",
        Span.of_file(str(plan.directory / WEIGHTS_FILE)),
        hint=f"give them again with --weights, {keep}or use --force",
    )


def _lost_source(plan: Plan) -> Diagnostic | None:
    """What a network was built from goes for another spec's only if somebody says so."""
    old = plan.old
    lies_here = old is not None and old.source == SPEC and SPEC in plan.present
    if not lies_here or plan.is_same_spec or plan.contents.source == SPEC:
        return None
    return Diagnostic(
        "own-source",
        "is what the network here was built from, and would be overwritten",
        Span.of_file(str(plan.directory / SPEC)),
        hint="copy it elsewhere and use --force",
    )


def _refuse_changes(plan: Plan, directory: Path) -> None:
    """Raises a DiagnosticError if the old directory is no longer what the plan found.

    It lies at `directory`, which is another place than the plan's once the new one is there.
    """
    now = replace(_survey(directory, plan.contents, plan.hashes), directory=plan.directory)
    if now == plan:
        return
    names = dict.fromkeys([*plan.present, *now.present])
    changed = [name for name in names if plan.present.get(name) != now.present.get(name)]
    message = "changed while the build was running, so nothing was replaced"
    hint = "build again"
    raise DiagnosticError(
        Diagnostic("changed-file", message, Span.of_file(str(plan.directory / name)), hint=hint)
        # Where no file of the build did, the manifest or a certificate changed.
        for name in changed or now.foreign_records or [MANIFEST]
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
        weights = WeightsRecord(digest, contents.weights.origin)
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
    """Whether no file changes but perhaps the manifest."""
    after = {name: manifest.listed[name] for name in plan.contents.names}
    return plan.present == after


def _certificate_holds(plan: Plan, manifest: Manifest) -> bool:
    """Whether what the certificate is about stays, and weights come to no proof without them."""
    if _files_stay(plan, manifest):
        return True
    proven = certified(plan.directory)
    if not proven or (WEIGHTS_FILE in proven) != (WEIGHTS_FILE in manifest.listed):
        return False
    return all(_hash_after(plan, manifest, name) == digest for name, digest in proven.items())


def _hash_after(plan: Plan, manifest: Manifest, name: str) -> str | None:
    """The file's hash behind the build; of one that is listed and not there, the listed one."""
    listed = manifest.listed.get(name)
    if name in plan.contents.names or name in plan.present:
        return listed
    path = plan.directory / name
    return _hash_of(path, plan.hashes) if os.path.lexists(path) else listed


def _carry_over(new: Path, plan: Plan, manifest: Manifest, carried: Tree) -> None:
    """Gives the new directory the files that stay; both have them until the old one goes.

    May be repeated with what is `carried` already, and then does what has changed since.
    """
    old = plan.directory
    carry(old, new, _staying(plan, manifest) if old.exists() else {}, carried)
    if old.exists():
        shutil.copymode(old, new)


def _staying(plan: Plan, manifest: Manifest) -> Tree:
    """What of the old directory will be in the new one."""
    dropped = {MANIFEST, *plan.contents.names, *plan.present}
    if not _certificate_holds(plan, manifest):
        dropped.add(CERTIFICATE)
    found = tree(plan.directory)
    return {name: state for name, state in found.items() if name.parts[0] not in dropped}


def _hash_of(path: Path, hashes: _Hashes) -> str:
    """The hash of a file, or something that is no hash for what is not one.

    It is read only where `hashes` does not tell; weights may take seconds.
    """
    with told(path, "read"):
        if not path.is_file():
            return "not a file"
        found = path.stat()
        key = State.of(found), found.st_ctime_ns
        if key in hashes:
            return hashes[key]
        now = time.time_ns()
        digest = sha256_of(path)
        # A younger file may change once more and look the same.
        if max(found.st_ctime_ns, found.st_mtime_ns) < now - _TICK_NS:
            hashes[key] = digest
        return digest
