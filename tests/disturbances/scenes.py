"""What is there before a command is disturbed: specs, older files, and files of the user's."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any

from disturbances.specs import NAME, SPECS
from disturbances.struck import ROOT, Strike
from disturbances.wholeness import Tree, tree

REFUSED = 2
NO_END = 124
"""The exit code of a command that had to be ended."""
_IMPORTS = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
_PATIENCE = 120.0
"""In seconds, how long a command may take; more is a finding."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: the exit code as a shell sees it, and what it said on stderr."""

    code: int
    said: str


@dataclass(frozen=True)
class Case:
    """A folder with specs, in which a command puts its output into `out`.

    If nothing disturbs it, the command takes so many `seconds`, and its largest file so many bytes.
    """

    folder: Path
    seconds: float = 0.0
    largest: int = 0

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def directory(self) -> Path:
        return self.out / NAME

    @property
    def moved(self) -> Path:
        """Where the user moves the directory to."""
        return self.folder / "moved"

    @property
    def scratch(self) -> Path:
        """TMPDIR."""
        return self.folder / "tmp"

    @cached_property
    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "TMPDIR": str(self.scratch),
            "PYTHONPATH": _IMPORTS,
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }

    def start(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, command: Sequence[str], **options: Any) -> Ended:
        return ended(self.start(command, **options))

    def quickly(self, strike: Strike, arguments: Sequence[str]) -> Ended:
        """Runs resnetgen with these arguments and a strike, in a process that is ready for it."""
        said = self.folder / "said"
        request = {
            "folder": str(self.folder),
            "environment": dict(self.environment),
            "said": str(said),
            "patience": int(_PATIENCE),
            "strike": asdict(strike),
            "arguments": list(arguments),
        }
        server = _idle_server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        _IDLE.put(server)
        ended_ = Ended(as_shells_do(code), said.read_text())
        said.unlink()
        return ended_


def ended(process: "subprocess.Popen[str]") -> Ended:
    """Waits for the process's end."""
    try:
        _, said = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
        return Ended(NO_END, said)
    return Ended(as_shells_do(process.returncode), said)


def as_shells_do(code: int) -> int:
    """An exit code; for a signal, which is a negative one, 128 and its number."""
    return 128 - code if code < 0 else code


_IDLE: "SimpleQueue[subprocess.Popen[str]]" = SimpleQueue()


