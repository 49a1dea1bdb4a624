"""What is done to a command: by signals, by the system, by the user, and by another command."""

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from mmap import PAGESIZE
from pathlib import Path

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
from disturbances.struck import WRITING, Strike, drop_superuser
from disturbances.wholeness import Tree, hashed

KILLED = 128 + signal.SIGKILL
TERMINATED = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT
OUTGREW = 128 + signal.SIGXFSZ
_CODES = {"SIGKILL": KILLED, "SIGTERM": TERMINATED, "SIGINT": INTERRUPTED}
NO_ROOM = 99
"""The exit code where a disk cannot even hold what is there already."""
LOST = 98
"""The exit code where what was on a volume is there no more."""

PATIENCE, PATIENCE_WITH_ORPHANS = 0.5, 5.0
"""In seconds: a process whose parent was killed notices within one."""

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
    moment: str = ""
    """When or how much, where the description leaves that open."""
    may_be_gone: bool = False
    """Whether only the next run brings the directory back."""
    may_litter: bool = False
    """Whether something may stay until the next run."""
    patience: float = PATIENCE
    """In seconds, how long processes that the command started may outlive it."""
    contested: bool = False
    """Whether another command writes there as well, and may be the last to do so."""
    changes: Callable[[Tree], Tree] = dict
    """What the user does to the directory meanwhile."""
    stays: bool = False
    """Whether what the user does keeps the next run from replacing the directory."""
    mounts: bool = False
    """Whether it needs a file system of its own."""


def _no_texts(_: Case) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Sweep:
    """Faults that differ in nothing but the moment, which is a number."""

    fault: Fault
    """What they all are; its own `run` is the command undisturbed."""
    strike: Strike
    texts: Callable[[Case], tuple[str, ...]] = _no_texts

    def moments(self, rehearsed: Rehearsed, folder: Path) -> list[str]:
        """What the moments of the command are if nothing happens at any."""
        case, scene = rehearsed.open(folder), self.fault.scene
        noted = case.folder / "moments"
        noting = replace(self.strike, do="", folder=str(case.out), moments=str(noted))
        done = run_struck(case, scene, noting)
        assert done.code == scene.code, done.said
        found = noted.read_text().splitlines()
        if self.strike.by == "line":
            met = {moment.removeprefix("line ").partition(":")[0] for moment in found}
            assert met == {*WRITING}, f"no line is met of {', '.join(sorted({*WRITING} - met))}"
        shutil.rmtree(folder)
        return found

    def at(self, moment: int) -> Fault:
        """The fault at this moment; the first is 1."""
        strike = replace(self.strike, at=moment)
        run = _struck(self.fault.scene, strike, self.texts)
        return replace(self.fault, run=run, moment=f"moment {moment}")


def chance(seed: int, what: str, scene: Scene) -> random.Random:
    """What is drawn for one kind of fault, whatever else is inflicted."""
    return random.Random(f"{seed} {what} {scene.name}")


def run_struck(case: Case, scene: Scene, strike: Strike) -> Ended:
    """Quickly where no framework decides how long it takes, and else in a process of its own."""
    if scene in FRAMEWORKS:
        return case.run(strike.command(*scene.arguments))
    return case.quickly(strike, scene.arguments)


def _struck(
    scene: Scene, strike: Strike, texts: Callable[[Case], tuple[str, ...]] = _no_texts
) -> Callable[[Case], Ended]:
    def run(case: Case) -> Ended:
        return run_struck(case, scene, replace(strike, folder=str(case.out), texts=texts(case)))

    return run


def sweeps() -> Iterator[Sweep]:
    """What is done at every moment of a build that starts no framework."""
    for scene in (REPLACED, FIRST, BARE, EDITED):
        yield killed(scene)
    for name in ("SIGINT", "SIGTERM"):
        fault = _during_a_build(f"{name} before each operation", (_CODES[name],))
        yield Sweep(fault, Strike(do=name))
    apart = ", where names cannot be exchanged"
    for where, exchanges in (("", True), (apart, False)):
        fault = _during_a_build(f"SIGINT at each line that writes{where}", (INTERRUPTED,))
        # One may come behind the line that makes something and before the one that sees to its end.
        fault = replace(fault, may_litter=True)
        yield Sweep(fault, Strike(by="line", do="SIGINT", exchanges=exchanges))
    strike = Strike(do="SIGKILL", exchanges=False)
    fault = replace(killed(REPLACED).fault, what=f"SIGKILL before each operation{apart}")
    # Neither name is there between two renames.
    yield Sweep(replace(fault, may_be_gone=True), strike)
    yield from _refused()
    moved = _during_a_build("directory moved away before each operation", (0, REFUSED))
    yield Sweep(moved, Strike(do="move"), lambda case: (str(case.directory), str(case.moved)))
    yield from _meanwhile()


