"""The record that `build` leaves in each directory: what was compiled, and every file's hash."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard, cast

from resnetgen import records
from resnetgen.weights.layout import WEIGHTS_FILE

_KEYS = ("spec_sha256", "source", "overrides", "files")
"""What a manifest has beside its version."""


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """The file that weights were read from, and whose names it had; `seed` drew what it lacks."""

    file: str
    sha256: str
    format: str
    seed: int | None


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """The weights file that belongs to the directory."""

    sha256: str
    origin: int | CheckpointRecord
    """The seed that it was drawn from, or the file that it was read from."""

    def to_json(self) -> dict[str, object]:
        """What the manifest says of it."""
        match self.origin:
            case CheckpointRecord(file, sha256, form, seed):
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
            records.LISTED: dict(sorted(self.files.items())),
        }
        if self.weights is not None:
            document[WEIGHTS_FILE] = self.weights.to_json()
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        # A path may hold bytes that are no UTF-8; how Python escapes them is right in JSON too.
        return text.encode(errors="backslashreplace").decode()


def read(directory: Path) -> Manifest | None:
    """The directory's manifest, or None where there is none that resnetgen wrote."""
    return _parse(records.read_json(directory / records.MANIFEST))


def flaw(directory: Path) -> str | None:
    """What is wrong with a manifest of ours that cannot be read; None where there is no such."""
    try:
        document: object = json.loads((directory / records.MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    except json.JSONDecodeError as error:
        return f"it is no JSON from line {error.lineno}, column {error.colno} on"
    except (ValueError, RecursionError):
        return "it is no JSON that can be read"
    if not isinstance(document, dict) or "resnetgen" not in document:
        return None
    missing = [key for key in _KEYS if key not in document]
    if missing:
        return f"it has no `{missing[0]}`"
    return None if _parse(cast(object, document)) else "it has a value that resnetgen never writes"


def certified(directory: Path) -> Mapping[str, str] | None:
    """The files that the directory's certificate is about, with their hashes; None without one."""
    document = records.read_json(directory / records.CERTIFICATE)
    if not isinstance(document, dict):
        return None
    proven = cast(dict[str, object], document).get("files")
    return proven if _maps_texts(proven) else None


def files(directory: Path) -> tuple[str, ...]:
    """The names of the files in `directory` that resnetgen wrote, sorted."""
    manifest = read(directory)
    listed = {} if manifest is None else manifest.listed
    names = {records.MANIFEST, records.CERTIFICATE, *listed}
    return tuple(sorted(name for name in names if os.path.isfile(directory / name)))


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
            records.LISTED: files,
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
            return WeightsRecord(digest, CheckpointRecord(file, origin_sha256, form, drawn))
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
