"""Looks for what nobody thought of: `python tests/fuzz.py [--seed N] [--specs N] [--bytes N]`.

Specs are drawn from the language. Each valid one has to hold what `test_spec_space` says, and some
are verified, in PyTorch in training too. Then specs and weights files that are right are damaged at
random, those that a library parses included, and so are the names and shapes in whole weights
files: reading them has to give a diagnostic, or what they now mean. It is `unforeseen` where only a
library's own words were left to say. It prints what it did, and anything that came of it is a
finding, with what reproduces it.
"""

import argparse
import json
import platform
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from damage import (
    Finding,
    damage,
    damaged,
    other_table,
    read_spec,
    read_weights,
    spec_corpus,
    tables,
    weights_of,
)
from hypothesis import HealthCheck, Phase, given, seed, settings
from library_files import ENDINGS, damage_all, originals
from test_spec_space import (
    drawn,
    test_network_is_sound_and_pytorch_builds_exactly_it,
)
from verification import files, verify_together

from resnetgen.lower import lower
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import load, meaning
from resnetgen.spec.source import parse
from resnetgen.verify.document import Level

RUNS: tuple[tuple[str, Level], ...] = (
    *(("torch", "forward"), ("onnx", "forward"), ("torch", "train")),
    *((target, "forward") for target in ("keras-tensorflow", "keras-jax", "keras-torch", "flax")),
)
EVERYWHERE = 10
"""Of so many specs that are verified in PyTorch and ONNX, one is in the other targets too."""
MOST_LAYERS = 150
"""Deeper networks would take most of the time."""
VERSIONS = ("hypothesis", "numpy", "torch", "onnx", "onnxruntime", "keras", "jax", "flax")


class Specs:
    """Draws specs, holds each to what is true of all, and keeps some to verify."""

    def __init__(self, count: int, random_seed: int, kept: int) -> None:
        self.count, self.seed = count, random_seed
        self.every = max(1, count // kept) if kept else count + 1
        self.drawn = 0
        self.kept: list[dict[str, Any]] = []
        self.seeds: dict[str, int] = {}
        """With which each of those is verified, by its name: on weights and images of its own."""

    def run(self) -> Iterator[Finding]:
        """What does not hold, at the first spec of which it does not."""
        holds = test_network_is_sound_and_pytorch_builds_exactly_it.hypothesis.inner_test

        @seed(self.seed)
        @settings(
            settings.get_profile("default"),
            max_examples=self.count,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(document=drawn)
        def each(document: dict[str, Any]) -> None:
            holds(document)
            self.drawn += 1
            if self.drawn % self.every == 0:
                self.kept.append(document)

        try:
            each()
        except Exception:
            yield {"of": "specs", "what": traceback.format_exc()}

    def verify(self) -> tuple[Counter[str], list[Finding]]:
        """How many were verified in each target, and which of them failed there."""
        done: Counter[str] = Counter()
        found: list[Finding] = []
        with tempfile.TemporaryDirectory() as name:
            directories: list[Path] = []
            for number, document in enumerate(self.kept):
                text = json.dumps({**document, "name": f"drawn{number}"})
                # As if all were inherited, which may have no effect.
                text = to_yaml(meaning(parse(text, file="drawn")))
                path = Path(name, f"drawn{number}.yaml")
                path.write_text(text)
                network = lower(load(str(path)).spec)
                if network.depth <= MOST_LAYERS:
                    directories.append(files(network, path.with_suffix(""), spec=text))
                    self.seeds[network.name] = number
            for target, level in RUNS:
                few = target in ("torch", "onnx")
                chosen = directories if few else directories[::EVERYWHERE]
                if level == "train":
                    # Of one class there is no gradient.
                    chosen = [each for each in chosen if _classes(each) > 1]
                for directory, result in self._together(target, level, chosen):
                    done[f"{target}, {level}"] += 1
                    if result["status"] != "passed":
                        spec = Path(name, f"{directory}.yaml").read_text()
                        what = f"{result['reason']} (seed {self.seeds[directory]}): {spec}"
                        found.append({"of": f"{target}, {level}", "what": what})
        return done, found

    def _together(
        self, target: str, level: Level, directories: Sequence[Path]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each directory's result; where the verifier breaks off, each by itself."""
        try:
            seeds = [self.seeds[each.name] for each in directories]
            yield from verify_together(target, directories, level=level, seeds=seeds).items()
        except AssertionError as error:
            if len(directories) == 1:
                broken = {"status": "broke off", "reason": str(error)}
                yield directories[0].name, broken
                return
            for directory in directories:
                yield from self._together(target, level, [directory])


def _classes(directory: Path) -> int:
    return load(str(directory / "spec.yaml")).spec.classes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="by default another one each time")
    parser.add_argument("--specs", type=int, default=5000, help="valid specs to draw")
    parser.add_argument("--verified", type=int, default=200, help="how many of them to verify")
    parser.add_argument(
        "--bytes",
        type=int,
        default=50_000,
        help="files to damage, of each kind; a tenth of that in names and shapes, and of those "
        "that a library parses",
    )
    parser.add_argument("--json", type=Path, help="where to write what was done, too")
    arguments = parser.parse_args()
    chosen = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed

    start = time.monotonic()
    print(f"seed {chosen}", flush=True)
    specs = Specs(arguments.specs, chosen, arguments.verified)
    findings = list(specs.run())
    print(f"{specs.drawn:,} valid specs were drawn", flush=True)
    verified, more = specs.verify()
    findings += more
    print("verified: " + "; ".join(f"{count} in {name}" for name, count in verified.items()))
    damaged_files: dict[str, dict[str, int]] = {}
    texts, known = spec_corpus(), tables()
    weights = [weights_of(table) for table in known]

    def spec(chance: random.Random) -> bytes:
        return damaged(chance.choice(texts), chance, texts)

    def weights_file(chance: random.Random) -> bytes:
        return damaged(chance.choice(weights), chance, weights)

    def whole_file(chance: random.Random) -> bytes:
        return weights_of(other_table(chance.choice(known), chance))

    def note(what: str, outcomes: Counter[str], more: Sequence[Finding]) -> None:
        findings.extend(more)
        damaged_files[what] = dict(sorted(outcomes.items()))
        said = ", ".join(f"{count:,} {name}" for name, count in damaged_files[what].items())
        print(f"damaged {what}: {said}", flush=True)

    # Hardly a file of damaged bytes has a table that can be read: these have, and take longer.
    for what, suffix, make, read, count in (
        (".yaml", ".yaml", spec, read_spec, arguments.bytes),
        (".safetensors", ".safetensors", weights_file, read_weights, arguments.bytes),
        ("names and shapes", ".safetensors", whole_file, read_weights, arguments.bytes // 10),
    ):
        note(what, *damage(what, suffix, make, read, count=count, random_seed=chosen))
    for ending in ENDINGS:
        library = originals(ending, weights)
        few = arguments.bytes // 10
        note(ending, *damage_all(ending, library, count=few, random_seed=chosen))
    for finding in findings:
        print(f"\nfinding in {finding['of']}:\n{finding['what']}")
    print(f"{len(findings)} findings")
    if arguments.json is not None:
        document = {
            "command": "python tests/fuzz.py " + " ".join(sys.argv[1:]),
            "seed": chosen,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in VERSIONS},
            "seconds": round(time.monotonic() - start),
            "valid_specs": specs.drawn,
            "verified": dict(verified),
            "damaged": damaged_files,
            "findings": findings,
        }
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
