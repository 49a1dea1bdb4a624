"""What `build` may do to a directory: all of it or nothing, and never to what is the user's."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resnetgen.diagnostics import DiagnosticError
from resnetgen.emit import exchange
from resnetgen.emit import write as write_module
from resnetgen.emit.manifest import Manifest, read
from resnetgen.emit.write import Contents, Weights, locked, place, plan, write
from resnetgen.locks import lock

FILES = {"model_torch.py": b"torch\n", "model_keras.py": b"keras\n", "README.md": b"card\n"}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "generated" / "net"


def weights(content: bytes = b"weights", seed: int = 0) -> Weights:
    def write_to(path: Path) -> str:
        path.write_bytes(content)
        return read_hash(content)

    return Weights(seed, write_to)


def read_hash(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def contents(
    files: dict[str, bytes] | None = None, *, spec: str = "1", weights: Weights | None = None
) -> Contents:
    return Contents(spec, "bundled:net", (), FILES if files is None else files, weights)


def build(directory: Path, contents: Contents, *, force: bool = False) -> Manifest:
    with locked([directory], waiting=lambda parent: pytest.fail("nobody else is here")):
        return write(plan(directory, contents, force=force))


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def refusal(directory: Path, contents: Contents) -> dict[str, str]:
    """The files that a build refuses to touch, and why; what is there must not change."""
    before = files(directory)
    with pytest.raises(DiagnosticError) as caught:
        build(directory, contents)
    assert files(directory) == before
    assert no_litter(directory)
    found: dict[str, str] = {}
    for diagnostic in caught.value.diagnostics:
        assert diagnostic.span is not None
        found[Path(diagnostic.span.file).name] = diagnostic.code
    return found


def no_litter(directory: Path) -> bool:
    return [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_new_directory_has_the_files_and_a_manifest_that_lists_them(directory: Path) -> None:
    build(directory, contents(weights=weights()))
    manifest = read(directory)
    assert manifest is not None
    assert manifest.files == {name: read_hash(content) for name, content in FILES.items()}
    assert manifest.listed["model.safetensors"] == read_hash(b"weights")
    assert files(directory).keys() == {*FILES, "model.safetensors", "manifest.json"}
    assert no_litter(directory)


def test_another_spec_replaces_everything_of_ours(directory: Path) -> None:
    build(directory, contents(weights=weights()))
    build(directory, contents({"model_torch.py": b"other\n"}, spec="2"))
    assert files(directory).keys() == {"model_torch.py", "manifest.json"}


@pytest.mark.parametrize("exchange_works", [True, False])
def test_files_of_the_user_are_carried_over(
    directory: Path, exchange_works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange_works:
        monkeypatch.setattr(exchange, "_exchange", lambda first, second: False)
    build(directory, contents())
    (directory / "notes.txt").write_text("mine")
    (directory / "runs" / "1").mkdir(parents=True)
    (directory / "runs" / "1" / "log").write_text("mine too")
    (directory / "runs").chmod(0o700)
    (directory / "link").symlink_to("nowhere")
    build(directory, contents({"model_torch.py": b"other\n"}, spec="2"))
    assert (directory / "notes.txt").read_text() == "mine"
    assert (directory / "runs" / "1" / "log").read_text() == "mine too"
    assert (directory / "runs").stat().st_mode & 0o777 == 0o700
    assert os.readlink(directory / "link") == "nowhere"
    assert (directory / "model_torch.py").read_bytes() == b"other\n"
    assert no_litter(directory)


def test_carried_files_stay_the_same_files(directory: Path) -> None:
    build(directory, contents())
    (directory / "big.bin").write_bytes(b"0" * 1000)
    inode = (directory / "big.bin").stat().st_ino
    build(directory, contents(spec="2"))
    assert (directory / "big.bin").stat().st_ino == inode


def test_files_are_copied_where_links_are_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    build(directory, contents())
    (directory / "notes.txt").write_text("mine")
    monkeypatch.setattr(os, "link", refuse)
    build(directory, contents(spec="2"))
    assert (directory / "notes.txt").read_text() == "mine"


def test_edited_files_are_refused_by_name(directory: Path) -> None:
    build(directory, contents(weights=weights()))
    (directory / "model_torch.py").write_text("edited")
    (directory / "model.safetensors").write_bytes(b"trained for a week")
    new = contents(spec="2", weights=weights())
    assert refusal(directory, new) == {
        "model_torch.py": "edited-file",
        "model.safetensors": "edited-file",
    }
    build(directory, new, force=True)
    assert (directory / "model_torch.py").read_bytes() == b"torch\n"
    assert (directory / "model.safetensors").read_bytes() == b"weights"


def test_edited_file_that_would_be_removed_is_refused(directory: Path) -> None:
    build(directory, contents())
    (directory / "model_keras.py").write_text("edited")
    new = contents({"model_torch.py": b"torch\n"}, spec="2")
    assert refusal(directory, new) == {"model_keras.py": "edited-file"}
    build(directory, new, force=True)
    assert not (directory / "model_keras.py").exists()


def test_edit_that_is_what_would_be_written_is_no_edit(directory: Path) -> None:
    build(directory, contents())
    (directory / "model_torch.py").write_bytes(b"newer\n")
    newer = {**FILES, "model_torch.py": b"newer\n"}
    manifest = build(directory, contents(newer))
    expected = {**newer, "manifest.json": manifest.to_json().encode()}
    assert files(directory) == expected


def test_missing_files_are_made_anew(directory: Path) -> None:
    build(directory, contents())
    (directory / "model_torch.py").unlink()
    build(directory, contents())
    assert (directory / "model_torch.py").read_bytes() == b"torch\n"


def test_directory_of_the_user_is_refused_where_names_collide(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "README.md").write_text("my own project")
    (directory / "manifest.json").write_text('{"name": "a web app"}')
    (directory / "notes.txt").write_text("mine")
    assert refusal(directory, contents()) == {
        "README.md": "foreign-file",
        "manifest.json": "foreign-file",
    }
    build(directory, contents(), force=True)
    assert (directory / "README.md").read_bytes() == b"card\n"
    assert (directory / "notes.txt").read_text() == "mine"


def test_directory_of_the_user_is_joined_where_no_name_collides(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "notes.txt").write_text("mine")
    build(directory, contents())
    assert files(directory).keys() == {*FILES, "notes.txt", "manifest.json"}


def test_weights_that_are_not_listed_are_the_users(directory: Path) -> None:
    build(directory, contents())
    (directory / "model.safetensors").write_bytes(b"from elsewhere")
    build(directory, contents(spec="2"))
    assert (directory / "model.safetensors").read_bytes() == b"from elsewhere"
    new = contents(spec="2", weights=weights())
    assert refusal(directory, new) == {"model.safetensors": "foreign-file"}


def test_file_or_folder_in_the_way_is_refused(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("a file")
    with pytest.raises(DiagnosticError, match="in the way"):
        build(directory, contents())
    assert directory.read_text() == "a file"
    directory.unlink()
    (directory / "README.md").mkdir(parents=True)
    assert refusal(directory, contents()) == {"README.md": "foreign-file"}


def test_files_that_a_build_of_the_same_spec_leaves_out_stay(directory: Path) -> None:
    build(directory, contents(weights=weights(seed=3)))
    build(directory, contents({"model_torch.py": b"newer\n"}))
    assert (directory / "model_keras.py").read_bytes() == b"keras\n"
    assert (directory / "model.safetensors").read_bytes() == b"weights"
    manifest = read(directory)
    assert manifest is not None
    assert manifest.listed.keys() == {*FILES, "model.safetensors"}
    assert manifest.weights is not None
    assert manifest.weights.origin == 3


def test_edited_file_that_stays_does_not_hinder(directory: Path) -> None:
    build(directory, contents())
    (directory / "model_keras.py").write_text("edited")
    build(directory, contents({"model_torch.py": b"newer\n"}))
    assert (directory / "model_keras.py").read_text() == "edited"


@pytest.mark.parametrize(
    ("new", "stays"),
    [
        (contents(weights=weights()), True),
        (contents(), True),
        (contents(weights=weights(b"other")), False),
        (contents({**FILES, "README.md": b"new\n"}, weights=weights()), False),
        (contents(spec="2", weights=weights()), True),
        (contents(spec="2"), False),
    ],
    ids=["same", "same without weights", "weights", "file", "only the manifest", "removed"],
)
def test_certificate_stays_as_long_as_the_files_do(
    directory: Path, new: Contents, stays: bool
) -> None:
    build(directory, contents(weights=weights()))
    (directory / "certificate.json").write_text("{}")
    build(directory, new)
    assert (directory / "certificate.json").exists() == stays


def test_directory_that_is_current_is_not_touched(directory: Path) -> None:
    build(directory, contents(weights=weights()))
    inode = directory.stat().st_ino
    build(directory, contents(weights=weights()))
    assert directory.stat().st_ino == inode
    assert no_litter(directory)


def test_symbolic_link_is_followed(directory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "real"
    elsewhere.mkdir(parents=True)
    directory.parent.mkdir()
    directory.symlink_to(elsewhere)
    build(place(directory.parent, "net"), contents())
    assert directory.is_symlink()
    assert files(elsewhere).keys() == {*FILES, "manifest.json"}


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_failure_leaves_the_old_directory_and_no_litter(
    directory: Path, failure: BaseException
) -> None:
    def fail(path: Path) -> str:
        path.write_bytes(b"half of")
        raise failure

    build(directory, contents(weights=weights()))
    before = files(directory)
    expected = DiagnosticError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        build(directory, contents(spec="2", weights=Weights(0, fail)))
    if expected is DiagnosticError:
        assert str(caught.value) == (
            f"{directory}: error: cannot be written: No space left on device"
        )
    assert files(directory) == before
    assert no_litter(directory)


def test_failure_removes_the_parents_that_it_made(directory: Path) -> None:
    def fail(path: Path) -> str:
        raise OSError(errno.EACCES, "Permission denied")

    with pytest.raises(DiagnosticError):
        build(directory, contents(weights=Weights(0, fail)))
    assert not directory.parent.exists()


def test_failure_between_two_renames_is_undone(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(directory, contents())
    rename: Callable[[Path, Path], Path] = Path.rename

    def fail_for_new(path: Path, target: Path) -> Path:
        if ".resnetgen-new-" in path.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(exchange, "_exchange", lambda first, second: False)
    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(DiagnosticError):
        build(directory, contents(spec="2"))
    monkeypatch.undo()
    assert no_litter(directory)
    manifest = read(directory)
    assert manifest is not None
    assert manifest.spec_sha256 == "1"


@pytest.mark.parametrize("moment", ["before the renames", "between them", "after them"])
def test_next_run_mends_what_a_killed_one_left(directory: Path, moment: str) -> None:
    build(directory, contents())
    (directory / "notes.txt").write_text("mine")
    staging = directory.with_name(".net.resnetgen-new-0123abcd")
    aside = directory.with_name(".net.resnetgen-old-0123abcd")
    match moment:
        case "before the renames":
            staging.mkdir()
            (staging / "model_torch.py").write_text("half of")
        case "between them":
            directory.rename(aside)
            staging.mkdir()
        case _:
            aside.mkdir()
            (aside / "model_torch.py").write_text("old")
    other = directory.with_name("other")
    build(other, contents())
    assert sorted(path.name for path in directory.parent.iterdir()) == ["net", "other"]
    assert files(directory).keys() == {*FILES, "notes.txt", "manifest.json"}


def test_names_that_only_look_like_remains_stay(directory: Path) -> None:
    """Dates too have eight digits, all of which a hexadecimal number may have."""
    names = {
        ".net.resnetgen-new", ".net.resnetgen-new-xyz", "net.resnetgen-new-0123abcd", ".git",
        ".net.new-20250131", ".net.old-20250131", ".other.old-20250131",
    }  # fmt: skip
    for name in names:
        (directory.parent / name).mkdir(parents=True)
    dated = ".certificate.json.20250131"
    build(directory, contents())
    (directory / dated).write_text("mine")
    build(directory, contents(spec="2"))
    assert {path.name for path in directory.parent.iterdir()} == {"net", *names}
    assert files(directory).keys() == {*FILES, "manifest.json", dated}


def test_what_comes_while_files_are_carried_over_is_carried_too(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file, one that an editor put in an older one's place, and one in a folder."""
    build(directory, contents())
    notes = directory / "notes.txt"
    notes.write_text("mine")
    (directory / "runs").mkdir()
    sync = exchange.sync

    def come_meanwhile(path: Path) -> None:
        sync(path)
        if path.name.startswith(".net.resnetgen-new-") and not (directory / "new.txt").exists():
            (directory / "new.txt").write_text("new")
            (directory / "runs" / "log").write_text("new too")
            (directory / ".notes.txt.swp").write_text("saved")
            (directory / ".notes.txt.swp").replace(notes)

    monkeypatch.setattr(exchange, "sync", come_meanwhile)
    build(directory, contents(spec="2"))
    assert files(directory).keys() == {*FILES, "manifest.json", "notes.txt", "new.txt"}
    assert notes.read_text() == "saved"
    assert (directory / "runs" / "log").read_text() == "new too"
    assert no_litter(directory)


