"""What lies below a folder, told apart without reading it, and how another folder is given it."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from resnetgen.diagnostics import DiagnosticError, Span


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
    """All that is below the folder; links are not followed.

    Raises a DiagnosticError where something else is mounted there: it goes with no folder.
    """
    return dict(_entries(folder, PurePath(), folder.stat().st_dev))


def carry(old: Path, new: Path, staying: Tree, carried: Tree) -> None:
    """Gives the folder `new` what of `old` stays; both have the same files then.

    May be repeated with what is `carried` already, and then does what has changed since: what
    stays no longer goes from `new` too. Raises a DiagnosticError where another folder is mounted
    in `old`: a copy would be made of what is there, and that be removed.
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


def _entries(folder: Path, name: PurePath, device: int) -> Iterator[tuple[PurePath, State | None]]:
    for path in folder.iterdir():
        below = name / path.name
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            # Of files it says nothing: an overlay has some on the devices below it.
            if found.st_dev != device:
                raise _mounted(path)
            yield below, None
            yield from _entries(path, below, device)
        else:
            yield below, State.of(found)


def _share(source: Path, target: Path, *, is_folder: bool) -> None:
    """Makes the target the same file as the source, by a hard link where possible, or a folder."""
    if is_folder:
        target.mkdir()
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        # What is mounted there may be of the same device, or a single file.
        if error.errno == errno.EXDEV:
            raise _mounted(source) from error
        shutil.copy2(source, target, follow_symlinks=False)


def _mounted(path: Path) -> DiagnosticError:
    message = "is on another volume, so the directory cannot be replaced around it"
    hint = "unmount it, mount it beside the directory, or build elsewhere with -o"
    return DiagnosticError.of("mounted", message, Span.of_file(str(path)), hint=hint)


def _remove(path: Path, *, is_folder: bool) -> None:
    if is_folder:
        path.rmdir()
    else:
        path.unlink()
