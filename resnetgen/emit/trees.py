"""What lies below a folder, told apart without reading it, and how another folder is given it."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath


@dataclass(frozen=True, slots=True)
class State:
    """Tells, without reading it, whether a file is still the one that it was, and as it was."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> "State":
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


Tree = dict[PurePath, State | None]
"""What is below a folder, by its path from there; None for folders, which come first."""


def tree(folder: Path) -> Tree:
    """All that is below the folder; links are not followed."""
    return dict(_entries(folder, PurePath()))


def carry(old: Path, new: Path, staying: Tree, carried: Tree) -> None:
    """Gives the folder `new` what of `old` stays; both have the same files then.

    May be repeated with what is `carried` already, and then does what has changed since: what
    stays no longer goes from `new` too.
    """
    # Folders come before what is in them, and so the other way round behind.
    for name in reversed(tuple(carried)):
        if name not in staying or carried[name] != staying[name]:
            _remove(new / name, is_folder=carried.pop(name) is None)
    for name, state in staying.items():
        if name not in carried:
            _share(old / name, new / name, is_folder=state is None)
            carried[name] = state
    for name in reversed(staying):
        if staying[name] is None:
            # Now that they have all that is in them, which changes the time and needs permission.
            shutil.copystat(old / name, new / name)


def _entries(folder: Path, name: PurePath) -> Iterator[tuple[PurePath, State | None]]:
    for path in folder.iterdir():
        below = name / path.name
        if path.is_dir() and not path.is_symlink():
            yield below, None
            yield from _entries(path, below)
        else:
            yield below, State.of(path.lstat())


def _share(source: Path, target: Path, *, is_folder: bool) -> None:
    """Makes the target the same file as the source, by a hard link where possible, or a folder."""
    if is_folder:
        target.mkdir()
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _remove(path: Path, *, is_folder: bool) -> None:
    if is_folder:
        path.rmdir()
    else:
        path.unlink()