@pytest.fixture(params=[True, False], ids=["exchanged", "renamed"])
def before_the_swap(
    request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Callable[[], object]]:
    """What is done when nothing lies between the last look and the new directory's name."""
    tasks: list[Callable[[], object]] = []
    swap: Callable[[Path, Path], bool] = exchange._exchange  # pyright: ignore[reportPrivateUsage]

    def do_first(first: Path, second: Path) -> bool:
        while tasks:
            tasks.pop()()
        return request.param and swap(first, second)

    monkeypatch.setattr(exchange, "_exchange", do_first)
    return tasks


def test_what_comes_right_before_the_swap_is_carried_too(
    directory: Path, before_the_swap: list[Callable[[], object]]
) -> None:
    """A new file, and one that an editor put in an older one's place, with an older date."""
    build(directory, contents())
    notes = directory / "notes.txt"
    notes.write_text("mine")

    def save() -> None:
        (directory / "new.txt").write_text("new")
        other = directory / ".notes.txt.swp"
        other.write_text("saved")
        os.utime(other, (0, 0))
        other.replace(notes)

    before_the_swap.append(save)
    build(directory, contents(spec="2"))
    assert files(directory).keys() == {*FILES, "manifest.json", "notes.txt", "new.txt"}
    assert notes.read_text() == "saved"
    assert no_litter(directory)


