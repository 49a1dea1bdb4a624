"""What a target is, and which ones are installed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from resnetgen.ir.network import Network

GROUP = "resnetgen.targets"
_OUR_ORDER = ("torch", "keras", "onnx")


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
def targets() -> dict[str, Target]:
    """All installed targets by name: ours in the order of emission, then other people's."""
    entries = sorted(entry_points(group=GROUP), key=lambda entry: _rank(entry.name))
    return {entry.name: entry.load() for entry in entries}


def _rank(name: str) -> tuple[int, str]:
    ours = name in _OUR_ORDER
    return (_OUR_ORDER.index(name) if ours else len(_OUR_ORDER), name)
