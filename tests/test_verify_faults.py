"""The proof is held to account: faults put into generated files by hand are caught and named."""

from pathlib import Path

import pytest
from mutants import verdicts
from mutations.kind import TARGETS, Target
from mutations.tables import HAND_EDITED, table_mutants
from skips import skip_without
from verification import files, network_of, verify_together

MODULES = ("torch", "tensorflow", "flax", "onnxruntime")

pytestmark = pytest.mark.frameworks


@pytest.mark.parametrize(("target", "module"), list(zip(TARGETS, MODULES, strict=True)))
def test_faults_are_caught_and_named(target: Target, module: str, tmp_path: Path) -> None:
    """In inference and in training; and what has none passes."""
    skip_without(module)
    networks = {spec: network_of(spec, tmp_path) for spec in HAND_EDITED}
    untouched = [
        files(network, tmp_path / network.name, spec=spec) for spec, network in networks.items()
    ]
    assert {each["status"] for each in verify_together(target, untouched).values()} == {"passed"}
    made = list(table_mutants(target))
    missed = [each.missed for each in verdicts(target, networks, made, tmp_path)]
    assert missed == [None] * len(made)
