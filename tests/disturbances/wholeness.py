"""What is in a folder, and whether that is what was there before, what is to be there, or neither.

Nothing here asks resnetgen: hashes are computed anew, and the manifest is read as JSON.
"""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

State = Literal["old", "new", "unproven", "none", "broken"]
Tree = Mapping[str, str]
"""Paths below a folder: the hash of each file, the goal of each link, the mode of each folder."""

MANIFEST, CERTIFICATE, WEIGHTS = "manifest.json", "certificate.json", "model.safetensors"
_TEMPORARY = re.compile(r"\..+\.resnetgen-[0-9a-f]{8}")


def tree(folder: Path) -> Tree | None:
    """All that is below the folder but files with temporary names; None where there is none."""
    if not folder.is_dir():
        return None
    entries = _entries(folder, folder)
    return {name: what for name, what in sorted(entries) if not _TEMPORARY.fullmatch(name)}


def temporary(folder: Path) -> list[str]:
    """The names in the folder that are temporary."""
    return [path.name for path in folder.glob(".*") if _TEMPORARY.fullmatch(path.name)]


def hashed(content: bytes) -> str:
    return sha256(content).hexdigest()


def _entries(folder: Path, top: Path) -> Iterator[tuple[str, str]]:
    for path in folder.iterdir():
        name = path.relative_to(top).as_posix()
        if path.is_symlink():
            yield name, f"-> {os.readlink(path)}"
        elif path.is_dir():
            yield name, f"folder {path.stat().st_mode & 0o777:o}"
            yield from _entries(path, top)
        else:
            yield name, hashed(path.read_bytes())


@dataclass(frozen=True)
class Wanted:
    """The trees of which one has to be there, each with all that is the user's."""

    old: Tree | None
    new: Tree | None
    own: Collection[str] = ()
    """The paths that are the user's."""
    may_be_unproven: bool = False
    """Whether the new one may be there without its certificate."""

    def state(self, directory: Path) -> tuple[State, list[str]]:
        """Which of them is there; where it is neither, what is wrong with what is."""
        return self.judged(tree(directory))

    def judged(self, found: Tree | None) -> tuple[State, list[str]]:
        states: list[tuple[State, Tree | None]] = [("old", self.old), ("new", self.new)]
        if self.may_be_unproven and self.new is not None and CERTIFICATE in self.new:
            without = {name: what for name, what in self.new.items() if name != CERTIFICATE}
            states.append(("unproven", without))
        for state, then in states:
            if found == then:
                return ("none" if found is None else state), []
        return "broken", list(self._differences(found))

    def without_own(self) -> "Wanted":
        """A new directory, made where none of the user's files are."""
        new = {name: what for name, what in (self.new or {}).items() if name not in self.own}
        return Wanted(None, new)

    def _differences(self, found: Tree | None) -> Iterator[str]:
        if found is None:
            yield "the directory is gone"
            return
        old, new = self.old or {}, self.new or {}
        for name in sorted({*found, *old, *new}):
            is_, was, will = found.get(name), old.get(name), new.get(name)
            if is_ == was == will:
                continue
            if name in self.own:
                yield f"{name}, which is the user's, is {'lost' if is_ is None else 'changed'}"
            elif is_ is None:
                yield f"{name} is missing"
            elif is_ not in (was, will):
                yield f"{name} is neither old nor new"
            else:
                yield f"{name} is {'old' if is_ == was else 'new'}"


def manifest_flaws(directory: Path, *, own: Collection[str] = ()) -> list[str]:
    """How the files differ from what manifest.json says of them; `own` are the user's."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
        listed = dict(manifest["files"])
        if (weights := manifest.get(WEIGHTS)) is not None:
            listed[WEIGHTS] = weights["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{MANIFEST} cannot be read: {type(error).__name__}"]
    present = tree(directory) or {}
    flaws = [
        f"{name} {'is not what the manifest says' if name in present else 'is listed and missing'}"
        for name, digest in listed.items()
        if name not in own and present.get(name) != digest
    ]
    known = {*listed, *own, MANIFEST, CERTIFICATE}
    return flaws + [f"{name} is not listed" for name in present if name not in known]


def litter(folder: Path, *, expected: Collection[str]) -> list[str]:
    """The names in the folder that are not expected there."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name not in expected)


def processes_of(folder: Path) -> list[int]:
    """The processes whose TMPDIR is the folder or below it, as children's is; of Linux alone."""
    wanted = f"TMPDIR={folder}"
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = os.fsdecode(path.read_bytes()).split("\0")
        except OSError:
            continue
        if any(each == wanted or each.startswith(f"{wanted}/") for each in variables):
            found.append(int(path.parent.name))
    return found
