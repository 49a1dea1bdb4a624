"""What is done to a command: by signals, by the system, by the user, and by another command."""

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from disturbances.scenes import (
    BARE,
    CONVERTED,
    EDITED,
    FIRST,
    OLD_BUILD,
    PROVEN,
    REFUSED,
    REPLACED,
    TOGETHER,
    VERIFIED,
    Case,
    Ended,
    Rehearsed,
    Scene,
    ended,
    plain,
)
from disturbances.specs import NAME
from disturbances.struck import Strike, drop_superuser
from disturbances.wholeness import Tree, hashed

KILLED = 128 + signal.SIGKILL
TERMINATED = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT
OUTGREW = 128 + signal.SIGXFSZ
_CODES = {"SIGKILL": KILLED, "SIGTERM": TERMINATED, "SIGINT": INTERRUPTED}
NO_ROOM = 99
"""The exit code where a disk cannot even hold what is there already."""

FRAMEWORKS = (PROVEN, TOGETHER, VERIFIED, CONVERTED)
"""Scenes whose commands start a framework, and so take seconds."""


@dataclass(frozen=True)
class Fault:
    """One thing that is done to a command; `what` says it as the table does."""

    what: str
    scene: Scene
    run: Callable[[Case], Ended]
    """Starts the command in the case, does it, and waits for the end."""
    codes: Collection[int]
    may_be_gone: bool = False
    """Whether only the next run brings the directory back."""
    may_litter: bool = False
    """Whether something may stay until the next run."""
    contested: bool = False
    """Whether another command writes there as well, and may be the last to do so."""
    changes: Callable[[Tree], Tree] = dict
    """What the user does to the directory meanwhile."""
    stays: bool = False
    """Whether what the user does keeps the next run from replacing the directory."""
    mounts: bool = False
    """Whether it needs a file system of its own."""


