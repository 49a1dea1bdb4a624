"""Puts a finished directory in another's place, and mends what an interrupted run left.

A directory `resnet50` is made as `.resnet50.resnetgen-new-XXXXXXXX` beside its place. Where the
system can exchange two names in one step (renameat2 on Linux), nobody ever sees a state between.
Elsewhere the old directory steps aside as `.resnet50.resnetgen-old-XXXXXXXX` first; a run that died
between the two renames is undone by the next one. All this happens under a lock on the parent
directory, and nobody else uses such names, so what has one is the remains of a run that ended.
"""

import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from resnetgen.locks import lock

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.resnetgen-(?P<state>new|old)-[0-9a-f]{8}")
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_MOST_ATTEMPTS = 100
"""How many other runs may make the parent directory and remove it before this one has it."""


@contextmanager
def locked(parents: Iterable[Path], *, waiting: Callable[[Path], None]) -> Generator[None]:
    """Makes the parent directories, holds them for this process alone, and mends them.

    No two of them may be one directory: the second lock would wait for the first.
    `waiting` is called with a parent that another process holds. The lock is one on the directory
    itself and leaves no file. Parents made here are removed again if they stay empty.
    """
    made: list[Path] = []
    descriptors: list[int] = []
    try:
        for parent in parents:
            descriptors.append(_hold(parent, waiting, made))
            _mend(parent)
        yield
    finally:
        # Who waits for one of them looks whether it is still there.
        for parent in reversed(made):
            _remove_if_empty(parent)
        for descriptor in descriptors:
            os.close(descriptor)


@contextmanager
def undisturbed(parent: Path, *, waiting: Callable[[Path], None]) -> Generator[None]:
    """Holds the parent directory like `locked`, but neither makes nor mends it.

    Whoever may not open it replaces nothing there either, so that needs no lock.
    """
    with ExitStack() as held:
        with suppress(OSError):
            held.callback(os.close, _lock(parent, waiting))
        yield


@contextmanager
def staged(directory: Path) -> Generator[Path]:
    """A new, empty directory beside `directory`, to be filled and then swapped in, or it goes."""
    staging = _beside(directory, "new")
    staging.mkdir()
    made = staging.stat()
    try:
        yield staging
    finally:
        # The old directory has this name where it could not be put back.
        if _is_at(staging, made):
            remove(staging)


def swap_in(staging: Path, directory: Path, *, last_look: Callable[[Path], None]) -> None:
    """Moves `staging` to `directory`, whole or not at all; what was there is removed.

    Before that `last_look` is called with its new place: if it raises, all is put back.
    """
    if not directory.exists():
        staging.rename(directory)
    elif not _swap_at_once(staging, directory, last_look):
        _rename_twice(staging, directory, last_look)
    sync(directory.parent)


def remove(directory: Path) -> None:
    """Removes a directory of ours, whatever permissions the user's folders in it have.

    An interrupt that comes meanwhile is raised when it is gone.
    """
    try:
        _remove(directory)
    except BaseException:
        _remove(directory)
        raise


def sync(path: Path) -> None:
    """Asks the system to put a file's or a directory's content on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some filesystems have no such request for directories.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _remove(directory: Path) -> None:
    if not directory.is_dir():
        return
    for folder, _, _ in os.walk(directory):
        with suppress(OSError):
            os.chmod(folder, stat.S_IRWXU)
    shutil.rmtree(directory, ignore_errors=True)


def _is_at(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), found)
    except FileNotFoundError:
        return False


def _hold(parent: Path, waiting: Callable[[Path], None], made: list[Path]) -> int:
    """Makes the folder and locks it; again if whoever had it before has removed it meanwhile."""
    for _ in range(_MOST_ATTEMPTS):
        with suppress(FileNotFoundError):
            made += _make(parent)
            found = _lock(parent, waiting)
            if _is_at(parent, os.fstat(found)):
                return found
            os.close(found)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(parent))


def _make(parent: Path) -> list[Path]:
    missing: list[Path] = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    missing.reverse()
    for directory in missing:
        if directory.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, "it is a link to what is not there")
        directory.mkdir(exist_ok=True)
    return missing


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return


def _lock(parent: Path, waiting: Callable[[Path], None]) -> int:
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if lock(descriptor, waits=False) == "another's":
            waiting(parent)
            lock(descriptor, waits=True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _mend(parent: Path) -> None:
    """Restores directories that stepped aside for one that never came, and removes remains."""
    remains = [
        (path, found["name"], found["state"])
        for path in parent.iterdir()
        if (found := _TEMPORARY.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()
    ]
    for path, name, state in remains:
        if state == "old" and not (parent / name).exists():
            path.rename(parent / name)
    for path, _, _ in remains:
        remove(path)


def _swap_at_once(staging: Path, directory: Path, last_look: Callable[[Path], None]) -> bool:
    """Does it by an exchange; False where there is none."""
    new = staging.stat()
    try:
        if not _exchange(staging, directory):
            return False
        last_look(staging)
    except BaseException:
        # An interrupt may come right behind the exchange, which then says nothing.
        if not _is_at(staging, new):
            _exchange_back(staging, directory)
        raise
    remove(staging)
    return True


def _exchange_back(staging: Path, directory: Path) -> None:
    """Gives the old directory, which is called `staging`, its name again."""
    # Whatever keeps the system from another exchange, it may still rename.
    with suppress(OSError):
        if _exchange(staging, directory):
            return
    aside = _beside(directory, "old")
    staging.rename(aside)
    _rename_back(staging, directory, aside)


def _rename_twice(staging: Path, directory: Path, last_look: Callable[[Path], None]) -> None:
    aside = _beside(directory, "old")
    try:
        directory.rename(aside)
        staging.rename(directory)
        last_look(aside)
    except BaseException:
        _rename_back(staging, directory, aside)
        raise
    remove(aside)


def _rename_back(staging: Path, directory: Path, aside: Path) -> None:
    """Undoes two renames; an interrupt may have come before, between and behind them."""
    if aside.exists():
        if directory.exists():
            directory.rename(staging)
        aside.rename(directory)


def _exchange(first: Path, second: Path) -> bool:
    """Swaps two names in one step; False where this system or filesystem cannot."""
    if sys.platform != "linux":
        return False
    # Imported here because it takes longer than all else in this module.
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = (os.fsencode(first), os.fsencode(second))
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(second))


def _beside(directory: Path, state: str) -> Path:
    return directory.with_name(f".{directory.name}.resnetgen-{state}-{os.urandom(4).hex()}")
