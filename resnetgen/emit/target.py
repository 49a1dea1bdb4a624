"""What a target is, and which ones are installed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint

from resnetgen import plugins
from resnetgen.diagnostics import DiagnosticError, printable, quote
from resnetgen.ir.network import Network

_GROUP = "resnetgen.targets"
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
    return _Installed(plugins.names(_GROUP, ours=_OUR_ORDER))


class _Installed(Mapping[str, Target]):
    """Loads targets one by one."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._loaded: dict[str, Target] = {}

    def __getitem__(self, name: str) -> Target:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = _load(plugins.candidates(_GROUP, name))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _load(entries: list[EntryPoint]) -> Target:
    entry = entries[0]
    if len(entries) > 1:
        packages = " and ".join(sorted(map(plugins.package, entries)))
        raise _broken(entry, f"is in {packages}", hint="uninstall all but one of them")
    hint = f"mend or uninstall {plugins.package(entry)}, or name other targets"
    try:
        loaded: object = entry.load()
    except Exception as error:
        # Somebody else's module may fail in any way while it is imported.
        said = printable(f"{type(error).__name__}: {error}")
        reason = f"of {plugins.package(entry)} cannot be loaded: {said}"
        raise _broken(entry, reason, hint=hint) from error
    if not isinstance(loaded, Target):
        kind = type(loaded).__name__
        reason = (
            f"of {plugins.package(entry)} is no Target: {entry.value} is a value of type {kind}"
        )
        raise _broken(entry, reason, hint=hint)
    return loaded


def _broken(entry: EntryPoint, reason: str, *, hint: str) -> DiagnosticError:
    message = f"the target {quote(entry.name)} {reason}"
    return DiagnosticError.of("broken-target", message, hint=hint)
