"""Certificates as files: writes one, knows one when it sees it, and reads what it proved."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from resnetgen.ir.network import Network
from resnetgen.records import read_json
from resnetgen.verify.dtypes import FORMATS, Dtype
from resnetgen.whole_file import replaced

# Not every command needs this, and it is slow to import.
if TYPE_CHECKING:
    from resnetgen.verify.result import Verification


@dataclass(frozen=True, slots=True)
class Proof:
    """At which level, in which dtype, and with whose weights, a target has passed."""

    level: str
    dtype: Dtype | None
    """None where no value was compared, or nobody knows the dtype."""
    has_weights: bool
    """Whether it was of the directory's own weights."""


def write(
    path: Path, verification: "Verification", network: Network, *, is_new: bool = False
) -> None:
    """Writes the certificate of a verification, whole or not at all.

    With `is_new` there must be no file in its place yet.
    """
    from resnetgen.verify.certificate import certificate

    document = certificate(verification, network)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with replaced(path, is_new=is_new) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_certificate(path: Path) -> bool:
    """Whether the file is one that a verification wrote, of whatever version."""
    from resnetgen.verify.certificate import KEYS

    document = read_json(path)
    return isinstance(document, dict) and cast(dict[str, object], document).keys() >= KEYS


def passed(path: Path) -> Mapping[str, Proof]:
    """The targets that passed by the certificate at `path`, if one is there, and how."""
    document = read_json(path)
    if not isinstance(document, dict):
        return {}
    keys = cast(dict[str, object], document)
    level, targets = keys.get("level"), keys.get("targets")
    if not isinstance(level, str) or not isinstance(targets, dict):
        return {}
    found = cast(dict[str, object], targets)
    has_weights = keys.get("weights") == "shipped"
    proofs = {name: _proof(level, target, has_weights) for name, target in found.items()}
    return {name: proof for name, proof in proofs.items() if proof is not None}


def _proof(level: str, target: object, has_weights: bool) -> Proof | None:
    if not isinstance(target, dict):
        return None
    keys = cast(dict[str, object], target)
    if keys.get("status") != "passed":
        return None
    stated = keys.get("dtype")
    dtype: Dtype | None = next((known for known in FORMATS if known == stated), None)
    return Proof(level, dtype, has_weights)
