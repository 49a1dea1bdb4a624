"""Specs off the beaten track, built and verified through the command line."""

import json
from pathlib import Path

import pytest
from commands import Run
from test_emission import ODD_SPECS

pytestmark = pytest.mark.frameworks

# Every block pads its shortcut, with different strides; and a network named like a helper of 5x5
# convolutions would be.
ALWAYS_PADDED = """
name: always_padded
input: {channels: 3, size: 8}
classes: 4
stem: {width: 4, kernel: 3, stride: 1, pool: none}
block: [{kernel: 5}, {kernel: 5}]
shortcut: zero_pad
stages:
  - {name: conv2_x, repeats: 1, width: 8, stride: 2}
  - {name: conv3_x, repeats: 1, width: 12, stride: 1}
"""

# A plain network amplifies rounding, and fresh residual weights add it up: neither is a fault.
DEEP_PLAIN = """
name: deep_plain
input: {channels: 3, size: 8}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
shortcut: none
stages:
  - {name: conv2_x, repeats: 40, width: 8, stride: 1}
"""
VERIFIED = (
    "mixed",
    "staged_groups",
    "bare",
    "knobs",
    "other_knobs",
    "blurred",
    "striding",
    "preactivated",
    "filtered",
    "strided_last",
    "unactivated",
    "grouped_norms",
    "pruned",
    "without_norms",
    "keras_biases",
    "dilated",
    "dilated_filters",
    "dropping",
    "pooled",
    "smooth",
    "curved",
)

# Behind a stride of 3 a blur gives as much as its shortcut for one size in three, so no image of
# the usual sizes fits this network.
PICKY = """
name: picky
input: {channels: 3, size: 28}
classes: 4
stem: {width: 4, kernel: 3, stride: 1, pool: none}
block: basic
anti_alias: blur
stages:
  - {name: conv2_x, repeats: 1, width: 4, stride: 3}
  - {name: conv3_x, repeats: 1, width: 8, stride: 3}
"""
ALL = "torch,keras,flax,onnx"
DEEP_RESIDUAL = (
    DEEP_PLAIN.replace("deep_plain", "deep_residual")
    .replace("shortcut: none", "shortcut: projection")
    .replace("repeats: 40", "repeats: 300")
)


@pytest.mark.parametrize(
    ("name", "document", "targets"),
    [
        *((name, ODD_SPECS[name], ALL) for name in VERIFIED),
        ("always_padded", ALWAYS_PADDED, ALL),
        ("picky", PICKY, "torch,onnx"),
        ("deep_plain", DEEP_PLAIN, "torch,onnx"),
        ("deep_residual", DEEP_RESIDUAL, "torch,onnx"),
    ],
)
def test_unusual_spec_is_proven(name: str, document: str, targets: str, resnetgen: Run) -> None:
    Path("spec.yaml").write_text(document)
    ran = resnetgen("build", "spec.yaml", "--target", targets, "--json")
    assert ran.code == 0, ran.out
    found = json.loads(ran.out)
    assert found["name"] == name
    assert found["verification"]["status"] == "passed"


def test_network_cannot_be_named_like_a_helper_of_its_source(resnetgen: Run) -> None:
    Path("spec.yaml").write_text(ALWAYS_PADDED.replace("always_padded", "conv5x5"))
    assert resnetgen("check", "spec.yaml").code == 2
