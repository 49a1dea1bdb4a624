"""The record that `build` leaves in each directory: what was compiled, and every file's hash."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard, cast

from resnetgen.weights.layout import WEIGHTS_FILE

MANIFEST = "manifest.json"
SPEC = "spec.yaml"
"""The resolved spec."""
CERTIFICATE = "certificate.json"
_CERTIFICATE_KEYS = {"name", "spec_sha256", "status", "level", "files", "targets"}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The file that weights were read from, and whose names it had; `seed` drew what it lacks."""

    file: str
    sha256: str
    format: str
    seed: int | None


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """The weights file that belongs to the directory."""

    sha256: str
    origin: int | Checkpoint
    """The seed that it was drawn from, or the file that it was read from."""

    def to_json(self) -> dict[str, object]:
        """What the manifest says of it."""
        match self.origin:
            case Checkpoint(file, sha256, form, seed):
                drawn = {} if seed is None else {"seed": seed}
                origin = {"origin": file, "origin_sha256": sha256, "format": form}
                return {"sha256": self.sha256, **origin, **drawn}
            case seed:
                return {"sha256": self.sha256, "seed": seed}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `manifest.json` says; `files` leaves out the manifest, the certificate and weights."""

    version: str
    spec_sha256: str
    source: str
    """`bundled:NAME`, or the spec's path relative to the directory."""
    overrides: tuple[str, ...]
    files: Mapping[str, str]
    weights: WeightsRecord | None

    @property
    def listed(self) -> dict[str, str]:
        """Every file that is ours, weights included, with its hash."""
        if self.weights is None:
            return dict(self.files)
        return {**self.files, WEIGHTS_FILE: self.weights.sha256}

    def to_json(self) -> str:
        """The manifest's text, the same for the same contents."""
        document: dict[str, object] = {
            "resnetgen": self.version,
            "spec_sha256": self.spec_sha256,
            "source": self.source,
            "overrides": list(self.overrides),
            "files": dict(sorted(self.files.items())),
        }
        if self.weights is not None:
            document[WEIGHTS_FILE] = self.weights.to_json()
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        # A path may hold bytes that are no UTF-8; how Python escapes them is right in JSON too.
        return text.encode(errors="backslashreplace").decode()


def read(directory: Path) -> Manifest | None:
    """The directory's manifest, or None where there is none that resnetgen wrote."""
    return _parse(_document(directory / MANIFEST))


def is_certificate(path: Path) -> bool:
    """Whether the file is one that a verification wrote, of whatever version."""
    document = _document(path)
    if not isinstance(document, dict):
        return False
    return cast(dict[str, object], document).keys() >= _CERTIFICATE_KEYS


def files(directory: Path) -> tuple[str, ...]:
    """The names of the files in `directory` that resnetgen wrote, sorted."""
    manifest = read(directory)
    listed = {} if manifest is None else manifest.listed
    names = {MANIFEST, CERTIFICATE, *listed}
    return tuple(sorted(name for name in names if os.path.isfile(directory / name)))


def sha256(content: bytes) -> str:
    """The hash of a file's content, in hex."""
    return hashlib.sha256(content).hexdigest()


def sha256_of(path: Path) -> str:
    """The hash of a file on disk, in hex, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _document(path: Path) -> object:
    """What the JSON says; None where there is no JSON to read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _parse(document: object) -> Manifest | None:
    if not isinstance(document, dict):
        return None
    keys = cast(dict[str, object], document)
    match keys:
        case {
            "resnetgen": str(version),
            "spec_sha256": str(spec_sha256),
            "source": str(source),
            "overrides": overrides,
            "files": files,
        } if _are_texts(overrides) and _maps_texts(files) and all(map(_is_name, files)):
            pass
        case _:
            return None
    weights = _parse_weights(keys.get(WEIGHTS_FILE))
    return Manifest(version, spec_sha256, source, tuple(overrides), files, weights)


def _parse_weights(document: object) -> WeightsRecord | None:
    match document:
        case {
            "sha256": str(digest),
            "origin": str(file),
            "origin_sha256": str(origin_sha256),
            "format": str(form),
        }:
            seed = cast(dict[str, object], document).get("seed")
            drawn = seed if isinstance(seed, int) else None
            return WeightsRecord(digest, Checkpoint(file, origin_sha256, form, drawn))
        case {"sha256": str(digest), "seed": int(seed)}:
            return WeightsRecord(digest, seed)
        case _:
            return None


def _is_name(name: str) -> bool:
    """Whether it names a file in the directory itself, where all of ours are."""
    return name not in ("", ".", "..") and not set(name) & {"/", os.sep, "\0"}


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(
        isinstance(text, str) for text in cast(list[object], value)
    )


def _maps_texts(value: object) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and _are_texts(list(cast(dict[str, object], value).values()))