def _idle_server() -> "subprocess.Popen[str]":
    """A server that runs one thing at a time, and ends with this process."""
    try:
        return _IDLE.get_nowait()
    except Empty:
        return subprocess.Popen(
            [sys.executable, "-m", "disturbances.struck", "--serve"],
            env={**os.environ, "PYTHONPATH": _IMPORTS, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def plain(*arguments: object) -> list[str]:
    """The command line as a person starts it."""
    return [sys.executable, "-m", "resnetgen", *map(str, arguments)]


@dataclass(frozen=True)
class Scene:
    """A command, and what `prepare` puts there for it."""

    name: str
    arguments: tuple[str, ...]
    prepare: Callable[[Case], object]
    own: tuple[str, ...] = ()
    """What of the directory is the user's."""
    refuses: bool = False
    """Whether the command has to leave all as it is."""
    has_manifest: bool = True

    @property
    def command(self) -> str:
        return self.arguments[0]

    @property
    def builds(self) -> bool:
        return self.command == "build"

    @property
    def code(self) -> int:
        """How the command ends if nothing disturbs it."""
        return REFUSED if self.refuses else 0


@dataclass(frozen=True)
class Rehearsed:
    """What a scene comes to when nothing disturbs it."""

    scene: Scene
    template: Path
    old: Tree | None
    new: Tree | None
    seconds: float
    largest: int
    """The size of the largest file that is written, in bytes."""

    @property
    def trees(self) -> tuple[Tree | None, Tree | None]:
        """The directory before and after."""
        return self.old, self.new

    def open(self, folder: Path) -> Case:
        """A copy of what the scene begins with."""
        shutil.copytree(self.template, folder, symlinks=True)
        return Case(folder, self.seconds, self.largest)


def rehearse(scene: Scene, folder: Path) -> Rehearsed:
    """Prepares the scene below the folder, and runs its command three times."""
    before = Case(folder / "before")
    before.scratch.mkdir(parents=True)
    for name, text in SPECS.items():
        (before.folder / name).write_text(text)
    scene.prepare(before)
    seconds: list[float] = []
    after = before
    for number in range(3):
        after = Case(folder / f"after{number}")
        shutil.copytree(before.folder, after.folder, symlinks=True)
        start = time.monotonic()
        done = after.run(plain(*scene.arguments))
        seconds.append(time.monotonic() - start)
        assert done.code == scene.code, done.said
    old, new = tree(before.directory), tree(after.directory)
    assert (old == new) == scene.refuses
    largest = max(path.stat().st_size for path in after.directory.iterdir() if path.is_file())
    return Rehearsed(scene, before.folder, old, new, median(seconds), largest)


def _build(*arguments: str, targets: str = "torch,flax") -> tuple[str, ...]:
    return ("build", "new.yaml", "-o", "out", "--target", targets, *arguments)


def _nothing(_: Case) -> None:
    """Only the specs are there."""


def _older(*arguments: str) -> Callable[[Case], None]:
    """An older build of another spec, with files of the user's among its own."""

    def prepare(case: Case) -> None:
        made = case.run([*plain(*OLD_BUILD), *arguments])
        assert made.code == 0, made.said
        (case.directory / "notes.txt").write_text("mine")
        (case.directory / "runs").mkdir(mode=0o700)
        (case.directory / "runs" / "log").write_text("mine too")
        (case.directory / "link").symlink_to("nowhere")

    return prepare


def _edited(case: Case) -> None:
    """An older build in which the user went on with one of the files."""
    _older()(case)
    with (case.directory / "model_torch.py").open("a") as file:
        file.write("# mine\n")


def _certified(case: Case) -> None:
    """A build with a certificate of another level."""
    for command in (
        _build("--no-verify", targets="onnx"),
        ("verify", f"out/{NAME}", "--target", "onnx", "--level", "shapes"),
    ):
        made = case.run(plain(*command))
        assert made.code == 0, made.said


def _converted(case: Case) -> None:
    """A checkpoint, and a file that is to be replaced by a conversion of it."""
    made = case.run(plain(*_build("--no-verify", targets="torch")))
    assert made.code == 0, made.said
    (case.directory / "model.safetensors").rename(case.folder / "checkpoint.safetensors")
    shutil.rmtree(case.directory)
    case.directory.mkdir()
    (case.directory / "small.onnx").write_text("old")


OLD_BUILD = ("build", "old.yaml", "-o", "out", "--target", "torch,keras", "--no-verify")
_OWN = ("notes.txt", "runs", "runs/log", "link")

REPLACED = Scene("over an older build", _build("--no-verify"), _older(), _OWN)
FIRST = Scene("where nothing is", _build("--no-verify"), _nothing)
BARE = Scene(
    "over an older build, without weights",
    _build("--no-verify", "--no-weights", targets="torch,onnx"),
    _older("--no-weights"),
    _OWN,
)
EDITED = Scene(
    "over a file edited since",
    _build("--no-verify"),
    _edited,
    (*_OWN, "model_torch.py"),
    refuses=True,
)
PROVEN = Scene("with verification", _build(targets="onnx"), _older(), _OWN)
TOGETHER = Scene(
    "two networks, verified at once",
    (*_build("--jobs", "2", targets="onnx"), "other.yaml"),
    _older(),
    _OWN,
)
VERIFIED = Scene("over another certificate", ("verify", f"out/{NAME}", "--target", "onnx"),
                 _certified)  # fmt: skip
CONVERTED = Scene(
    "over another file",
    ("convert", "checkpoint.safetensors", "--spec", "new.yaml", "--to", "onnx", "--force",
     "-o", f"out/{NAME}/small.onnx"),
    _converted,
    has_manifest=False,
)  # fmt: skip
