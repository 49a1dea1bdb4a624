"""Finds what packages register as entry points: ours in our order, then other people's.

Nobody else's replaces one of ours that has the same name.
"""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

_OURS = "resnetgen"


def names(group: str, *, ours: Sequence[str]) -> tuple[str, ...]:
    """All names in the group: `ours` in this order, the others sorted behind them."""

    def rank(name: str) -> tuple[int, str]:
        return (ours.index(name) if name in ours else len(ours), name)

    return tuple(sorted(entry_points(group=group).names, key=rank))


def candidates(group: str, name: str) -> list[EntryPoint]:
    """What is registered under a name of the group: ours alone, where it is one of ours."""
    found = list(entry_points(group=group, name=name))
    return [entry for entry in found if package(entry) == _OURS] or found


def package(entry: EntryPoint) -> str:
    """The name of the package that registers it."""
    return "an unknown package" if entry.dist is None else entry.dist.name
