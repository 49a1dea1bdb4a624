"""A few of the faults that `make reliability` inflicts, and that its checks see what is wrong."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from disturbances.faults import (
    INTERRUPTED,
    KILLED,
    Fault,
    Sweep,
    can_mount,
    full,
    mounted,
    read_only,
    sweeps,
)
from disturbances.scenes import REPLACED, Case, Ended, Rehearsed, plain, rehearse
from disturbances.specs import SPECS
from disturbances.struck import ROOT, WRITING
from disturbances.wholeness import Wanted, hashed, processes_of, tree
from reliability import document, inflict, main, rows, summary, wrong_words

TRACEBACK = f'Traceback (most recent call last):\n  File "{ROOT}/resnetgen/__main__.py"'

PYTHONS_OWN = 'Traceback (most recent call last):\n  File "<frozen runpy>", line 1\n{}'

SWALLOWED = "Exception ignored in: <function _get_module_lock.<locals>.cb at 0x7f0000000000>\n"


@pytest.fixture(scope="module")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> Rehearsed:
    return rehearse(REPLACED, tmp_path_factory.mktemp("rehearsal").resolve())


def disturbed(
    damage: Callable[[Case], object],
    *,
    code: int = KILLED,
    said: str = "",
    codes: Collection[int] = (KILLED, 0),
) -> Fault:
    """A fault after which something is wrong that no fault of a command ever leaves."""

    def run(case: Case) -> Ended:
        damage(case)
        return Ended(code, said)

    return Fault("damage", REPLACED, run, codes, may_litter=True)


def _is_old_and_new(case: Case) -> None:
    """A file of another build among the old ones."""
    (case.directory / "model_torch.py").write_text("new")


def _goes_on(case: Case) -> None:
    environment = {**os.environ, "TMPDIR": str(case.scratch / "below")}
    subprocess.run(["sh", "-c", "sleep 60 > /dev/null &"], env=environment, check=True)
    # What the shell started shows no environment while it becomes `sleep`.
    while not processes_of(case.scratch):
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lambda case: (case.directory / "README.md").unlink(), "README.md is missing"),
        (lambda case: shutil.rmtree(case.directory), "the directory is gone"),
        (_is_old_and_new, "model_torch.py is neither old nor new"),
        (_is_old_and_new, "small: model_torch.py is not what the manifest says"),
        (lambda case: (case.directory / "model_flax.py").touch(), "small: model_flax.py is not"),
        (
            lambda case: (case.directory / "notes.txt").unlink(),
            "notes.txt, which is the user's, is lost",
        ),
        (
            lambda case: (case.directory / "runs" / "log").write_text(""),
            "runs/log, which is the user's, is changed",
        ),
        (lambda case: (case.out / "litter").touch(), "after the next run: left behind: litter"),
        (lambda case: (case.scratch / "litter").touch(), "after the next run: left behind: litter"),
        (_goes_on, "processes that go on: 1"),
    ],
)
def test_what_is_wrong_is_found(
    damage: Callable[[Case], object], finding: str, replaced: Rehearsed, tmp_path: Path
) -> None:
    found = inflict(disturbed(damage), replaced, tmp_path.resolve() / "case").findings
    assert any(each.startswith(finding) for each in found), found


@pytest.mark.parametrize(
    ("code", "said", "finding"),
    [
        (1, "", "exit code 1: "),
        (0, "", "exit code 0, and the directory is old"),
        (KILLED, TRACEBACK, "a traceback: Traceback"),
        (INTERRUPTED, PYTHONS_OWN.format("KeyboardInterrupt"), "a traceback: Traceback"),
    ],
)
def test_an_exit_that_says_something_else_is_found(
    code: int, said: str, finding: str, replaced: Rehearsed, tmp_path: Path
) -> None:
    fault = disturbed(lambda _: None, code=code, said=said)
    outcome = inflict(fault, replaced, tmp_path.resolve() / "case")
    assert outcome.state == "old"
    assert [each for each in outcome.findings if each.startswith(finding)]
    (row,) = found = rows([outcome])
    assert row.cells()[:3] == ("damage", "build, over an older build", "1")
    assert summary(found, []).startswith("Faults: 1. Kinds: 1. Findings: ")
    assert "Not run here: a." in document(found, ["a"], command="", seed=0)


@pytest.mark.parametrize(
    ("code", "said", "findings"),
    [
        (INTERRUPTED, PYTHONS_OWN.format("KeyboardInterrupt"), []),
        (1, f"Fatal Python error: init_import_site\n{PYTHONS_OWN.format('KeyboardInterrupt')}", []),
        (1, f"Could not import runpy module\n{PYTHONS_OWN.format('KeyboardInterrupt')}", []),
        (INTERRUPTED, f"{SWALLOWED}{PYTHONS_OWN.format('KeyboardInterrupt: ')}", []),
        (INTERRUPTED, f"{SWALLOWED}{TRACEBACK}\nKeyboardInterrupt: ", ["a traceback"]),
        (1, PYTHONS_OWN.format("KeyboardInterrupt"), ["exit code 1", "a traceback"]),
        (0, PYTHONS_OWN.format("KeyboardInterrupt"), ["exit code 0", "a traceback"]),
        (INTERRUPTED, PYTHONS_OWN.format("ImportError: no module"), ["a traceback"]),
        (INTERRUPTED, f"{TRACEBACK}\nKeyboardInterrupt", ["a traceback"]),
    ],
)
def test_only_an_interrupt_may_keep_python_from_coming_to_resnetgen(
    code: int, said: str, findings: list[str]
) -> None:
    found = wrong_words(Ended(code, said), (INTERRUPTED,))
    assert [each.partition(":")[0] for each in found] == findings


def test_only_what_python_starts_for_a_killed_command_may_be_traced_back() -> None:
    ran_out = PYTHONS_OWN.format("EOFError: Ran out of input")
    assert list(wrong_words(Ended(KILLED, ran_out), (KILLED,))) == []
    for done in (Ended(KILLED, TRACEBACK), Ended(0, ran_out)):
        (finding,) = wrong_words(done, (KILLED, 0))
        assert finding.startswith("a traceback: ")


def test_old_and_new_files_together_are_neither() -> None:
    wanted = Wanted({"a": "1", "b": "1", "mine": "x"}, {"a": "2", "c": "2", "mine": "x"}, {"mine"})

    def state(**files: str) -> tuple[str, list[str]]:
        return wanted.judged(files or None)

    assert state(a="1", b="1", mine="x") == ("old", [])
    assert state(a="2", c="2", mine="x") == ("new", [])
    assert state(a="2", b="1", mine="x") == (
        "broken", ["a is new", "b is old", "c is missing"],
    )  # fmt: skip
    assert state() == ("broken", ["the directory is gone"])


@pytest.mark.parametrize(
    ("certificate", "is_built", "state"),
    [
        ("another", True, "new"),
        ("an older", True, "broken"),
        (None, True, "unproven"),
        (None, False, "broken"),
    ],
)
def test_certificate_may_be_missing_behind_a_build_alone(
    certificate: str | None, is_built: bool, state: str, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text("card")
    new = {**(tree(tmp_path) or {}), "certificate.json": hashed(b"another")}
    if certificate is not None:
        (tmp_path / "certificate.json").write_text(certificate)
    assert Wanted({}, new, may_be_unproven=is_built).state(tmp_path)[0] == state


def test_moments_that_matter_leave_the_old_directory_or_the_new_one(
    replaced: Rehearsed, tmp_path: Path
) -> None:
    """Each kind of fault right before the two directories are exchanged, and right behind that."""
    folder = tmp_path.resolve()
    found: list[str] = []
    noted: dict[bool, list[str]] = {}
    for number, sweep in enumerate(sweeps()):
        if sweep.fault.scene != REPLACED or sweep.strike.by != "operation":
            continue
        # What the user does later is done to the new directory, as to any other.
        users = sweep.strike.do in ("save", "append", "delete", "move")
        if sweep.strike.exchanges not in noted:
            noted[sweep.strike.exchanges] = sweep.moments(replaced, folder / "moments")
        first = _of_the_exchange(noted[sweep.strike.exchanges])
        for moment in (first,) if users else (first, first + 1):
            outcome = inflict(sweep.at(moment), replaced, folder / f"{number}-{moment}")
            found += (f"{sweep.fault.what}, {moment}: {each}" for each in outcome.findings)
    assert found == []


def by_line() -> Sweep:
    return next(sweep for sweep in sweeps() if sweep.strike.by == "line")


def test_lines_are_met_of_every_module_that_writes(replaced: Rehearsed, tmp_path: Path) -> None:
    assert by_line().moments(replaced, tmp_path.resolve() / "case")


def test_module_that_writes_and_is_not_met_is_noticed(
    replaced: Rehearsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("disturbances.faults.WRITING", (*WRITING, "emit/renamed.py"))
    with pytest.raises(AssertionError, match=r"no line is met of emit/renamed\.py"):
        by_line().moments(replaced, tmp_path.resolve() / "case")


def test_table_of_some_faults_is_not_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["reliability.py", "--write", "--only", "SIGKILL"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--write is for all kinds of faults" in capsys.readouterr().err


def _of_the_exchange(moments: list[str]) -> int:
    """The moment before it, or before the first of the two renames in its place."""
    what = ("the exchange", "os.rename")
    return next(at for at, moment in enumerate(moments, 1) if moment.startswith(what))


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
def test_full_disk_keeps_the_old_directory(replaced: Rehearsed, tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    # Less than one page for each new file, of which there are more than two.
    for number, fault in enumerate(full(REPLACED, folder="out", files=[2], kibibytes=[8])):
        outcome = inflict(fault, replaced, folder / str(number))
        assert (outcome.code, outcome.state, outcome.findings) == (2, "old", [])


@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
def test_volume_in_the_directory_keeps_what_is_on_it(replaced: Rehearsed, tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    for number, fault in enumerate(mounted(REPLACED)):
        outcome = inflict(fault, replaced, folder / str(number))
        assert (outcome.code, outcome.state, outcome.findings) == (2, "old", [])


def test_read_only_folders_leave_no_litter(replaced: Rehearsed, tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    outcomes = [
        inflict(fault, replaced, folder / str(number))
        for number, fault in enumerate(read_only(REPLACED))
    ]
    assert [each.findings for each in outcomes] == [[], [], []]
    assert [(each.code, each.state) for each in outcomes] == [(2, "old"), (0, "new"), (0, "new")]


@pytest.mark.frameworks
def test_verifications_end_with_the_build_that_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    case = Case(tmp_path.resolve())
    case.scratch.mkdir()
    for name, text in SPECS.items():
        (case.folder / name).write_text(text)
    command = plain("build", "new.yaml", "other.yaml", "--target", "torch", "--jobs", "2")
    process = case.start(command)
    while not list(case.scratch.glob("*/*/torch/*/log.txt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    assert process.communicate()[1] == ""
    deadline = time.monotonic() + 20
    while processes_of(case.scratch):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(case.scratch.iterdir()) == []


LATE_CHILD = """
import sys, time
from resnetgen.child.framework import end_with
sys.stdin.read()
end_with(int(sys.argv[1]))
time.sleep(3600)
"""
SHORT_PARENT = f"""
import os, subprocess, sys
command = [sys.executable, "-c", {LATE_CHILD!r}, str(os.getpid())]
print(subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True).pid)
"""


def test_child_ends_also_where_its_parent_has_before_it_looked() -> None:
    """It starts to look when nobody holds the other end of its stdin: the parent is gone then."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc")
    read, write = os.pipe()
    parent = subprocess.run(
        [sys.executable, "-c", SHORT_PARENT], stdin=read, stdout=subprocess.PIPE, check=True
    )
    os.close(read)
    child = int(parent.stdout)
    os.kill(child, 0)
    os.close(write)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)
