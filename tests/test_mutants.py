"""A few of the mutants that `make mutants` scores, and that all of them are what they should be."""

import ast
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import onnx
import pytest
from mutants import FEWEST_KINDS, RESULTS, every_mutant, is_equivalent, verdicts
from mutations import KINDS
from mutations.kind import FILES, TARGETS, Kind, Mutant, Target, mutants
from mutations.networks import GROUPED, PREACTIVATED, SPECS
from mutations.stored import stored_mutants
from skips import skip_without
from verification import TINY, files, network_of

from resnetgen.ir.network import Network

Networks = Mapping[str, Network]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    folder = tmp_path_factory.mktemp("specs")
    return {spec: network_of(spec, folder) for spec in SPECS}


def named(*names: str) -> Iterator[Kind]:
    return (kind for kind in KINDS if kind.name in names)


def test_there_are_many_kinds_and_each_has_a_name_of_its_own() -> None:
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names) >= FEWEST_KINDS


def test_every_kind_can_be_put_into_whatever_can_suffer_it(
    networks: Networks, tmp_path: Path
) -> None:
    """Into its file of each target that suffers it, which stays Python or a graph."""
    built = {
        spec: files(network, tmp_path / network.name, spec=spec, weights=False)
        for spec, network in networks.items()
    }
    for target in TARGETS:
        suffered = {kind.name for kind in KINDS if kind.edit(target) is not None}
        made = list(mutants(KINDS, networks, target, most=len(SPECS)))
        assert {mutant.kind for mutant in made} == suffered
        for mutant in made:
            path = built[mutant.spec] / FILES[target]
            if path.suffix == ".py":
                changed = mutant.change(path.read_text())
                assert changed != path.read_text(), mutant.kind
                ast.parse(changed)
            else:
                model = onnx.load(path, load_external_data=False)
                before = model.SerializeToString()
                mutant.change(model)
                assert model.SerializeToString() != before, mutant.kind


def test_page_of_the_last_whole_run_has_every_kind(networks: Networks) -> None:
    rows = re.findall(r"^\| ([a-z0-9-]+) \|", RESULTS.read_text(), re.MULTILINE)
    made = chain.from_iterable(every_mutant(networks, target, most=1) for target in TARGETS)
    assert rows == ["kind", *sorted({mutant.kind for mutant in made})]


def test_what_computes_the_same_is_no_fault(networks: Networks) -> None:
    """Zeros around a max pool: as good as less than all numbers, but only behind a ReLU."""

    def equivalent(spec: str) -> bool:
        (mutant,) = mutants(named("zeros-around-the-pool"), {spec: networks[spec]}, "onnx", most=1)
        return is_equivalent(mutant, networks[spec])

    assert equivalent(TINY)
    assert not equivalent(PREACTIVATED)


REPRESENTATIVE: list[tuple[Target, str, tuple[str, ...]]] = [
    (
        "torch",
        "torch",
        (
            "activation-before-the-sum",
            "epsilon-of-keras",
            "half-precision",
            "one-group",
            "other-layers-weights",
            "shared-layer",
            "swapped-mean-and-variance",
        ),
    ),
    ("torch", "torch", ("detached-statistics",)),
    ("keras-tensorflow", "tensorflow", ("any-size-is-tanh", "fixed-size-is-tanh")),
    ("keras-tensorflow", "tensorflow", ("fixed-size-swaps-the-momentum",)),
    ("flax", "flax", ("smaller-pool",)),
    ("onnx", "onnxruntime", ("other-pixels", "wrapped-padding")),
]


@pytest.mark.frameworks
@pytest.mark.parametrize(("target", "module", "names"), REPRESENTATIVE)
def test_representative_mutants_are_caught_and_named(
    target: Target, module: str, names: tuple[str, ...], networks: Networks, tmp_path: Path
) -> None:
    skip_without(module)
    made: list[Mutant] = list(mutants(named(*names), networks, target, most=1))
    if "epsilon-of-keras" in names:
        # Of a group norm, too.
        made += mutants(named("epsilon-of-keras"), {GROUPED: networks[GROUPED]}, target, most=1)
    assert {each.kind for each in made} == {*names}

    found = list(verdicts(target, networks, made, tmp_path))

    assert [each.missed for each in found] == [None] * len(made)


@pytest.mark.frameworks
def test_faults_of_the_weights_file_are_caught_and_named(
    networks: Networks, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    made = list(stored_mutants("onnx"))
    found = list(verdicts("onnx", networks, made, tmp_path))
    assert [each.missed for each in found] == [None] * len(made)
