"""Looks for what nobody thought of: `python tests/fuzz.py [--seed N] [--specs N] [--bytes N]`.

Specs are drawn from the language. Each valid one has to hold what `test_spec_space` says, and some
are verified, in PyTorch in training too. Then specs and weights files that are right are damaged at
random, and so are the names and shapes in whole weights files: reading them has to give a
diagnostic, or what they now mean. It prints what it did, and anything that came of it is a finding,
with what reproduces it.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from safetensors.numpy import save
from test_spec_space import (
    drawn,
    test_network_is_sound_and_pytorch_builds_exactly_it,
)
from verification import files, verify_together

from resnetgen.diagnostics import DiagnosticError
from resnetgen.ir.rules import Shape, network_parameters
from resnetgen.lower import feasibility, lower
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import bundled, load, meaning
from resnetgen.spec.source import parse
from resnetgen.verify.document import Level
from resnetgen.weights.infer import infer, renamed
from resnetgen.weights.open import opened

RUNS: tuple[tuple[str, Level], ...] = (
    *(("torch", "forward"), ("onnx", "forward"), ("torch", "train")),
    *((target, "forward") for target in ("keras-tensorflow", "keras-jax", "keras-torch", "flax")),
)
EVERYWHERE = 10
"""Of so many specs that are verified in PyTorch and ONNX, one is in the other targets too."""
MOST_LAYERS = 60
"""Deeper networks would take most of the time."""
LARGEST_FILE = 20_000
"""In bytes: longer corpus files would be damaged in what they repeat."""
PIECES = (b"0", b"-1", b"1e9", b"null", b"[", b"]", b"{", b"}", b": ", b"\n", b"- ", b"\t", b"&a ",
         b"*a", b"!!int ", b"'", b'"', b"#", b"<<: ", b"\xc3\xa9", b"\xff", b"\x00", b"..", b"%",
         b"stages", b"extends: resnet18\n", b"depth: 50\n", b"true", b"NaN", b"0x10",
         b"1_0")  # fmt: skip
"""What is put in: most of it means something in YAML or in the language."""

VERSIONS = ("hypothesis", "numpy", "torch", "onnx", "onnxruntime", "keras", "jax", "flax")
Finding = dict[str, str]
Table = dict[str, Shape]


class Specs:
    """Draws specs, holds each to what is true of all, and keeps some to verify."""

    def __init__(self, count: int, random_seed: int, kept: int) -> None:
        self.count, self.seed = count, random_seed
        self.every = max(1, count // kept) if kept else count + 1
        self.drawn = 0
        self.kept: list[dict[str, Any]] = []

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
                        what = f"{result['reason']}: {spec}"
                        found.append({"of": f"{target}, {level}", "what": what})
        return done, found

    def _together(
        self, target: str, level: Level, directories: Sequence[Path]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each directory's result; where the verifier breaks off, each by itself."""
        try:
            yield from verify_together(target, directories, level=level).items()
        except AssertionError as error:
            if len(directories) == 1:
                broken = {"status": "broke off", "reason": str(error)}
                yield directories[0].name, broken
                return
            for directory in directories:
                yield from self._together(target, level, [directory])


def _classes(directory: Path) -> int:
    return load(str(directory / "spec.yaml")).spec.classes


def damaged(original: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    """The bytes with one to four changes: flipped, cut, doubled, put in, or exchanged."""
    data = bytearray(original)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((1, 1, 2, 4, 16, 64)))
        match chance.randrange(6):
            case 0 if data:
                data[start % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                del data[start:end]
            case 2:
                data[start:start] = data[start:end]
            case 3:
                data[start:end] = chance.choice(PIECES)
            case 4:
                data[start:start] = chance.choice(PIECES)
            case _:
                other = chance.choice(others)
                data[start:end] = other[start:end]
    return bytes(data)


def read_spec(path: Path) -> str:
    """What became of a spec; anything but a diagnostic or a meaning is raised."""
    try:
        spec = load(str(path)).spec
    except DiagnosticError as error:
        unprintable = [line for line in error.render().splitlines() if not line.isprintable()]
        if unprintable:
            raise ValueError(unprintable) from error
        return "refused"
    problems = list(feasibility.problems(spec))
    again = path.with_name("again.yaml")
    again.write_text(to_yaml(spec))
    assert load(str(again)).spec == spec, "the resolved spec means something else"
    return "refused" if problems else "valid"


def read_weights(path: Path) -> str:
    """What became of a weights file, read as `infer` reads it."""
    try:
        with opened(path, batch_norm=False) as file:
            shapes = file.shapes
        known = renamed(shapes)
        infer(shapes if known is None else known.shapes, name="found")
    except DiagnosticError:
        return "refused"
    return "valid"


def damage(
    what: str,
    suffix: str,
    make: Callable[[random.Random], bytes],
    read: Callable[[Path], str],
    *,
    count: int,
    random_seed: int,
) -> tuple[Counter[str], list[Finding]]:
    """Damages files `count` times, and reads each; how often it was what, and what was neither."""
    chance = random.Random(random_seed)
    outcomes: Counter[str] = Counter()
    found: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"damaged{suffix}")
        for _ in range(count):
            data = make(chance)
            path.write_bytes(data)
            try:
                outcomes[read(path)] += 1
            except Exception:
                outcomes["finding"] += 1
                found.append({"of": what, "what": f"{traceback.format_exc()}\n{data!r}"})
    return outcomes, found