@dataclass(frozen=True)
class Sweep:
    """Faults that differ in nothing but the moment, which is a number."""

    what: str
    scene: Scene
    strike: Strike
    codes: Collection[int]
    texts: Callable[[Case], tuple[str, ...]] = lambda case: ()
    promises: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of each fault."""

    def moments(self, rehearsed: Rehearsed, folder: Path) -> list[str]:
        """What the moments of the command are if nothing happens at any."""
        case = rehearsed.open(folder)
        noted = case.folder / "moments"
        noting = replace(self.strike, do="", folder=str(case.out), moments=str(noted))
        done = run_struck(case, self.scene, noting)
        assert done.code == self.scene.code, done.said
        found = noted.read_text().splitlines()
        shutil.rmtree(folder)
        return found

    def at(self, moment: int) -> Fault:
        """The fault at this moment; the first is 1."""

        def run(case: Case) -> Ended:
            texts = self.texts(case)
            strike = replace(self.strike, at=moment, folder=str(case.out), texts=texts)
            return run_struck(case, self.scene, strike)

        return Fault(self.what, self.scene, run, self.codes, **self.promises)


def run_struck(case: Case, scene: Scene, strike: Strike) -> Ended:
    """Quickly where no framework decides how long it takes, and else in a process of its own."""
    if scene in FRAMEWORKS:
        return case.run(strike.command(*scene.arguments))
    return case.quickly(strike, scene.arguments)


def sweeps() -> Iterator[Sweep]:
    """What is done at every moment of a build that starts no framework."""
    operation, line = Strike(), Strike(by="line")
    litters = {"may_litter": True}
    for scene in (REPLACED, FIRST, BARE, EDITED):
        yield killed(scene)
    for name in ("SIGINT", "SIGTERM"):
        strike = replace(operation, do=name)
        yield Sweep(f"{name} before each operation", REPLACED, strike, (_CODES[name],))
    interrupt = replace(line, do="SIGINT")
    # One that comes while what is temporary is removed leaves the rest of it.
    yield Sweep(
        "SIGINT at each line that writes", REPLACED, interrupt, (INTERRUPTED,), promises=litters
    )
    apart = {**litters, "may_be_gone": True}
    strike = replace(operation, do="SIGKILL", exchanges=False)
    where = ", where names cannot be exchanged"
    yield Sweep(
        f"SIGKILL before each operation{where}", REPLACED, strike, (KILLED,), promises=apart
    )
    strike = replace(interrupt, exchanges=False)
    what = f"SIGINT at each line that writes{where}"
    yield Sweep(what, REPLACED, strike, (INTERRUPTED,), promises=litters)
    for error, what in (
        ("ENOSPC", "disk full from each operation on"),
        ("EROFS", "disk read-only from each operation on"),
        ("EIO", "input/output error at each operation"),
    ):
        strike = replace(operation, do=error)
        yield Sweep(what, REPLACED, strike, (0, REFUSED), promises=litters)
    yield Sweep(
        "directory moved away before each operation",
        REPLACED,
        replace(operation, do="move"),
        (0, REFUSED),
        lambda case: (str(case.directory), str(case.moved)),
    )
    yield _written("the user's new file", "save", "new.txt", "new", becomes="new")
    yield _written("the user's file replaced", "save", "notes.txt", "saved", becomes="saved")
    yield _written("the user's file continued", "append", "notes.txt", " too", becomes="mine too")
    edit = "# mine\n"
    yield _written("a file of the build edited", "save", "model_torch.py", edit, becomes=edit)


def killed(scene: Scene) -> Sweep:
    """SIGKILL before each operation."""
    strike, litters = Strike(do="SIGKILL"), {"may_litter": True}
    return Sweep("SIGKILL before each operation", scene, strike, (KILLED,), promises=litters)


def _written(what: str, do: str, name: str, text: str, *, becomes: str) -> Sweep:
    """What the user writes while the build runs."""

    def changes(before: Tree) -> Tree:
        return {**before, name: hashed(becomes.encode())}

    return Sweep(
        f"{what} before each operation",
        REPLACED,
        Strike(do=do),
        (0, REFUSED),
        lambda case: (str(case.directory / name), text),
        {"changes": changes, "stays": name not in REPLACED.own and name != "new.txt"},
    )


def at_random(chance: random.Random, *, times: int, slow: int) -> Iterator[Fault]:
    """What comes at moments that are drawn over the length of the undisturbed command.

    `times` for each command that starts no framework, and `slow` for each that does.
    """
    for scene in (REPLACED, FIRST, *FRAMEWORKS):
        for name, numbers in (
            ("SIGKILL", (signal.SIGKILL,)),
            ("SIGINT", (signal.SIGINT,)),
            ("SIGTERM", (signal.SIGTERM,)),
            ("SIGINT twice", (signal.SIGINT, signal.SIGINT)),
        ):
            codes = (0, _CODES[name.split()[0]])
            for _ in range(slow if scene in FRAMEWORKS else times):
                waits = (chance.random(), *(chance.uniform(0, 0.1) for _ in numbers[1:]))
                run = _signalled(scene, tuple(zip(waits, numbers, strict=True)))
                litters = name in ("SIGKILL", "SIGINT twice")
                what = f"{name} at a random moment"
                yield Fault(what, scene, run, codes, may_litter=litters)


def _signalled(
    scene: Scene, signals: tuple[tuple[float, signal.Signals], ...]
) -> Callable[[Case], Ended]:
    """Sends each signal after a wait, which is a fraction of the command's length."""

    def run(case: Case) -> Ended:
        process = case.start(plain(*scene.arguments))
        for wait, number in signals:
            time.sleep(wait * case.seconds)
            process.send_signal(number)
        return ended(process)

    return run


