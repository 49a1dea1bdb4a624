"""The passes in order: from specs to directories, their certificates, and what is stale there."""

import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from resnetgen import certificates
from resnetgen.child.exhausted import is_no_more
from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, quote
from resnetgen.emit.manifest import Manifest, flaw, read
from resnetgen.emit.write import (
    Plan,
    Weights,
    locked,
    place,
    plan,
    refuse_overlaps,
    undisturbed,
    write,
)
from resnetgen.ir.check import check
from resnetgen.ir.network import Network
from resnetgen.lower import feasibility, lower
from resnetgen.output import (
    Compiled,
    contents,
    displaced,
    drawn,
    listed_targets,
    read_from,
    reference,
)
from resnetgen.records import CERTIFICATE, MANIFEST
from resnetgen.spec.load import load
from resnetgen.spec.problems import refuse
from resnetgen.weights.layout import WEIGHTS_FILE

# Not every command needs these, and they are slow to import.
if TYPE_CHECKING:
    from resnetgen.emit.current import Finding
    from resnetgen.verify.check import Options, Progress
    from resnetgen.verify.result import Verification

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to write: without a `seed` the weights file is left out.

    From a `checkpoint` the weights of the one network are read instead of drawn, at a `key` where
    it holds several; `origin` names whose names it has, where that is not to be found out.
    """

    targets: tuple[str, ...]
    seed: int | None
    checkpoint: Path | None
    key: str | None
    origin: str | None
    force: bool
    jobs: int


@dataclass(frozen=True, slots=True)
class Built:
    """A network, the directory that now holds it, and the names of the files that were made."""

    network: Network
    directory: Path
    made: tuple[str, ...]
    """The names of the files that this build made."""
    lost_certificate: bool
    """Whether one lay there that is not about the files as they are now."""
    proven: Mapping[str, certificates.Proof]
    """The targets that had passed by the certificate that lay there, and how."""


def compile_spec(spec: str, *, overrides: Sequence[str] = ()) -> Compiled:
    """Loads a spec, by path or bundled name, and lowers it to a network."""
    loaded = load(spec, overrides=overrides)
    refuse(loaded.document, feasibility.problems(loaded.spec))
    network = lower(loaded.spec)
    check(network)
    return Compiled(loaded.spec, network, loaded.source, loaded.path, tuple(overrides))


def compile_specs(specs: Sequence[str], *, overrides: Sequence[str] = ()) -> list[Compiled]:
    """Compiles all of them, or raises the mistakes of all of them."""
    return _each(specs, lambda spec: compile_spec(spec, overrides=overrides))


def build(
    compiled: Sequence[Compiled],
    parent: Path,
    *,
    options: BuildOptions,
    waiting: Callable[[Path], None],
    telling: Callable[[str], None],
    finished: Callable[[Path], None],
) -> list[Built]:
    """Writes a directory under `parent` for each spec; none if one of them may not be written.

    What there is to say of a checkpoint, or of another spec that had the name, is told, and each
    directory as soon as it is finished.
    """
    refuse_equal_names(compiled)
    directories = [place(parent, item.network.name) for item in compiled]
    refuse_overlaps(directories)

    def planned(pair: tuple[Compiled, Path]) -> Plan:
        item, directory = pair
        made = contents(item, directory, names=options.targets, weights=weights(item.network))
        return plan(directory, made, force=options.force)

    def carry_out(made: Plan) -> None:
        write(made)
        finished(made.directory)

    with (
        _weights(compiled, directories, options, telling) as weights,
        locked(directories, waiting=waiting),
    ):
        plans = _each(zip(compiled, directories, strict=True), planned)
        for remark in chain.from_iterable(map(displaced, plans)):
            telling(remark)
        certified = {directory for directory in directories if (directory / CERTIFICATE).exists()}
        proven = [certificates.passed(directory / CERTIFICATE) for directory in directories]
        _in_threads(carry_out, plans, number=options.jobs)
        lost = {directory for directory in certified if not (directory / CERTIFICATE).exists()}
    return [
        Built(item.network, made.directory, made.contents.names, made.directory in lost, before)
        for item, made, before in zip(compiled, plans, proven, strict=True)
    ]


def prove(
    network: Network,
    directory: Path,
    *,
    options: "Options",
    certificate: Path | None,
    is_new: bool = False,
    progress: "Progress",
    waiting: Callable[[Path], None],
) -> "Verification":
    """Verifies what lies in `directory` as it is now, and writes the certificate of that.

    Where no target gave a result, or a file changed meanwhile, there is nothing to certify: an
    older or newer certificate stays. With `is_new` there must still be no file in its place. A
    certificate that cannot be written is no reason to lose the verdict, which then says so.
    `waiting` is called as `build` calls it.
    """
    from resnetgen.verify.check import of_what_stayed, verify

    with _told_of_verification():
        verification = verify(network, directory, options=options, progress=progress)
    with undisturbed(directory, waiting=waiting):
        verification = of_what_stayed(verification, directory)
        if verification.certifies:
            path = certificate or directory / CERTIFICATE
            try:
                certificates.write(path, verification, network, is_new=is_new)
            except DiagnosticError as error:
                (why,) = error.diagnostics
                return replace(verification, unwritten=why)
    return verification


def findings(directory: Path, compiled: Compiled | None) -> "tuple[Finding, ...]":
    """How `directory` differs from what `compiled` gives, or without one its recorded source."""
    from resnetgen.emit.current import Finding, compare

    manifest = read(directory)
    if manifest is None:
        if not (directory / MANIFEST).exists():
            return (Finding(MANIFEST, "missing", ()),)
        reason = flaw(directory) or "it is not resnetgen's"
        return (Finding(MANIFEST, "differs", (), reason),)
    chosen = compiled or _compile_recorded(directory, manifest)
    wanted = contents(chosen, directory, names=listed_targets(manifest), weights=None)
    # By which spec a directory came to be what it should be does not make it stale.
    same_source = replace(wanted, source=manifest.source, overrides=manifest.overrides)
    return compare(directory, manifest, same_source)


def refuse_equal_names(compiled: Iterable[Compiled]) -> None:
    """Raises a DiagnosticError if two of the specs have one directory."""
    first: dict[str, Compiled] = {}
    found: list[Diagnostic] = []
    for item in compiled:
        name = item.network.name
        other = first.setdefault(name, item)
        if other is item:
            continue
        if other.path.resolve() == item.path.resolve():
            also = "" if other.source == item.source else f", first as {_shown(other)}"
            message, hint = f"is given twice{also}", "name it once"
        else:
            message = f"has the name `{name}`, and so has {_shown(other)}"
            hint = "both would be written to the same directory"
        found.append(Diagnostic("same-name", message, Span.of_file(_shown(item)), hint=hint))
    if found:
        raise DiagnosticError(found)


def _shown(compiled: Compiled) -> str:
    """A spec as it was named: a bundled one by its name alone."""
    return compiled.source.removeprefix("bundled:")


@contextmanager
def _weights(
    compiled: Sequence[Compiled],
    directories: Sequence[Path],
    options: BuildOptions,
    telling: Callable[[str], None],
) -> Generator[Callable[[Network], Weights | None]]:
    """Gives a function from a network to its weights, which can be written within."""
    seed, checkpoint, key = options.seed, options.checkpoint, options.key
    if checkpoint is None:
        yield lambda network: None if seed is None else drawn(network, seed)
        return
    from resnetgen.weights.load import loaded

    if len(compiled) != 1:
        message = f"these weights are of one network, and there are {len(compiled)} specs"
        place = Span.of_file(str(checkpoint))
        raise DiagnosticError.of("one-spec", message, place, hint="give one SPEC")
    (item,), (directory,) = compiled, directories
    with suppress(FileNotFoundError, NotADirectoryError):
        if checkpoint.samefile(directory / WEIGHTS_FILE):
            hint = "give a copy of it, or --no-weights, which leaves it as it is"
            place = Span.of_file(str(checkpoint))
            message = "is what this build would replace"
            raise DiagnosticError.of("own-weights", message, place, hint=hint)
    with loaded(checkpoint, item.network, origin=options.origin, seed=seed, key=key) as found:
        for remark in found.remarks(item.spec):
            telling(remark)
        weights = read_from(checkpoint, found)
        yield lambda _: weights


def _compile_recorded(directory: Path, manifest: Manifest) -> Compiled:
    """What the manifest of `directory` says that it was compiled from, compiled again."""
    spec = reference(directory, manifest.source)
    try:
        return compile_spec(spec, overrides=manifest.overrides)
    except DiagnosticError as error:
        place = Span.of_file(str(directory / MANIFEST))
        hint = f"build the network again, or remove {directory}"
        known = f"records {quote(spec)} as its source, and that"
        first = error.diagnostics[0]
        if (first.code, first.span) == ("missing-file", Span.of_file(spec)):
            message = f"{known} no longer exists"
            raise DiagnosticError.of("lost-source", message, place, hint=hint) from error
        lost = Diagnostic("lost-source", f"{known} does not compile", place, hint=hint)
        raise DiagnosticError([lost, *error.diagnostics]) from error


@contextmanager
def _told_of_verification() -> Generator[None]:
    """Turns what the system refuses, a full disk for one, and a missing peer into a diagnostic.

    Raises MemoryError where what it refuses is memory, a process, or an open file.
    """
    from resnetgen.verify.check import NoPeerError

    try:
        yield
    except NoPeerError as error:
        hint = "what --against names has to run by itself in this Python"
        raise DiagnosticError.of("bad-peer", str(error), hint=hint) from error
    except OSError as error:
        if is_no_more(error):
            raise MemoryError from error
        # What fails at an open file names none, and all that a verification writes is scratch.
        file = error.filename or tempfile.tempdir
        place = Span.of_file(str(file)) if file else None
        message = f"the verification stopped: {error.strerror or error}"
        hint = None if error.filename else "TMPDIR names the directory for its scratch files"
        raise DiagnosticError.of("not-verified", message, place, hint=hint) from error


def _each(items: Iterable[_Item], make: Callable[[_Item], _Made]) -> list[_Made]:
    """Calls `make` with each item; what is wrong with any of them is raised at the end."""
    made: list[_Made] = []
    wrong: list[Diagnostic] = []
    for item in items:
        try:
            made.append(make(item))
        except DiagnosticError as error:
            wrong += error.diagnostics
    if wrong:
        raise DiagnosticError(wrong)
    return made


def _in_threads(task: Callable[[_Item], object], items: Sequence[_Item], *, number: int) -> None:
    """Does what NumPy and the disk do without Python's lock: to draw and to write weights."""
    if min(number, len(items)) == 1:
        # Only the main thread hears of an interrupt.
        for item in items:
            task(item)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(number) as pool:
        for _ in pool.map(task, items):
            pass
