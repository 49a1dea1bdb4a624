"""What killed processes leave goes with the next run, and what running ones need stays."""

import errno
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from resnetgen.scratch import scratch_folder
from resnetgen.whole_file import replaced

ABANDONED = "resnetgen-scratch-0123abcd-_x2345yz"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_scratch_folder_goes_and_so_do_abandoned_ones(scratch: Path) -> None:
    (scratch / ABANDONED / "folder").mkdir(parents=True)
    (scratch / ABANDONED / "folder" / "weights").write_text("half of")
    (scratch / ABANDONED / ".resnetgen-lock").touch()
    (scratch / ABANDONED.replace("0", "1")).mkdir()
    with scratch_folder() as mine, scratch_folder() as other:
        assert sorted(scratch.iterdir()) == sorted([mine.parent, other.parent])
        assert list(mine.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_scratch_folder_of_a_living_process_stays_until_it_is_killed(scratch: Path) -> None:
    lives = (
        "import time\n"
        "from resnetgen.scratch import scratch_folder\n"
        "with scratch_folder() as mine:\n"
        "    print(mine, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", lives],
        env={"TMPDIR": str(scratch), "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as living:
        assert living.stdout is not None
        theirs = Path(living.stdout.readline().strip())
        with scratch_folder():
            assert theirs.exists()
        living.kill()
    assert theirs.exists()
    with scratch_folder():
        assert not theirs.exists()


def test_half_removed_scratch_folder_is_found_again(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as there is anything in it beside the marker, the marker is there."""
    (scratch / ABANDONED / "folder").mkdir(parents=True)
    (scratch / ABANDONED / ".resnetgen-lock").touch()

    remove = shutil.rmtree

    def refuse(path: str | Path, **options: Any) -> None:
        if ABANDONED in str(path):
            raise OSError(errno.EACCES, "Permission denied")
        remove(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", refuse)
        with scratch_folder():
            assert (scratch / ABANDONED / "folder").exists()
    with scratch_folder():
        assert not (scratch / ABANDONED).exists()


def test_scratch_folder_that_another_process_takes_for_abandoned_is_made_anew(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Path.touch
    taken: list[Path] = []

    def take_first(path: Path) -> None:
        if not taken:
            taken.append(path.parent)
            path.parent.rmdir()
        touch(path)

    monkeypatch.setattr(Path, "touch", take_first)
    with scratch_folder() as mine:
        assert mine.is_dir()
        assert mine.parent not in taken
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("name", ["resnetgen-scratch-training", ABANDONED])
def test_folder_without_our_marker_stays(name: str, scratch: Path) -> None:
    (scratch / name).mkdir()
    (scratch / name / "epoch1").write_text("mine")
    with scratch_folder():
        pass
    assert (scratch / name / "epoch1").read_text() == "mine"


def test_what_is_not_ours_stays(scratch: Path) -> None:
    (scratch / "elsewhere").mkdir()
    (scratch / ABANDONED).symlink_to(scratch / "elsewhere")
    (scratch / "resnetgen-training").mkdir()
    (scratch / "resnetgen-scratch-training").mkdir()
    (scratch / "resnetgen-scratch-notes").write_text("mine")
    before = sorted(scratch.iterdir())
    with scratch_folder():
        pass
    assert sorted(scratch.iterdir()) == before


def test_replaced_removes_what_a_killed_process_left_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    (tmp_path / ".graph.onnx.resnetgen-0123abcd").write_text("half of")
    (tmp_path / ".other.onnx.resnetgen-0123abcd").write_text("of another file")
    for ending in ("backup", "20250131"):
        (tmp_path / f".graph.onnx.{ending}").write_text("mine")
    with replaced(path) as temporary, replaced(path) as other:
        temporary.write_text("first")
        other.write_text("second")
    assert path.read_text() == "first"
    assert {each.name for each in tmp_path.iterdir()} == {
        "graph.onnx", ".other.onnx.resnetgen-0123abcd",
        ".graph.onnx.backup", ".graph.onnx.20250131",
    }  # fmt: skip