def outgrown(scene: Scene, chance: random.Random, *, times: int) -> Iterator[Fault]:
    """Files that may not become as large as they are to be."""
    for _ in range(times):
        part = chance.random()
        for dies in (False, True):

            def run(case: Case, part: float = part, dies: bool = dies) -> Ended:
                strike = Strike(largest_file=int(part * case.largest), dies_of_it=dies)
                return run_struck(case, scene, strike)

            what = "killed in the middle of a file" if dies else "a file's size limited"
            codes = (OUTGREW,) if dies else (REFUSED,)
            yield Fault(what, scene, run, codes, may_litter=dies)


def read_only(scene: Scene) -> Iterator[Fault]:
    """Folders whose permissions refuse writing, to the superuser as well."""
    for what, folder, codes in (
        ("the folder around it is read-only", "out", (REFUSED,)),
        ("the directory is read-only", f"out/{NAME}", (0, REFUSED)),
        ("the user's folder in it is read-only", f"out/{NAME}/runs", (0, REFUSED)),
    ):

        def run(case: Case, folder: str = folder) -> Ended:
            path = case.folder / folder
            mode = path.stat().st_mode
            path.chmod(0o555)
            try:
                return case.run(plain(*scene.arguments), preexec_fn=drop_superuser)
            finally:
                if path.exists():
                    path.chmod(mode)

        yield Fault(what, scene, run, codes)


def can_mount() -> bool:
    """Whether this system lets anybody have a file system of one's own."""
    trial = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none",
             "/mnt"]  # fmt: skip
    try:
        return subprocess.run(trial, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


_ON_A_SMALL_DISK = f"""
mount -t tmpfs -o "$1" none "$2" && cp -a seed/. "$2" || exit {NO_ROOM}
folder=$2; shift 2
"$@"; code=$?
cp -a "$folder"/. kept
exit $code
"""


def full(scene: Scene, *, folder: str, limits: Iterator[str]) -> Iterator[Fault]:
    """Runs the command with a folder on a disk that has hardly any room."""
    for limit in limits:

        def run(case: Case, limit: str = limit) -> Ended:
            path, kept = case.folder / folder, case.folder / "kept"
            path.rename(case.folder / "seed")
            path.mkdir()
            kept.mkdir()
            done = case.run(
                ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _ON_A_SMALL_DISK,
                 "sh", limit, folder, *plain(*scene.arguments)]
            )  # fmt: skip
            shutil.rmtree(case.folder / "seed")
            path.rmdir()
            kept.rename(path)
            return done

        kind = limit.partition("=")[0]
        where = "the scratch disk" if folder == "tmp" else "the disk"
        what = f"{where} has {'few bytes' if kind == 'size' else 'few files'} left"
        # A framework whose process finds no room has failed.
        codes = (0, 1, REFUSED) if folder == "tmp" else (0, REFUSED)
        yield Fault(what, scene, run, codes, mounts=True)


def contested(scene: Scene, chance: random.Random, *, times: int) -> Iterator[Fault]:
    """Another build of the same name, over the same directory and at the same time."""
    for kill in (False, True):
        for _ in range(times):
            wait, end = chance.uniform(-1, 1), chance.random()
            what = "another build at once" + (", which is killed" if kill else "")
            run = _raced(scene, wait, end if kill else None)
            yield Fault(what, scene, run, (0,), contested=True, may_litter=kill)


def _raced(scene: Scene, wait: float, end: float | None) -> Callable[[Case], Ended]:
    """Waits, and kills the other one, after fractions of the command's length."""

    def run(case: Case) -> Ended:
        commands = [plain(*scene.arguments), plain(*OLD_BUILD, "--force")]
        if wait < 0:
            commands.reverse()
        first = case.start(commands[0])
        time.sleep(abs(wait) * case.seconds)
        second = case.start(commands[1])
        ours, other = (second, first) if wait < 0 else (first, second)
        if end is not None:
            time.sleep(end * case.seconds)
            other.kill()
        done, rival = ended(ours), ended(other)
        return done if end is not None or rival.code == 0 else rival

    return run
