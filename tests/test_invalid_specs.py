"""Every mistake gets its message: each file in `invalid_specs` states its own in its first lines.

`python tests/test_invalid_specs.py` writes what resnetgen says now into the files, for review.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from resnetgen.diagnostics import DiagnosticError
from resnetgen.pipeline import compile_spec

FOLDER = Path(__file__).parent / "invalid_specs"
SPECS = sorted(path.name for path in FOLDER.glob("*.yaml"))


def message(reference: str) -> str:
    with pytest.raises(DiagnosticError) as caught:
        compile_spec(reference)
    return caught.value.render()


def stated_message(text: str) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


@pytest.mark.parametrize("name", SPECS)
def test_invalid_spec_gives_the_message_that_it_states(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)

    assert message(name) == stated_message((FOLDER / name).read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("blur_behind_stride_4.yaml", "[216, 56]"),
        ("blur_behind_stride_4.yaml", "[225, 65]"),
        ("odd_input_of_average_pools.yaml", "226"),
        ("odd_input_of_average_pools.yaml", "255"),
    ],
)
def test_sizes_that_a_message_names_are_taken(name: str, size: str) -> None:
    path = FOLDER / name
    assert size in stated_message(path.read_text("utf-8"))

    compile_spec(str(path), overrides=(f"input.size={size}",))


def empty(folder: Path) -> None:
    (folder / "x.yaml").touch()


def binary(folder: Path) -> None:
    (folder / "x.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")


def latin_1(folder: Path) -> None:
    (folder / "x.yaml").write_bytes("name: r\xe9seau".encode("latin-1"))


def utf_16(folder: Path) -> None:
    (folder / "x.yaml").write_bytes("name: tiny".encode("utf-16"))


def control_character(folder: Path) -> None:
    (folder / "x.yaml").write_bytes(b"name: tiny\n# \x1b[2J\n")


def impossible_escape(folder: Path) -> None:
    (folder / "x.yaml").write_bytes(rb'name: "\UFFFFFFFF"')


def directory(folder: Path) -> None:
    (folder / "x.yaml").mkdir()


def missing(folder: Path) -> None:
    pass


def symlink_loop(folder: Path) -> None:
    (folder / "x.yaml").symlink_to("x.yaml")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "x.yaml")


def too_large(folder: Path) -> None:
    (folder / "x.yaml").write_text("#" * 1_000_001)


def extends_out_of_the_folder_by_symlink(folder: Path) -> None:
    (folder.parent / "outside.yaml").write_text("name: outside")
    (folder / "inside.yaml").symlink_to(folder.parent / "outside.yaml")
    (folder / "x.yaml").write_text("extends: inside.yaml")


def extends_symlink_loop(folder: Path) -> None:
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "x.yaml").write_text("extends: loop.yaml")


def extends_directory(folder: Path) -> None:
    (folder / "base.yaml").mkdir()
    (folder / "x.yaml").write_text("extends: base.yaml")


def extends_zero_byte(folder: Path) -> None:
    (folder / "x.yaml").write_text(r'extends: "a\0.yaml"')


@pytest.mark.parametrize(
    ("arrange", "expected"),
    [
        (empty, "x.yaml: error: the file is empty\nexpected: a spec in YAML"),
        (
            binary,
            "x.yaml: error: the file is not text: byte 8 is zero\nexpected: YAML in UTF-8",
        ),
        (
            latin_1,
            "x.yaml: error: the file is not UTF-8: byte 7 is 0xe9\nexpected: YAML in UTF-8",
        ),
        (
            utf_16,
            "x.yaml: error: the file is not text: byte 3 is zero\nexpected: YAML in UTF-8",
        ),
        (
            control_character,
            "x.yaml:2:3: error: the character U+001B has no place in a spec\n"
            "  2 | # \\x1b[2J\n"
            "    |   ^^^^\n"
            "expected: printable text",
        ),
        (impossible_escape, "x.yaml: error: not YAML: an impossible escape"),
        (directory, "x.yaml: error: the file is a directory\nexpected: a YAML file"),
        (missing, "x.yaml: error: the file does not exist"),
        (
            symlink_loop,
            "x.yaml: error: the file cannot be read: Too many levels of symbolic links",
        ),
        (pipe, "x.yaml: error: the file is not a regular file\nexpected: a YAML file"),
        (
            too_large,
            "x.yaml: error: the file is larger than 1,000,000 bytes\n"
            "expected: a spec of a few lines",
        ),
        (
            extends_out_of_the_folder_by_symlink,
            "x.yaml:1:10: error: `inside.yaml` leads out of the folder of `x.yaml`\n"
            "  1 | extends: inside.yaml\n"
            "    |          ^^^^^^^^^^^\n"
            "expected: a bundled name, or the path of a file in the same folder or below",
        ),
        (
            extends_symlink_loop,
            "x.yaml:1:10: error: `loop.yaml` cannot be read: Too many levels of symbolic links\n"
            "  1 | extends: loop.yaml\n"
            "    |          ^^^^^^^^^",
        ),
        (
            extends_directory,
            "x.yaml:1:10: error: `base.yaml` is a directory\n"
            "  1 | extends: base.yaml\n"
            "    |          ^^^^^^^^^\n"
            "expected: a YAML file",
        ),
        (
            extends_zero_byte,
            "x.yaml:1:10: error: `a\\x00.yaml` is no path\n"
            '  1 | extends: "a\\0.yaml"\n'
            "    |          ^^^^^^^^^^\n"
            "expected: a bundled name, or the path of a file in the same folder or below",
        ),
    ],
)
def test_what_no_file_can_state_has_its_message(
    arrange: Callable[[Path], None],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    arrange(folder)
    monkeypatch.chdir(folder)

    assert message("x.yaml") == expected


def test_file_without_permission_has_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "x.yaml").write_text("name: tiny")
    monkeypatch.chdir(tmp_path)
    # Permissions themselves do not keep the superuser from reading.
    monkeypatch.setattr(Path, "open", refuse)

    assert message("x.yaml") == "x.yaml: error: the file cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (
            "resnet151",
            "error: there is no bundled spec `resnet151`\n"
            "expected: a bundled name, as `resnetgen specs` lists them, or the path of a YAML file"
            "\nhint: did you mean `resnet152`?",
        ),
        (
            "",
            "error: there is no bundled spec ``\n"
            "expected: a bundled name, as `resnetgen specs` lists them, or the path of a YAML file",
        ),
        ("a\nb.yaml", r"a\nb.yaml: error: the file does not exist"),
        ("a\0.yaml", r"a\x00.yaml: error: the file cannot be read: its name contains a null byte"),
        ("/", "/: error: the file is a directory\nexpected: a YAML file"),
    ],
)
def test_reference_to_no_spec_has_its_message(reference: str, expected: str) -> None:
    assert message(reference) == expected


def write_messages() -> None:
    os.chdir(FOLDER)
    # Until nothing moves: a message's own lines move the lines that it speaks of.
    for _ in range(3):
        for name in SPECS:
            write_message(Path(name))


def write_message(path: Path) -> None:
    text = path.read_text("utf-8")
    body = text.splitlines(keepends=True)[len(stated_message(text).splitlines()) :]
    try:
        compile_spec(path.name)
    except DiagnosticError as error:
        lines = [f"# {line}".rstrip() + "\n" for line in error.render().splitlines()]
        path.write_text("".join([*lines, *body]), "utf-8")
    else:
        raise SystemExit(f"{path} is a valid spec")


if __name__ == "__main__":
    write_messages()
