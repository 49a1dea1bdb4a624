"""Breaks commands off: `python tests/reliability.py [--seed N] [--times N] [--write]`.

Has `build`, `verify` and `convert` killed, interrupted, refused by the system, and disturbed by the
user and by each other. `build --no-verify` is struck before each operation on a file and at each
line that writes; what starts frameworks, and so takes seconds, at moments drawn at random. Looks at
what is there afterwards, runs the command again, and looks once more. Fails where a directory is
neither the old one nor the new one, where something of the user's is gone, where litter outlives
the next run, where a process goes on, or where the exit code is wrong.
"""

import argparse
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from disturbances.faults import (
    FRAMEWORKS,
    INTERRUPTED,
    KILLED,
    PATIENCE,
    Fault,
    at_random,
    can_mount,
    chance,
    contested,
    full,
    killed,
    mounted,
    outgrown,
    read_only,
    run_struck,
    sweeps,
)
from disturbances.scenes import (
    PROVEN,
    REFUSED,
    REPLACED,
    VERIFIED,
    Case,
    Ended,
    Rehearsed,
    Scene,
    rehearse,
)
from disturbances.specs import NAME, SPECS
from disturbances.struck import ROOT, Strike
from disturbances.wholeness import (
    Wanted,
    litter,
    manifest_flaws,
    processes_of,
    temporary,
    tree,
)
from versions import versions

from resnetgen.diagnostics import DiagnosticError
from resnetgen.pipeline import findings
from resnetgen.verify.cores import cores

SEED = 0
TIMES = 20
RESULTS = Path(__file__).parent.parent / "docs" / "results" / "reliability.md"
_PACKAGE = str(ROOT / "resnetgen")
_SWALLOWS = "_get_module_lock"
"""The callback of importlib in which an exception goes no further than stderr."""
_UNREADY = ("Fatal Python error: init_import_site", "Could not import runpy module")
"""What Python says when it is interrupted before it can run anything."""
_KNOWN = {*SPECS, "out", "tmp", "moved", "moments", "checkpoint.safetensors"}
"""What lies in a case's folder and is no litter."""


@dataclass
class Outcome:
    """What came of a fault."""

    fault: Fault
    code: int
    state: str = ""
    left: Collection[str] = ()
    """The kinds of litter that stayed until the next run."""
    findings: list[str] = field(default_factory=list[str])


def inflict(fault: Fault, rehearsed: Rehearsed, folder: Path) -> Outcome:
    """Does it, looks at what is there, runs the command again, and looks once more."""
    case = rehearsed.open(folder)
    done = fault.run(case)
    wanted = wanted_after(fault, rehearsed)
    outcome = Outcome(fault, done.code)
    outcome.findings += wrong_words(done, fault.codes)
    outcome.findings += _orphans(case, patience=fault.patience)
    outcome.state, wrong = _state(case, wanted, fault)
    outcome.findings += wrong
    if done.code == 0 and outcome.state != "new" and not (fault.contested or case.moved.exists()):
        outcome.findings.append(f"exit code 0, and the directory is {outcome.state}")
    outcome.left = _litter(case)
    if outcome.left and not fault.may_litter:
        outcome.findings.append(f"left behind: {', '.join(outcome.left)}")
    outcome.findings += (f"after the next run: {each}" for each in _run_again(case, wanted, fault))
    shutil.rmtree(folder)
    return outcome


def wanted_after(fault: Fault, rehearsed: Rehearsed) -> Wanted:
    """What has to be there after a fault."""
    old, new = (None if each is None else fault.changes(each) for each in rehearsed.trees)
    undisturbed = rehearsed.new or {}
    written = {name for name, what in (new or {}).items() if undisturbed.get(name) != what}
    return Wanted(old, new, {*fault.scene.own, *written}, may_be_unproven=fault.scene.builds)


def wrong_words(done: Ended, codes: Collection[int]) -> Iterator[str]:
    last = " / ".join(done.said.strip().splitlines()[-3:])
    if INTERRUPTED in codes and _never_began(done):
        return
    if done.code not in codes:
        yield f"exit code {done.code}: {last}"
    # A process that Python is still starting says so itself when the one that starts it is killed,
    # and so does what swallows an interrupt in one of Python's own imports.
    is_pythons = _PACKAGE not in done.said and (
        done.code == KILLED or f"Exception ignored in: <function {_SWALLOWS}" in done.said
    )
    if not is_pythons and ("Traceback" in done.said or "Exception ignored" in done.said):
        yield f"a traceback: {last}"
    if done.code == REFUSED and "error: " not in done.said:
        yield f"no word of what is wrong: {last}"


def _never_began(done: Ended) -> bool:
    """Whether Python was interrupted before it came to what it was to run, and said so itself."""
    # Where `__main__` imports what it hears of interrupts by, it does not hear of any yet.
    main = re.escape(f"{_PACKAGE}/__main__.py")
    importing = re.findall(rf'{main}", line \d+, in <module>', done.said)
    if done.said.count(_PACKAGE) > len(importing):
        return False
    if not done.said.rstrip().endswith("\nKeyboardInterrupt"):
        return False
    unready = any(words in done.said for words in _UNREADY)
    return done.code == (1 if unready else INTERRUPTED)


