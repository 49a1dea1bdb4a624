"""What a target is, and which ones are installed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from resnetgen.diagnostics import Diagnostic, DiagnosticError, printable, quote
from resnetgen.ir.network import Network

GROUP = "resnetgen.targets"
_OURS = "resnetgen"
_OUR_ORDER = ("torch", "keras", "flax", "onnx")


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of output; packages register theirs as entry points of `resnetgen.targets`."""

    name: str
    source: str
    """The file that a person reads, one of those that `emit` returns."""
    emit: Callable[[Network], Mapping[str, bytes]]
    """All files of this target, by name."""
    usage: Callable[[Network], tuple[str, ...]]
    """Lines of Python that load the network with its weights, for the model card."""
    title: str
    """The framework's name as people write it."""


@cache
def targets() -> Mapping[str, Target]:
    """All installed targets by name: ours in the order of emission, then other people's.

    A target is imported when it is first looked up, so that one that is broken does not keep the
    others from working; looking it up raises a DiagnosticError.
    """
    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: _rank(entry.name)):
        found.setdefault(entry.name, []).append(entry)
    return _Installed({name: _without_imitators(entries) for name, entries in found.items()})


class _Installed(Mapping[str, Target]):
    """Loads targets one by one from the entry points of each name."""

    def __init__(self, entries: Mapping[str, list[EntryPoint]]) -> None:
        self._entries = entries
        self._loaded: dict[str, Target] = {}

    def __getitem__(self, name: str) -> Target:
        if name not in self._loaded:
            self._loaded[name] = _load(self._entries[name])
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _without_imitators(entries: list[EntryPoint]) -> list[EntryPoint]:
    """Our own target, where somebody else's has the same name."""
    return [entry for entry in entries if _distribution(entry) == _OURS] or entries


def _load(entries: list[EntryPoint]) -> Target:
    entry = entries[0]
    if len(entries) > 1:
        packages = " and ".join(sorted(map(_distribution, entries)))
        raise _broken(entry, f"is in {packages}", hint="uninstall all but one of them")
    hint = f"mend or uninstall {_distribution(entry)}, or name other targets"
    try:
        loaded: object = entry.load()
    except Exception as error:
        # Somebody else's module may fail in any way while it is imported.
        said = printable(f"{type(error).__name__}: {error}")
        reason = f"of {_distribution(entry)} cannot be loaded: {said}"
        raise _broken(entry, reason, hint=hint) from error
    if not isinstance(loaded, Target):
        kind = type(loaded).__name__
        reason = f"of {_distribution(entry)} is no Target: {entry.value} is a value of type {kind}"
        raise _broken(entry, reason, hint=hint)
    return loaded


def _broken(entry: EntryPoint, reason: str, *, hint: str) -> DiagnosticError:
    message = f"the target {quote(entry.name)} {reason}"
    return DiagnosticError([Diagnostic("broken-target", message, hint=hint)])


def _distribution(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else entry.dist.name


def _rank(name: str) -> tuple[int, str]:
    ours = name in _OUR_ORDER
    return (_OUR_ORDER.index(name) if ours else len(_OUR_ORDER), name)
