"""Holds the proof to account: `python tests/mutants.py [--kind NAME] [--target NAME] [--write]`.

Puts one fault at a time into the files of small networks, and verifies each of these mutants. Says
for each kind of fault whether it was caught, whether the layer named is the one that was changed,
and whether the cause is. Fails where a mutant that computes something else passes, and where
another layer is named or another cause.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from mutations import KINDS
from mutations.kind import TARGETS, Mutant, Target, mutants
from mutations.networks import SPECS
from mutations.stored import stored_mutants
from mutations.tables import table_mutants
from verification import files, network_of, verify_together
from versions import versions

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op
from resnetgen.ir.rules import parameters
from resnetgen.verify.cases import drawn_cases
from resnetgen.verify.cores import cores
from resnetgen.verify.numbers import Drawn
from resnetgen.verify.reference import Array, Tensors, run

SEED = 0
OTHER_SEEDS = (1, 2, 3, 4)
FEWEST_KINDS = 120
RESULTS = Path(__file__).parent.parent / "docs" / "results" / "mutants.md"
_AT_A_TIME = 40
"""How many mutants one process verifies."""


@dataclass(frozen=True)
class Verdict:
    """What the verifier made of a mutant."""

    mutant: Mutant
    result: Mapping[str, Any]

    @property
    def caught(self) -> bool:
        return self.result["status"] == "failed"

    @property
    def layer_named(self) -> bool:
        """Whether the layer found is the one that was changed.

        It may be one of several in a row where gradients alone show it, that are known in front of
        them and behind.
        """
        found, wanted = self.result["first_divergence"], self.mutant.layer
        may_be_one_of = self.mutant.level == "train" and not self.mutant.exact
        is_one_of = may_be_one_of and wanted in (found or "").split("+")
        return self.caught and (found == wanted or is_one_of)

    @property
    def cause_found(self) -> bool:
        """Whether the cause has the words that were expected; a reason may say all by itself, but
        for an exact mutant."""
        if self.mutant.cause is None:
            return False
        otherwise = None if self.mutant.exact else self.result["reason"]
        said = self.result["cause"] or otherwise or ""
        return self.caught and any(words in said for words in self.mutant.cause.split(" | "))

    @property
    def missed(self) -> str | None:
        """What of it was not found, if anything, and what was instead."""
        mutant, result = self.mutant, self.result
        checks = {
            "passed": self.caught,
            "layer": self.layer_named,
            "cause": self.cause_found or mutant.cause is None,
            "reason": (mutant.reason or "") in (result["reason"] or ""),
        }
        wrong = next((what for what, holds in checks.items() if not holds), None)
        if wrong is None:
            return None
        found = f"{result['first_divergence']}: {result['cause']} ({result['reason']})"
        return f"{mutant.target}: {mutant.kind} in {mutant.layer}, wrong {wrong}: {found}"


def every_mutant(networks: Mapping[str, Network], target: Target, *, most: int) -> list[Mutant]:
    """Those of kinds, in so many networks each, and those that were written by hand."""
    return [
        *mutants(KINDS, networks, target, most=most),
        *table_mutants(target),
        *stored_mutants(target),
    ]


def verdicts(
    target: Target, networks: Mapping[str, Network], wanted: Sequence[Mutant], folder: Path
) -> Iterator[Verdict]:
    """Verifies the mutants, those of a level together."""
    for level, alike in groupby(
        sorted(wanted, key=lambda each: each.level), lambda each: each.level
    ):
        numbered = list(enumerate(alike))
        for start in range(0, len(numbered), _AT_A_TIME):
            batch = {}
            for number, mutant in numbered[start : start + _AT_A_TIME]:
                network = networks[mutant.spec]
                directory = files(
                    network, folder / f"{level}-{number}-{mutant.kind}", spec=mutant.spec
                )
                mutant.write(directory)
                batch[directory] = mutant
            results = verify_together(target, list(batch), level=level)
            yield from (Verdict(mutant, results[each.name]) for each, mutant in batch.items())


def is_equivalent(mutant: Mutant, network: Network) -> bool:
    """Whether the interpreter computes the very same with what the op becomes: of other weights and
    images than those on which the verifier saw no difference."""
    if mutant.becomes is None:
        return False
    changed = [mutant.becomes if op.name == mutant.layer else op for op in network.ops]
    return all(_computes_the_same(network, changed, seed=seed) for seed in OTHER_SEEDS)


def _computes_the_same(network: Network, changed: Sequence[Op], *, seed: int) -> bool:
    drawn = Drawn(network, seed=seed)
    cases = drawn_cases(network, seed=seed)
    for _ in drawn.walk(cases[0].image):
        pass

    def tensors(op: Op, _: tuple[Array, ...]) -> Tensors:
        return {each.kind: drawn.tensors[each.name].astype(np.float64) for each in parameters(op)}

    def logits(ops: Iterable[Op], image: Array) -> Array:
        *_, (_, value) = run(ops, {network.stem[0].name: image}, tensors=tensors)
        return value

    return all(
        np.array_equal(logits(network.ops, case.image), logits(changed, case.image))
        for case in cases
    )


@dataclass
class Tally:
    """How many mutants there are, and what became of them."""

    mutants: int = 0
    equivalent: int = 0
    caught: int = 0
    layer_named: int = 0
    cause_known: int = 0
    cause_found: int = 0
    missed: int = 0
    """Those of which anything was not found that was due."""

    def count(self, verdict: Verdict, *, equivalent: bool) -> None:
        self.mutants += 1
        self.equivalent += equivalent
        self.caught += verdict.caught
        self.layer_named += verdict.layer_named
        self.cause_known += verdict.mutant.cause is not None and not equivalent
        self.cause_found += verdict.cause_found
        self.missed += not equivalent and verdict.missed is not None

    @property
    def due(self) -> int:
        """Those that compute something else."""
        return self.mutants - self.equivalent


@dataclass(frozen=True)
class Score:
    """What was found, by kind and target."""

    kinds: Mapping[str, Mapping[Target, Tally]]

    @property
    def total(self) -> Tally:
        total = Tally()
        for by_target in self.kinds.values():
            for tally in by_target.values():
                total.mutants += tally.mutants
                total.equivalent += tally.equivalent
                total.caught += tally.caught
                total.layer_named += tally.layer_named
                total.cause_known += tally.cause_known
                total.cause_found += tally.cause_found
                total.missed += tally.missed
        return total

    @property
    def passed(self) -> bool:
        """All that computes something else is caught, at the right layer, with its cause and for
        the right reason, and no kind is always equivalent."""
        suffered = all(
            any(tally.caught for tally in by_target.values()) for by_target in self.kinds.values()
        )
        return suffered and self.total.missed == 0


def score(found: Iterable[Verdict], networks: Mapping[str, Network]) -> Score:
    """Counts the verdicts, and says of each as it comes what it missed."""
    kinds: dict[str, dict[Target, Tally]] = {}
    for verdict in found:
        mutant = verdict.mutant
        network = networks[mutant.spec]
        equivalent = not verdict.caught and is_equivalent(mutant, network)
        tally = kinds.setdefault(mutant.kind, {}).setdefault(mutant.target, Tally())
        tally.count(verdict, equivalent=equivalent)
        if not equivalent and verdict.missed is not None:
            print(f"{network.name}, {verdict.missed}", flush=True)
    return Score(kinds)


def table(found: Score) -> str:
    """A row for each kind: mutants that compute something else, caught, layer, cause."""
    lines = [
        f"| kind | {' | '.join(TARGETS)} | equivalent |",
        f"|---|{'---|' * len(TARGETS)}---|",
    ]
    for kind, by_target in sorted(found.kinds.items()):
        cells = [_cell(by_target.get(target)) for target in TARGETS]
        equivalent = sum(tally.equivalent for tally in by_target.values())
        lines.append(f"| {kind} | {' | '.join(cells)} | {equivalent or ''} |")
    return "\n".join(lines)


def _cell(tally: Tally | None) -> str:
    if tally is None:
        return ""
    return f"{tally.due}: {tally.caught}, {tally.layer_named}, {tally.cause_found}"


def summary(found: Score) -> str:
    total = found.total
    return (
        f"{len(found.kinds)} kinds, {total.mutants} mutants, of which {total.equivalent} compute "
        f"the same; of the other {total.due}, {total.caught} were caught, the layer was named "
        f"right for {total.layer_named}, and the cause for {total.cause_found} of the "
        f"{total.cause_known} that have a known one"
    )


def document(found: Score, *, command: str) -> str:
    """All of it as a page, with what is needed to find it again."""
    modules = ("torch", "keras", "tensorflow", "flax", "jax", "onnx", "onnxruntime")
    return (
        "# Mutants\n\n"
        "One fault at a time was put into the files of small networks, and each of these mutants "
        f"was verified. `{command}` finds this again and writes it.\n\n"
        f"{summary(found)}.\n\n"
        "In each cell: how many mutants compute something else: how many of them were caught, of "
        "how many the layer was named, and of how many the cause. A mutant is equivalent where it "
        "passes and the interpreter computes the very same with the changed op, with other weights "
        "and images than it was verified on.\n\n"
        f"{table(found)}\n\n"
        f"{versions(*modules)}; seed {SEED}.\n"
    )


def main() -> int:
    """Runs what is asked for; 1 where the proof is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", action="append", help="only these kinds")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only these targets")
    parser.add_argument("--most", type=int, default=1, help="networks of each kind and target")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    is_whole = arguments.kind is None and arguments.target is None
    if arguments.write and not is_whole:
        parser.error("--write is for all kinds and targets")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        networks = {spec: network_of(spec, folder) for spec in SPECS}

        def of_target(target: Target) -> list[Verdict]:
            made = every_mutant(networks, target, most=arguments.most)
            wanted = [
                each for each in made if arguments.kind is None or each.kind in arguments.kind
            ]
            return list(verdicts(target, networks, wanted, folder / target))

        with ThreadPoolExecutor(max_workers=cores()) as pool:
            # In this order the one that takes longest, Flax, is not begun last.
            of_targets = pool.map(of_target, arguments.target or reversed(TARGETS))
            counted = score(chain.from_iterable(of_targets), networks)
    print(table(counted))
    print(summary(counted))
    if arguments.write:
        command = " ".join(("python tests/mutants.py", *sys.argv[1:]))
        RESULTS.write_text(document(counted, command=command))
    enough = len(counted.kinds) >= (FEWEST_KINDS if is_whole else 1)
    return 0 if counted.passed and enough else 1


if __name__ == "__main__":
    sys.exit(main())