def _orphans(case: Case, *, patience: float) -> Iterator[str]:
    """Says that processes go on, and ends them."""
    deadline = time.monotonic() + patience
    while living := processes_of(case.scratch):
        if time.monotonic() > deadline:
            yield f"processes that go on: {len(living)}"
            for process in living:
                # It may end by itself at last.
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return
        time.sleep(0.05)


def _state(case: Case, wanted: Wanted, fault: Fault) -> tuple[str, list[str]]:
    """What the directory is, and what is wrong with that."""
    state, wrong = wanted.state(case.directory)
    if case.moved.exists():
        if state == "broken":
            # Made anew where nothing was any more.
            state, wrong = wanted.without_own().state(case.directory)
        wrong += (f"moved away: {each}" for each in wanted.state(case.moved)[1])
    elif fault.may_be_gone and not case.directory.exists():
        return "none", []
    return state, wrong + _manifest_flaws(case, wanted, fault)


def _manifest_flaws(case: Case, wanted: Wanted, fault: Fault) -> list[str]:
    if not fault.scene.has_manifest or not case.out.exists():
        return []
    return [
        f"{directory.name}: {flaw}"
        for directory in case.out.iterdir()
        if not directory.name.startswith(".")
        for flaw in manifest_flaws(directory, own=wanted.own)
    ]


def _litter(case: Case) -> list[str]:
    """The kinds of files and folders that no command should leave."""
    names = [
        *litter(case.folder, expected=_KNOWN),
        *litter(case.out, expected={NAME, "other"}),
        *litter(case.scratch, expected=()),
        *temporary(case.directory),
    ]
    return sorted({re.sub(r"(?<=[-.])[0-9a-f]{8}(-\w{8})?$", "…", name) for name in names})


def _run_again(case: Case, wanted: Wanted, fault: Fault) -> Iterator[str]:
    """What is wrong after the command ran again, which nothing disturbed."""
    scene = fault.scene
    refuses = scene.refuses or fault.stays
    before = tree(case.directory)
    done = run_struck(case, scene, Strike())
    yield from wrong_words(done, (REFUSED if refuses else 0,))
    yield from _orphans(case, patience=PATIENCE)
    if refuses:
        if tree(case.directory) != before:
            yield "what had to stay was changed"
    else:
        state, wrong = _state(case, wanted, fault)
        yield from wrong
        if state != "new":
            yield f"the directory is {state}"
        if scene.has_manifest:
            yield from _not_current(case.directory)
    if left := _litter(case):
        yield f"left behind: {', '.join(left)}"


def _not_current(directory: Path) -> Iterator[str]:
    """What `build --check` says."""
    try:
        found = findings(directory, None)
    except DiagnosticError as error:
        yield str(error)
        return
    yield from (f"{each.name} {each.state}" for each in found)


@dataclass(frozen=True)
class Row:
    """The outcomes of faults that are of one kind."""

    what: str
    scene: str
    outcomes: Sequence[Outcome]

    @property
    def findings(self) -> list[str]:
        return [each for outcome in self.outcomes for each in outcome.findings]

    def cells(self) -> tuple[str, ...]:
        codes = Counter(outcome.code for outcome in self.outcomes)
        states = Counter(outcome.state for outcome in self.outcomes)
        left = Counter(kind for outcome in self.outcomes for kind in outcome.left)
        return (
            self.what,
            self.scene,
            str(len(self.outcomes)),
            _counted(codes),
            _counted(states),
            _counted({f"`{kind}`": count for kind, count in left.items()}) or "nothing",
            str(len(self.findings)),
        )


def _counted(counts: Mapping[object, int] | Counter[int] | Counter[str]) -> str:
    ordered = sorted(counts.items(), key=lambda item: str(item[0]))
    return ", ".join(f"{what} ({count})" for what, count in ordered)


def rows(outcomes: Iterable[Outcome]) -> list[Row]:
    """The outcomes by what was done to which command, in the order in which that began."""
    kinds: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        fault = outcome.fault
        kinds.setdefault((fault.what, f"{fault.scene.command}, {fault.scene.name}"), []).append(
            outcome
        )
    return [Row(*kind, found) for kind, found in kinds.items()]


