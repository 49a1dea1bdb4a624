"""Verifies the bundled networks in every target: `python tests/verify_bundled.py [NAME...]`.

Builds each without its weights, as `resnetgen build NAME --no-weights` does, and says of each
target how closely it agrees with the compiler's own interpreter. Fails where one does not pass.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from resnetgen.spec.load import bundled

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "bundled.md"
COMMAND = "python tests/verify_bundled.py --write"
TARGETS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch", "flax", "onnx")


@dataclass(frozen=True)
class Proof:
    """What `build --json` says of a network."""

    name: str
    params: int
    status: str
    targets: Mapping[str, Mapping[str, Any]]

    @property
    def row(self) -> str:
        """In each target the largest difference as a part of its bound, or what came instead."""
        cells = " | ".join(_cell(self.targets.get(target)) for target in TARGETS)
        return f"| {self.name} | {self.params:,} | {self.status} | {cells} |"

    @property
    def passed(self) -> bool:
        """In all targets: one that did not run has verified nothing."""
        return all(self.targets.get(target, {}).get("status") == "passed" for target in TARGETS)


def _cell(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "absent"
    if result["status"] != "passed":
        return f"{result['status']}: {result['reason'] or result['first_divergence']}"
    return f"{result['max_rel_diff']:.1e} ({result['dtype']})"


def proofs(names: Sequence[str]) -> Iterator[Proof]:
    """Builds and verifies one network after the other, and keeps none of them."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            command = ("build", name, "--no-weights", "--json", "--output", folder)
            ran = subprocess.run(
                [sys.executable, "-m", "resnetgen", *command],
                capture_output=True,
                text=True,
                check=False,
            )
        if not ran.stdout:
            yield Proof(name, 0, ran.stderr.strip().splitlines()[-1], {})
            continue
        found = json.loads(ran.stdout)
        verification = found["verification"]
        params = found["params"]["trainable"]
        yield Proof(name, params, verification["status"], verification["targets"])


def document(found: Sequence[Proof]) -> str:
    """All of it as a page, with what is needed to find it again."""
    packages = ("torch", "keras", "tensorflow", "flax", "jax", "onnx", "onnxruntime")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    rows = "\n".join(each.row for each in found)
    return (
        "# Bundled networks\n\n"
        "Each network that ships with resnetgen was built and verified in every target, from "
        "weights and inputs that the seed draws. "
        f"`{COMMAND}` finds this again and writes it.\n\n"
        f"{sum(each.passed for each in found)} of {len(found)} passed in all "
        f"{len(TARGETS)} targets.\n\n"
        "In each cell: the largest difference from the compiler's own interpreter, as a part of "
        "the value's scale, and the type in which the target computed.\n\n"
        f"| network | parameters | status | {' | '.join(TARGETS)} |\n"
        f"|---|---:|---|{'---|' * len(TARGETS)}\n"
        f"{rows}\n\n"
        f"Python {platform.python_version()}, {versions}.\n"
    )


def main() -> int:
    """Runs what is asked for; 1 where a network did not pass in a target."""
    parser = argparse.ArgumentParser(description="Verify bundled networks in every target.")
    parser.add_argument("name", nargs="*", help="networks to verify; by default all")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    names = arguments.name or sorted(bundled())
    unknown = [name for name in names if name not in bundled()]
    if unknown:
        parser.error(f"no bundled network is called {', '.join(unknown)}")
    if arguments.write and arguments.name:
        parser.error("--write is for all of them")
    found: list[Proof] = []
    for proof in proofs(names):
        print(proof.row, flush=True)
        found.append(proof)
    passed = sum(proof.passed for proof in found)
    print(f"{passed} of {len(found)} passed in all {len(TARGETS)} targets")
    if arguments.write:
        RESULTS.write_text(document(found))
    return 0 if passed == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