def killed(scene: Scene) -> Sweep:
    """SIGKILL before each operation."""
    strike = Strike(do="SIGKILL")
    fault = Fault("SIGKILL before each operation", scene, _struck(scene, Strike()), (KILLED,))
    # What is killed clears nothing away, and ends none of its processes.
    return Sweep(replace(fault, may_litter=True, patience=PATIENCE_WITH_ORPHANS), strike)


def _during_a_build(what: str, codes: Collection[int]) -> Fault:
    return Fault(what, REPLACED, _struck(REPLACED, Strike()), codes)


def _refused() -> Iterator[Sweep]:
    """What the system refuses."""
    codes = (0, REFUSED)
    full_ = _during_a_build("disk full from each operation on", codes)
    yield Sweep(full_, Strike(do="ENOSPC"))
    # Neither can be removed what is there already.
    fixed = _during_a_build("disk read-only from each operation on", codes)
    yield Sweep(replace(fixed, may_litter=True), Strike(do="EROFS"))
    # The operation may be the one that removes something.
    broken = _during_a_build("input/output error at each operation", codes)
    yield Sweep(replace(broken, may_litter=True), Strike(do="EIO"))


def _meanwhile() -> Iterator[Sweep]:
    """What the user does to files while the build runs."""
    yield _written("the user's new file", "save", "new.txt", "new", becomes="new")
    yield _written("the user's file replaced", "save", "notes.txt", "saved", becomes="saved")
    yield _written("the user's file continued", "append", "notes.txt", " too", becomes="mine too")
    edit = "# mine\n"
    what = "a file of the build edited"
    yield _written(what, "save", "model_torch.py", edit, becomes=edit, stays=True)
    yield _renamed("the user's file deleted", "delete", "notes.txt")
    yield _renamed("the user's file renamed", "move", "notes.txt", "renamed.txt")


def _written(
    what: str, do: str, name: str, text: str, *, becomes: str, stays: bool = False
) -> Sweep:
    """What the user writes; `stays` says whether another build refuses to replace it."""

    def changes(before: Tree) -> Tree:
        return {**before, name: hashed(becomes.encode())}

    fault = _during_a_build(f"{what} before each operation", (0, REFUSED))
    fault = replace(fault, changes=changes, stays=stays)
    return Sweep(fault, Strike(do=do), lambda case: (str(case.directory / name), text))


def _renamed(what: str, do: str, name: str, *names: str) -> Sweep:
    """What has other names afterwards, or none."""

    def changes(before: Tree) -> Tree:
        others = {each: what for each, what in before.items() if each != name}
        return {**others, **dict.fromkeys(names, before[name])}

    fault = _during_a_build(f"{what} before each operation", (0, REFUSED))
    return Sweep(
        replace(fault, changes=changes),
        Strike(do=do),
        lambda case: tuple(str(case.directory / each) for each in (name, *names)),
    )


def at_random(seed: int, *, times: int, slow: int) -> Iterator[Fault]:
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
            what = f"{name} at a random moment"
            drawn = chance(seed, what, scene)
            for _ in range(slow if scene in FRAMEWORKS else times):
                waits = (drawn.random(), *(drawn.uniform(0, 0.1) for _ in numbers[1:]))
                run = _signalled(scene, tuple(zip(waits, numbers, strict=True)))
                moment = f"after {' and '.join(f'{each:.4f}' for each in waits)} of its length"
                fault = Fault(what, scene, run, codes, moment)
                if name in ("SIGKILL", "SIGINT twice"):
                    # What is killed, or interrupted while it clears away, leaves the rest.
                    fault = replace(fault, may_litter=True, patience=PATIENCE_WITH_ORPHANS)
                yield fault


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


def outgrown(scene: Scene, seed: int, *, times: int) -> Iterator[Fault]:
    """Files that may not become as large as they are to be."""
    for what, dies in (("a file's size limited", False), ("killed in the middle of a file", True)):
        drawn = chance(seed, what, scene)
        for _ in range(times):
            part = drawn.random()
            run, code = _outgrown(scene, part, dies=dies), OUTGREW if dies else REFUSED
            moment = f"at {part:.4f} of the largest file"
            yield Fault(what, scene, run, (code,), moment, may_litter=dies)


_SAID = 1024
"""In bytes, what the file may take that stderr goes to: it is limited as well."""


def _outgrown(scene: Scene, part: float, *, dies: bool) -> Callable[[Case], Ended]:
    """Limits files to this part of the largest one."""

    def run(case: Case) -> Ended:
        limit = _SAID + int(part * (case.largest - _SAID))
        strike = Strike(largest_file=limit, dies_of_it=dies)
        return run_struck(case, scene, strike)

    return run