def test_what_goes_or_becomes_another_kind_while_files_are_carried_over_does_so_too(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("gone.txt", "named.txt", "folder", "file", "runs/old", "runs/log")
    syncs: list[Path] = []
    sync = exchange.sync

    def change(path: Path) -> None:
        sync(path)
        if path.name.startswith(".net.resnetgen-new-"):
            syncs.append(path)
            assert all((path / name).exists() for name in names)
            change_kinds(directory)

    build(directory, contents())
    prepare_kinds(directory)
    monkeypatch.setattr(exchange, "sync", change)
    build(directory, contents(spec="2"))
    assert syncs
    assert kinds_changed(directory)


def test_what_goes_or_becomes_another_kind_right_before_the_swap_does_so_too(
    directory: Path, before_the_swap: list[Callable[[], object]]
) -> None:
    build(directory, contents())
    prepare_kinds(directory)
    before_the_swap.append(lambda: change_kinds(directory))
    build(directory, contents(spec="2"))
    assert kinds_changed(directory)
    assert no_litter(directory)


def prepare_kinds(directory: Path) -> None:
    (directory / "gone.txt").write_text("mine")
    (directory / "named.txt").write_text("mine too")
    (directory / "file").write_text("will be a folder")
    for name in ("folder", "runs/old"):
        (directory / name).mkdir(parents=True)
        (directory / name / "log").write_text("will go")
    (directory / "runs" / "log").write_text("stays")


def change_kinds(directory: Path) -> None:
    (directory / "gone.txt").unlink()
    (directory / "named.txt").rename(directory / "renamed.txt")
    shutil.rmtree(directory / "folder")
    (directory / "folder").write_text("was a folder")
    (directory / "file").unlink()
    (directory / "file").mkdir()
    (directory / "file" / "log").write_text("was a file")
    shutil.rmtree(directory / "runs" / "old")


def kinds_changed(directory: Path) -> bool:
    own = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*")}
    texts = {
        name: path.read_text() if path.is_file() else None
        for name, path in own.items()
        if name not in {*FILES, "manifest.json"}
    }
    return texts == {
        "renamed.txt": "mine too",
        "folder": "was a folder",
        "file": None,
        "file/log": "was a file",
        "runs": None,
        "runs/log": "stays",
    }


@pytest.mark.parametrize(("tick_ns", "times"), [(0, 1), (10**12, 3)])
def test_weights_are_read_once_unless_they_are_so_young_that_a_change_might_not_show(
    directory: Path, tick_ns: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(directory, contents(weights=weights()))
    read: list[str] = []

    def sha256_of(path: Path) -> str:
        read.append(path.name)
        return read_hash(path.read_bytes())

    monkeypatch.setattr(write_module, "sha256_of", sha256_of)
    monkeypatch.setattr(write_module, "_TICK_NS", tick_ns)
    build(directory, contents(spec="2", weights=weights(b"others")))
    assert read.count("model.safetensors") == times


def test_edit_that_keeps_size_and_date_is_seen(
    directory: Path, before_the_swap: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_module, "_TICK_NS", 0)
    build(directory, contents())
    source = directory / "model_torch.py"

    def edit() -> None:
        found = source.stat()
        time.sleep(0.05)
        source.write_bytes(b"edited")
        os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))
        assert source.stat().st_size == found.st_size

    before_the_swap.append(edit)
    with pytest.raises(DiagnosticError, match=r"model_torch.py: error: changed while the build"):
        build(directory, contents(spec="2"))
    assert source.read_bytes() == b"edited"


