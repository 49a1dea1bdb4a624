"""The passes in order: from specs to directories, their certificates, and what is stale there."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, quote
from resnetgen.emit.manifest import CERTIFICATE, MANIFEST, read
from resnetgen.emit.write import Plan, locked, place, plan, write, write_certificate
from resnetgen.ir.check import check
from resnetgen.ir.network import Network
from resnetgen.lower import lower
from resnetgen.output import Compiled, contents, listed_targets, reference
from resnetgen.spec.load import load

# Not every command needs these, and they are slow to import.
if TYPE_CHECKING:
    from resnetgen.emit.current import Finding
    from resnetgen.verify.check import Options
    from resnetgen.verify.result import Verification

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to write: without a `seed` the weights file is left out."""

    targets: tuple[str, ...]
    seed: int | None
    force: bool
    jobs: int


@dataclass(frozen=True, slots=True)
class Built:
    """A network and the directory that now holds it."""

    network: Network
    directory: Path


def compile_spec(spec: str, *, overrides: Sequence[str] = ()) -> Compiled:
    """Loads a spec, by path or bundled name, and lowers it to a network."""
    loaded = load(spec, overrides=overrides)
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
) -> list[Built]:
    """Writes a directory under `parent` for each spec; none if one of them may not be written."""
    _refuse_equal_names(compiled)
    directories = [place(parent, item.network.name) for item in compiled]

    def planned(pair: tuple[Compiled, Path]) -> Plan:
        item, directory = pair
        made = contents(item, directory, names=options.targets, seed=options.seed)
        return plan(directory, made, force=options.force)

    with locked(directories, waiting=waiting):
        plans = _each(zip(compiled, directories, strict=True), planned)
        _in_threads(write, plans, number=options.jobs)
    return [
        Built(item.network, directory)
        for item, directory in zip(compiled, directories, strict=True)
    ]


def prove(
    network: Network,
    directory: Path,
    *,
    options: "Options",
    certificate: Path | None,
    progress: Callable[[str, str], None],
) -> "Verification":
    """Verifies what lies in `directory` as it is now, and writes the certificate of that."""
    from resnetgen.verify.certificate import certificate as certify
    from resnetgen.verify.check import verify

    verification = verify(network, directory, options=options, progress=progress)
    document = certify(verification, network, directory)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_certificate(certificate or directory / CERTIFICATE, text)
    return verification


def findings(directory: Path) -> "tuple[Finding, ...]":
    """How `directory` differs from what its recorded source, compiled again, gives."""
    from resnetgen.emit.current import Finding, compare

    manifest = read(directory)
    if manifest is None:
        state = "differs" if (directory / MANIFEST).exists() else "missing"
        return (Finding(MANIFEST, state, ()),)
    spec = reference(directory, manifest.source)
    try:
        compiled = compile_spec(spec, overrides=manifest.overrides)
    except DiagnosticError as error:
        message = f"records {quote(spec)} as its source, and that does not compile"
        place = Span.of_file(str(directory / MANIFEST))
        hint = f"build the network again, or remove {directory}"
        lost = Diagnostic("lost-source", message, place, hint=hint)
        raise DiagnosticError([lost, *error.diagnostics]) from error
    names = listed_targets(manifest)
    return compare(directory, manifest, contents(compiled, directory, names=names, seed=None))


def _refuse_equal_names(compiled: Sequence[Compiled]) -> None:
    first: dict[str, str] = {}
    found: list[Diagnostic] = []
    for item in compiled:
        name = item.network.name
        if name in first:
            message = f"has the name `{name}`, and so has {first[name]}"
            hint = "both would be written to the same directory"
            found.append(Diagnostic("same-name", message, Span.of_file(item.source), hint=hint))
        first.setdefault(name, item.source)
    if found:
        raise DiagnosticError(found)


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