def read_only(scene: Scene) -> Iterator[Fault]:
    """Folders whose permissions refuse writing, to the superuser as well."""
    for what, folder, codes in (
        ("the folder around it is read-only", "out", (REFUSED,)),
        ("the directory is read-only", f"out/{NAME}", (0, REFUSED)),
        ("the user's folder in it is read-only", f"out/{NAME}/runs", (0, REFUSED)),
    ):
        yield Fault(what, scene, _read_only(scene, folder), codes)


def _read_only(scene: Scene, folder: str) -> Callable[[Case], Ended]:
    def run(case: Case) -> Ended:
        path = case.folder / folder
        mode = path.stat().st_mode
        path.chmod(0o555)
        try:
            return case.run(plain(*scene.arguments), preexec_fn=drop_superuser)
        finally:
            if path.exists():
                path.chmod(mode)

    return run


_WITH_OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Whether this system lets anybody have a file system of one's own."""
    trial = [*_WITH_OWN_MOUNTS, "mount", "-t", "tmpfs", "none",
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


def full(
    scene: Scene, *, folder: str, files: Iterable[int], kibibytes: Iterable[int]
) -> Iterator[Fault]:
    """Runs the command with a folder on a disk that has room for so many more, or so much more."""
    where = "the scratch disk" if folder == "tmp" else "the disk"
    # A framework whose process finds no room has failed.
    codes = (0, 1, REFUSED) if folder == "tmp" else (0, REFUSED)
    for count in files:
        run = _full(scene, folder, _room_for_files(count))
        moment = f"room for {count}"
        yield Fault(f"{where} has few files left", scene, run, codes, moment, mounts=True)
    for count in kibibytes:
        run = _full(scene, folder, _room_for_kibibytes(count))
        moment = f"room for {count} KiB"
        yield Fault(f"{where} has few bytes left", scene, run, codes, moment, mounts=True)


def _room_for_files(more: int) -> Callable[[Path], str]:
    """An option of a tmpfs that is to hold a folder."""
    # The root of a file system is a file as well.
    return lambda folder: f"nr_inodes={1 + len(list(folder.rglob('*'))) + more}"


def _room_for_kibibytes(more: int) -> Callable[[Path], str]:
    def option(folder: Path) -> str:
        sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()]
        return f"size={sum(map(_whole_pages, sizes)) + more * 1024}"

    return option


def _whole_pages(size: int) -> int:
    return -(-size // PAGESIZE) * PAGESIZE


def _full(scene: Scene, folder: str, option: Callable[[Path], str]) -> Callable[[Case], Ended]:
    def run(case: Case) -> Ended:
        path, kept = case.folder / folder, case.folder / "kept"
        limit = option(path)
        path.rename(case.folder / "seed")
        path.mkdir()
        kept.mkdir()
        done = case.run(
            [*_WITH_OWN_MOUNTS, "sh", "-c", _ON_A_SMALL_DISK,
             "sh", limit, folder, *plain(*scene.arguments)]
        )  # fmt: skip
        shutil.rmtree(case.folder / "seed")
        path.rmdir()
        kept.rename(path)
        return done

    return run


_AROUND_A_VOLUME = f"""
mount $1 "$2/runs" && echo kept > "$2/runs/kept" || exit {NO_ROOM}
folder=$2; shift 2
"$@"; code=$?
grep -qx kept "$folder/runs/kept" || exit {LOST}
exit $code
"""


def mounted(scene: Scene) -> Iterator[Fault]:
    """Runs the command with a volume mounted in the directory, of another disk or the same."""
    for options in ("-t tmpfs none", "--bind volume"):
        run = _around(scene, options)
        yield Fault("a volume in the directory", scene, run, (REFUSED,), options, mounts=True)


def _around(scene: Scene, options: str) -> Callable[[Case], Ended]:
    def run(case: Case) -> Ended:
        volume = case.folder / "volume"
        volume.mkdir()
        done = case.run(
            [*_WITH_OWN_MOUNTS, "sh", "-c", _AROUND_A_VOLUME,
             "sh", options, str(case.directory), *plain(*scene.arguments)]
        )  # fmt: skip
        shutil.rmtree(volume)
        return done

    return run


def contested(scene: Scene, seed: int, *, times: int) -> Iterator[Fault]:
    """Another build of the same name, over the same directory and at the same time."""
    for kill in (False, True):
        what = "another build at once" + (", which is killed" if kill else "")
        drawn = chance(seed, what, scene)
        for _ in range(times):
            wait, end = drawn.uniform(-1, 1), drawn.random()
            run = _raced(scene, wait, end if kill else None)
            moment = f"{wait:.4f} of its length later, killed after {end:.4f}"
            yield Fault(what, scene, run, (0,), moment, contested=True, may_litter=kill)


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