def spec_corpus() -> list[bytes]:
    """The bundled specs, those that are invalid in a known way, and all that is resolved."""
    bad = Path(__file__).parent / "invalid_specs"
    texts = [path.read_bytes() for path in sorted(bad.glob("*.yaml"))]
    for name in bundled():
        loaded = load(name)
        texts += [Path(loaded.path).read_bytes(), to_yaml(loaded.spec).encode()]
    return [text for text in texts if len(text) <= LARGEST_FILE]


def tables() -> list[Table]:
    """The names and shapes of small networks' tensors."""
    small = ("stem.width=1", *(f"stages.{index}.width=1" for index in range(3)))
    kinds = ((), ("attention=se",), ("attention=eca",), ("block=bottleneck",), ("order=pre",))
    networks = [lower(load("resnet20", overrides=(*small, *kind)).spec) for kind in kinds]
    return [{each.name: each.shape for each in network_parameters(network)} for network in networks]


def weights_of(table: Table) -> bytes:
    return save({name: np.zeros(shape, np.float32) for name, shape in table.items()})


def other_table(table: Table, chance: random.Random) -> Table:
    """The table with a few names or shapes changed, as one of another network has them, or none."""
    found = dict(table)
    for _ in range(chance.randint(1, 3)):
        names = list(found)
        if not names:
            break
        name = chance.choice(names)
        shape = found[name]
        match chance.randrange(7):
            case 0:
                del found[name]
            case 1:
                found[_renumbered(name, chance)] = shape
            case 2:
                found[_renumbered(name, chance)] = found.pop(name)
            case 3 if shape:
                axis = chance.randrange(len(shape))
                extent = chance.choice((0, 1, 2, 3, shape[axis] + 1, 2 * shape[axis], 7))
                found[name] = (*shape[:axis], extent, *shape[axis + 1 :])
            case 4:
                found[name] = chance.choice((shape[1:], (*shape, 1), (*shape, 3), shape[::-1]))
            case 5:
                other = chance.choice(names)
                found[name], found[other] = found[other], shape
            case _:
                start = name[: chance.randint(1, len(name))]
                found = {each: found[each] for each in names if not each.startswith(start)}
    return found


def _renumbered(name: str, chance: random.Random) -> str:
    """The name with another number in it, or with a word of another's."""
    digits = [place for place, each in enumerate(name) if each.isdigit()]
    if digits and chance.random() < 0.7:
        place = chance.choice(digits)
        return f"{name[:place]}{chance.choice((0, 1, 2, 3, 5, 9, 10, 10**6))}{name[place + 1 :]}"
    words = ("conv1", "bn1", "downsample.0", "downsample.1", "se.fc1", "conv", "attn", "0", "fc")
    parts = name.split(".")
    parts[chance.randrange(len(parts))] = chance.choice(words)
    return ".".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="by default another one each time")
    parser.add_argument("--specs", type=int, default=5000, help="valid specs to draw")
    parser.add_argument("--verified", type=int, default=200, help="how many of them to verify")
    parser.add_argument(
        "--bytes",
        type=int,
        default=50_000,
        help="files to damage, of each kind; a tenth of that in names and shapes",
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

    # Hardly a file of damaged bytes has a table that can be read: these have, and take longer.
    for what, suffix, make, read, count in (
        (".yaml", ".yaml", spec, read_spec, arguments.bytes),
        (".safetensors", ".safetensors", weights_file, read_weights, arguments.bytes),
        ("names and shapes", ".safetensors", whole_file, read_weights, arguments.bytes // 10),
    ):
        outcomes, more = damage(what, suffix, make, read, count=count, random_seed=chosen)
        findings += more
        damaged_files[what] = dict(sorted(outcomes.items()))
        said = ", ".join(f"{count:,} {name}" for name, count in damaged_files[what].items())
        print(f"damaged {what}: {said}", flush=True)
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
