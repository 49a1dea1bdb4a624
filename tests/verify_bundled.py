"""Verifies the bundled networks in every target: `python tests/verify_bundled.py [NAME...]`.

Builds each without its weights, and says of each target how closely it agrees with the compiler's
own interpreter. Fails where one does not pass. The largest takes up to 20 GB in a target, so it
may need `--jobs 1`. All of them take hours, so with `--write` each row goes into the page as soon
as it is found, and `--resume` leaves out the networks whose rows say there that they passed.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from versions import versions

from resnetgen.ir.network import Network
from resnetgen.ir.summary import total
from resnetgen.pipeline import compile_spec
from resnetgen.spec.load import bundled

RESULTS = Path(__file__).parent.parent / "docs" / "results" / "bundled.md"
COMMAND = "python tests/verify_bundled.py --write"
TARGETS = ("torch", "keras-tensorflow", "keras-jax", "keras-torch", "flax", "onnx")
ROW = re.compile(r"^\| (?P<name>\w+) \| (?P<spec>[0-9a-f]{8}) \|.*$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """What became of a network in each target, as the page has it."""

    text: str
    passed: bool


def verified(network: Network, jobs: Sequence[str]) -> Row:
    """Builds and verifies the network, and keeps nothing of it; `jobs` are options of `verify`."""
    resnetgen = (sys.executable, "-m", "resnetgen")
    with tempfile.TemporaryDirectory() as folder:
        build = ("build", network.name, "--no-weights", "--no-verify", "--output", folder)
        subprocess.run([*resnetgen, *build], stdout=subprocess.DEVNULL, check=True)
        verify = ("verify", f"{folder}/{network.name}", "--json", "--timeout", "3600", *jobs)
        ran = subprocess.run([*resnetgen, *verify], stdout=subprocess.PIPE, check=False)
    results = json.loads(ran.stdout)["verification"]["targets"]
    cells = " | ".join(_cell(results[target]) for target in TARGETS)
    params = total(network).trainable
    passed = all(results[target]["status"] == "passed" for target in TARGETS)
    return Row(f"| {network.name} | {_spec(network)} | {params:,} | {cells} |", passed)


def _cell(result: Mapping[str, Any]) -> str:
    if result["status"] != "passed":
        return f"**{result['status']}**: {result['reason'] or result['first_divergence']}"
    return f"{result['max_rel_diff']:.1e} ({result['dtype']})"


def _spec(network: Network) -> str:
    """What tells whether a row is about the network as it is now."""
    return network.spec_sha256[:8]


def known(networks: Mapping[str, Network]) -> dict[str, Row]:
    """The rows of the page that were found for these networks, with the versions that are here."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    if _versions() not in text:
        return {}
    return {
        found["name"]: Row(found[0], "**" not in found[0])
        for found in ROW.finditer(text)
        if found["name"] in networks and found["spec"] == _spec(networks[found["name"]])
    }


def document(rows: Mapping[str, Row], names: Sequence[str]) -> str:
    """The page, with what is needed to find it again."""
    there = [rows[name] for name in names if name in rows]
    lines = "\n".join(row.text for row in there)
    absent = [name for name in names if name not in rows]
    not_run = f"Not run yet: {', '.join(absent)}.\n\n" if absent else ""
    return (
        "# Bundled networks\n\n"
        "Each of these networks was built and verified in every target, with weights and inputs "
        f"that the seed draws. `{COMMAND}` finds this again and writes it.\n\n"
        f"{summary(there)}; {len(names)} networks ship with resnetgen.\n\n"
        f"{not_run}"
        "In each cell: the largest difference from the compiler's own interpreter, as a part of "
        "the value's scale, and the type in which the target computed.\n\n"
        f"| network | spec | parameters | {' | '.join(TARGETS)} |\n"
        f"|---|---|---:|{'---|' * len(TARGETS)}\n"
        f"{lines}\n\n"
        f"{_versions()}.\n"
    )


def summary(rows: Sequence[Row]) -> str:
    passed = sum(each.passed for each in rows)
    return f"{passed} of {len(rows)} passed in all {len(TARGETS)} targets"


def _versions() -> str:
    return versions("torch", "keras", "tensorflow", "flax", "jax", "onnx", "onnxruntime")


def main() -> int:
    """Runs what is asked for; 1 where a network did not pass in a target."""
    parser = argparse.ArgumentParser(description="Verify bundled networks in every target.")
    parser.add_argument("name", nargs="*", help="networks to verify; by default all")
    parser.add_argument("--write", action="store_true", help=f"put the rows into {RESULTS.name}")
    parser.add_argument("--resume", action="store_true", help="leave out those that passed there")
    parser.add_argument("--jobs", type=int, help="targets to run at a time")
    arguments = parser.parse_args()
    jobs = () if arguments.jobs is None else ("--jobs", str(arguments.jobs))
    networks = {name: compile_spec(name).network for name in bundled()}
    names = sorted(networks, key=lambda name: (total(networks[name]).trainable, name))
    unknown = [name for name in arguments.name if name not in networks]
    if unknown:
        parser.error(f"no bundled network is called {', '.join(unknown)}")
    rows = known(networks)
    chosen = [name for name in names if name in (arguments.name or names)]
    if arguments.resume:
        chosen = [name for name in chosen if name not in rows or not rows[name].passed]
    found: list[Row] = []
    for name in chosen:
        found.append(verified(networks[name], jobs))
        print(found[-1].text, flush=True)
        if arguments.write:
            rows[name] = found[-1]
            RESULTS.write_text(document(rows, names))
    print(summary(found))
    return 0 if all(each.passed for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
