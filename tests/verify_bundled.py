"""Verifies the bundled networks in every target: `python tests/verify_bundled.py [NAME...]`.

Builds each without its weights, as `resnetgen build NAME --no-weights` does, and says of each
target how closely it agrees with the compiler's own interpreter. Fails where one does not pass.
A framework is imported once for several networks.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from verification import verify_together
from versions import versions

from resnetgen.ir.summary import total
from resnetgen.pipeline import compile_spec
from resnetgen.spec.load import bundled
from resnetgen.verify.cores import cores

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "bundled.md"
COMMAND = "python tests/verify_bundled.py --write"
TARGETS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch", "flax", "onnx")
MOST_TOGETHER = 8
MOST_PARAMETERS = 150_000_000
"""Of all networks that are verified in one process."""


@dataclass(frozen=True)
class Verified:
    """A network, and what became of it in each target."""

    name: str
    params: int
    targets: Mapping[str, Mapping[str, Any]]

    @property
    def row(self) -> str:
        """In each target the largest difference, or what came instead."""
        cells = " | ".join(_cell(self.targets[target]) for target in TARGETS)
        return f"| {self.name} | {self.params:,} | {cells} |"

    @property
    def passed(self) -> bool:
        """In all targets: one that did not run has verified nothing."""
        return all(self.targets[target]["status"] == "passed" for target in TARGETS)


def _cell(result: Mapping[str, Any]) -> str:
    if result["status"] != "passed":
        return f"{result['status']}: {result['reason'] or result['first_divergence']}"
    return f"{result['max_rel_diff']:.1e} ({result['dtype']})"


def batches(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The names of networks that are verified together; small ones first."""
    batch = list[str]()
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        together = sum(sizes[each] for each in (*batch, name))
        if batch and (len(batch) == MOST_TOGETHER or together > MOST_PARAMETERS):
            yield batch
            batch = []
        batch.append(name)
    yield batch


def verified(names: Sequence[str]) -> Iterator[Verified]:
    """Builds and verifies the networks, and keeps none of them."""
    sizes = {name: total(compile_spec(name).network).trainable for name in names}
    for batch in batches(sizes):
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(cores()) as pool:
            command = ("build", *batch, "--no-verify", "--no-weights", "--output", folder)
            subprocess.run(
                [sys.executable, "-m", "resnetgen", *command],
                stdout=subprocess.DEVNULL,
                check=True,
            )
            built = [Path(folder, name) for name in batch]
            results = list(pool.map(verify_together, TARGETS, repeat(built)))
        for name in batch:
            found = {target: each[name] for target, each in zip(TARGETS, results, strict=True)}
            yield Verified(name, sizes[name], found)


def document(found: Sequence[Verified]) -> str:
    """All of it as a page, with what is needed to find it again."""
    rows = "\n".join(each.row for each in found)
    return (
        "# Bundled networks\n\n"
        "Each network that ships with resnetgen was built and verified in every target, with "
        "weights and inputs that the seed draws. "
        f"`{COMMAND}` finds this again and writes it.\n\n"
        f"{summary(found)}.\n\n"
        "In each cell: the largest difference from the compiler's own interpreter, as a part of "
        "the value's scale, and the type in which the target computed.\n\n"
        f"| network | parameters | {' | '.join(TARGETS)} |\n"
        f"|---|---:|{'---|' * len(TARGETS)}\n"
        f"{rows}\n\n"
        f"{versions('torch', 'keras', 'tensorflow', 'flax', 'jax', 'onnx', 'onnxruntime')}.\n"
    )


def summary(found: Sequence[Verified]) -> str:
    passed = sum(each.passed for each in found)
    return f"{passed} of {len(found)} passed in all {len(TARGETS)} targets"


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
    found: list[Verified] = []
    for each in verified(names):
        print(each.row, flush=True)
        found.append(each)
    print(summary(found))
    if arguments.write:
        RESULTS.write_text(document(found))
    return 0 if all(each.passed for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