def table(found: Iterable[Row]) -> str:
    head = ("what was done", "to", "times", "exit codes", "the directory afterwards",
            "left until the next run", "findings")  # fmt: skip
    lines = [head, tuple("---" for _ in head), *(row.cells() for row in found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary(found: Sequence[Row], not_run: Sequence[str]) -> str:
    times = sum(len(row.outcomes) for row in found)
    wrong = sum(len(row.findings) for row in found)
    skipped = f" Not run here: {'; '.join(not_run)}." if not_run else ""
    kinds = len({row.what for row in found})
    return f"Faults: {times}. Kinds: {kinds}. Findings: {wrong}.{skipped}"


def document(found: Sequence[Row], not_run: Sequence[str], *, command: str, seed: int) -> str:
    """All of it as a page, with what is needed to find it again."""
    return (
        "# Faults\n\n"
        "Commands were broken off, refused and disturbed, and what was there afterwards was "
        f"compared with what had been there and with what was to be. `{command}` does this again "
        "and writes it.\n\n"
        f"{summary(found, not_run)}\n\n"
        "After each fault the directory has to be the old one or the new one, file for file, with "
        "the user's files in it, and to be what its manifest says; no process may go on; and the "
        "exit code has to be true. Then the command runs again, and has to end well, leave nothing "
        "beside the directory or in the scratch folder, and satisfy `build --check`. A new "
        "directory is *unproven* until a build has verified it; a verification leaves the old "
        "certificate or the new one. Exit codes are a "
        "shell's: 137 is SIGKILL, 153 SIGXFSZ. Only a SIGKILL between two renames, where a system "
        "cannot exchange two names, leaves no directory, and the next run brings it back. A Python "
        "that is interrupted before it comes to resnetgen says so itself, with exit code 1 if it "
        "has not started yet.\n\n"
        f"{table(found)}\n\n"
        f"{versions('onnx', 'onnxruntime')}, {platform.system()}; seed {seed}.\n"
    )


def faults(
    rehearsed: Callable[[Scene], Rehearsed],
    folder: Path,
    *,
    seed: int,
    times: int,
    every: int,
    only: str,
    verifies: bool,
) -> Iterator[Fault]:
    """All that is done, in the order of the table; `only` is in the words for it."""
    for sweep in (*sweeps(), *map(killed, FRAMEWORKS)):
        scene = sweep.fault.scene
        if only in sweep.fault.what and (verifies or scene not in FRAMEWORKS):
            moments = sweep.moments(rehearsed(scene), folder / "moments")
            count = len(moments)
            drawn = chance(seed, sweep.fault.what, scene).sample(range(count), min(count, times))
            due = sorted(drawn) if scene in FRAMEWORKS else range(0, count, every)
            for number in due:
                fault = sweep.at(number + 1)
                yield replace(fault, moment=f"{fault.moment}, {moments[number]}")
    further = [
        *at_random(seed, times=times, slow=max(1, times // 4)),
        *outgrown(REPLACED, seed, times=times),
        *read_only(REPLACED),
        *contested(REPLACED, seed, times=times),
        *mounted(REPLACED),
        *full(REPLACED, folder="out", files=range(22), kibibytes=range(0, 44, 4)),
        *full(PROVEN, folder="tmp", files=range(1, 11, 4), kibibytes=range(4, 80, 30)),
        *full(VERIFIED, folder="tmp", files=range(1, 11, 4), kibibytes=range(4, 80, 30)),
    ]
    for fault in further:
        if only in fault.what and (verifies or fault.scene not in FRAMEWORKS):
            yield fault


def run(
    wanted: Iterable[Fault], rehearsed: Callable[[Scene], Rehearsed], folder: Path
) -> Iterator[Outcome]:
    """Inflicts the faults, as many at a time as there are cores, and says what comes of them."""

    def each(numbered: tuple[int, Fault]) -> Outcome:
        number, fault = numbered
        return inflict(fault, rehearsed(fault.scene), folder / str(number))

    with ThreadPoolExecutor(max_workers=cores()) as pool:
        for outcome in pool.map(each, enumerate(wanted)):
            for finding in outcome.findings:
                fault = outcome.fault
                when = f"{fault.what}, {fault.moment}" if fault.moment else fault.what
                print(f"{when} ({fault.scene.name}): {finding}", flush=True)
            yield outcome


def main() -> int:
    """Runs what is asked for; 1 where there are findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--times", type=int, default=TIMES, help="faults of each random kind")
    parser.add_argument("--every", type=int, default=1, help="of so many moments, take one")
    parser.add_argument("--only", default="", help="only what has this in its description")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("--write is for all kinds of faults")
    not_run: list[str] = []
    if not (mounts := can_mount()):
        not_run.append("full disks, since no file system can be mounted")
    if not (verifies := find_spec("onnxruntime") is not None):
        not_run.append("all that verifies, since ONNX Runtime is not installed")
    if not Path("/proc/self/environ").exists():
        not_run.append("the search for processes that go on, which needs /proc")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()

        @cache
        def rehearsed(scene: Scene) -> Rehearsed:
            return rehearse(scene, folder / scene.name)

        due = faults(
            rehearsed,
            folder,
            seed=arguments.seed,
            times=arguments.times,
            every=arguments.every,
            only=arguments.only,
            verifies=verifies,
        )
        wanted = [each for each in due if mounts or not each.mounts]
        if not wanted:
            parser.error(f"no fault that can be inflicted here has {arguments.only!r} in its words")
        for scene in {each.scene: None for each in wanted}:
            rehearsed(scene)
        found = rows(run(wanted, rehearsed, folder))
    print(table(found))
    print(summary(found, not_run))
    if arguments.write:
        command = " ".join(("python tests/reliability.py", *sys.argv[1:]))
        RESULTS.write_text(document(found, not_run, command=command, seed=arguments.seed))
    return 1 if any(row.findings for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
