"""What killed processes leave goes with the next run, and what running ones need stays."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from resnetgen.emit.file import replaced
from resnetgen.holding import scratch_folder

ABANDONED = "resnetgen-scratch-0123abcd"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_scratch_folder_goes_and_so_do_abandoned_ones(scratch: Path) -> None:
    (scratch / ABANDONED).mkdir()
    (scratch / ABANDONED / "weights").write_text("half of")
    with scratch_folder() as mine, scratch_folder() as other:
        assert sorted(scratch.iterdir()) == sorted([mine, other])
    assert list(scratch.iterdir()) == []


def test_scratch_folder_of_a_living_process_stays_until_it_is_killed(scratch: Path) -> None:
    lives = (
        "import time\n"
        "from resnetgen.holding import scratch_folder\n"
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


def test_what_is_not_ours_stays(scratch: Path) -> None:
    (scratch / "elsewhere").mkdir()
    (scratch / ABANDONED).symlink_to(scratch / "elsewhere")
    (scratch / "resnetgen-training").mkdir()
    (scratch / "resnetgen-scratch-notes").write_text("mine")
    before = sorted(scratch.iterdir())
    with scratch_folder():
        pass
    assert sorted(scratch.iterdir()) == before


def test_replaced_removes_what_a_killed_process_left_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    (tmp_path / ".graph.onnx.0123abcd").write_text("half of")
    (tmp_path / ".other.onnx.0123abcd").write_text("of another file")
    (tmp_path / ".graph.onnx.backup").write_text("mine")
    with replaced(path) as temporary, replaced(path) as other:
        temporary.write_text("first")
        other.write_text("second")
    assert path.read_text() == "first"
    assert {each.name for each in tmp_path.iterdir()} == {
        "graph.onnx", ".other.onnx.0123abcd", ".graph.onnx.backup",
    }  # fmt: skip