def test_file_of_ours_edited_right_before_the_swap_is_put_back(
    directory: Path, before_the_swap: list[Callable[[], object]]
) -> None:
    build(directory, contents())
    before = files(directory)
    before_the_swap.append(lambda: (directory / "model_torch.py").write_text("edited"))
    with pytest.raises(DiagnosticError, match=r"model_torch.py: error: changed while the build"):
        build(directory, contents(spec="2"))
    assert files(directory) == {**before, "model_torch.py": b"edited"}
    assert no_litter(directory)


@pytest.fixture
def interrupted_behind(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[object, str, int], None]:
    """Has the user save a file before the call of a function, and interrupt right behind it."""

    def interrupt(owner: object, name: str, call: int) -> None:
        function: Callable[[Path, Path], object] = getattr(owner, name)
        done: list[Path] = []

        def interrupted(path: Path, target: Path) -> object:
            done.append(path)
            if len(done) == call and directory.exists():
                (directory / "late.txt").write_text("saved")
            found = function(path, target)
            if len(done) == call:
                raise KeyboardInterrupt
            return found

        monkeypatch.setattr(owner, name, interrupted)

    return interrupt


@pytest.mark.parametrize("step", ["the exchange", "the first rename", "the second rename"])
def test_interrupt_right_behind_a_rename_puts_the_old_directory_back(
    directory: Path,
    step: str,
    interrupted_behind: Callable[[object, str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build(directory, contents())
    late = {} if step == "the second rename" else {"late.txt": b"saved"}
    before = {**files(directory), **late}
    if step == "the exchange":
        interrupted_behind(exchange, "_exchange", 1)
    else:
        monkeypatch.setattr(exchange, "_exchange", lambda first, second: False)
        interrupted_behind(Path, "rename", 1 if step == "the first rename" else 2)
    with pytest.raises(KeyboardInterrupt):
        build(directory, contents(spec="2"))
    monkeypatch.undo()
    assert no_litter(directory)
    assert files(directory) == before


@pytest.mark.parametrize("refusal", ["not known", "an error"])
def test_exchange_that_another_does_not_undo_is_undone_by_renames(
    directory: Path, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(directory, contents())
    swap: Callable[[Path, Path], bool] = exchange._exchange  # pyright: ignore[reportPrivateUsage]
    swapped: list[Path] = []

    def once(first: Path, second: Path) -> bool:
        swapped.append(second)
        if len(swapped) == 1:
            (directory / "late.txt").write_text("saved")
            if not swap(first, second):
                pytest.skip("this system cannot exchange two names")
            raise KeyboardInterrupt
        if refusal == "an error":
            raise OSError(errno.EIO, "Input/output error")
        return False

    before = {**files(directory), "late.txt": b"saved"}
    monkeypatch.setattr(exchange, "_exchange", once)
    with pytest.raises(KeyboardInterrupt):
        build(directory, contents(spec="2"))
    assert files(directory) == before
    assert no_litter(directory)


def test_interrupt_while_the_old_directory_is_removed_leaves_nothing_of_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(directory, contents())
    remove: Callable[[Path], None] = exchange._remove  # pyright: ignore[reportPrivateUsage]
    interrupts = [KeyboardInterrupt()]

    def interrupted(path: Path) -> None:
        if interrupts:
            raise interrupts.pop()
        remove(path)

    monkeypatch.setattr(exchange, "_remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(directory, contents({"model_torch.py": b"other\n"}, spec="2"))
    assert files(directory).keys() == {"model_torch.py", "manifest.json"}
    assert no_litter(directory)


def test_build_removes_what_a_killed_verification_left(directory: Path) -> None:
    build(directory, contents())
    (directory / ".certificate.json.resnetgen-0123abcd").write_text("{")
    (directory / ".notes.txt.resnetgen-0123abcd").write_text("mine")
    build(directory, contents(spec="2"))
    assert files(directory).keys() == {*FILES, "manifest.json", ".notes.txt.resnetgen-0123abcd"}


@pytest.mark.parametrize("name", ["manifest.json", "certificate.json"])
def test_record_of_the_users_that_comes_meanwhile_is_refused(directory: Path, name: str) -> None:
    def come_meanwhile(path: Path) -> str:
        (directory / name).write_text("mine")
        path.write_bytes(b"weights")
        return read_hash(b"weights")

    directory.mkdir(parents=True)
    with pytest.raises(DiagnosticError, match=f"{name}: error: changed while the build"):
        build(directory, contents(weights=Weights(0, come_meanwhile)))
    assert files(directory) == {name: b"mine"}
    assert no_litter(directory)


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from resnetgen.emit.write import Contents, Weights, locked, plan, write

directory = Path(sys.argv[1])

def die(path):
    path.write_bytes(b"half of")
    os.kill(os.getpid(), signal.SIGKILL)

contents = Contents("2", "bundled:net", (), {"model_torch.py": b"new"}, Weights(0, die))
with locked([directory], waiting=print):
    write(plan(directory, contents, force=False))
"""


def test_killed_process_leaves_the_old_directory_and_no_lock(directory: Path) -> None:
    build(directory, contents())
    before = files(directory)
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(directory)])
    assert killed.returncode == -signal.SIGKILL
    assert files(directory) == before
    assert not no_litter(directory)
    build(directory, contents(spec="2"))
    assert no_litter(directory)


def test_second_run_waits_for_the_first(directory: Path) -> None:
    directory.parent.mkdir()
    descriptor = os.open(directory.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    waited: list[Path] = []

    def finish_the_first(parent: Path) -> None:
        waited.append(parent)
        os.close(descriptor)

    with locked([directory], waiting=finish_the_first):
        write(plan(directory, contents(), force=False))
    assert waited == [directory.parent]
    assert no_litter(directory)


def test_parent_that_the_first_run_removes_is_made_again(directory: Path) -> None:
    """It made the parent, failed, and removes it while the second run waits for it."""
    directory.parent.mkdir()
    descriptor = os.open(directory.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def fail(parent: Path) -> None:
        parent.rmdir()
        os.close(descriptor)

    with locked([directory], waiting=fail):
        write(plan(directory, contents(), force=False))
    assert files(directory).keys() > FILES.keys()


def test_parent_is_removed_before_others_may_have_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked_then: list[bool] = []

    def look(parent: Path) -> None:
        descriptor = os.open(parent, os.O_RDONLY)
        locked_then.append(lock(descriptor, waits=False) == "another's")
        os.close(descriptor)

    monkeypatch.setattr(exchange, "_remove_if_empty", look)
    with locked([directory], waiting=lambda parent: pytest.fail("nobody else is here")):
        pass
    assert locked_then
    assert all(locked_then)


def test_exchange_swaps_two_directories_in_one_step(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first, second):
        path.mkdir()
        (path / "name").write_text(path.name)
    if not exchange._exchange(first, second):  # pyright: ignore[reportPrivateUsage]
        pytest.skip("this system cannot exchange two names")
    assert (first / "name").read_text() == "second"
    assert (second / "name").read_text() == "first"
