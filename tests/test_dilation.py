"""A network that dilates in place of later strides computes what the strided one does, and more."""

import json
from pathlib import Path

import numpy as np
import pytest

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op
from resnetgen.ir.rules import network_parameters, shapes
from resnetgen.ir.summary import rows, total
from resnetgen.lower import lower
from resnetgen.report.grid import plain
from resnetgen.spec.canonical import sha256, to_yaml
from resnetgen.spec.load import load
from resnetgen.verify.reference import Array, run

KNOBS = {
    "basic": {},
    "bottleneck": {"block": "bottleneck"},
    "strided-1x1": {"block": "bottleneck", "stride_on": "1x1"},
    "several-kernels": {"block": [{"kernel": 3}, {"kernel": 5, "strided": True}, {"kernel": 3}]},
    "last-block": {"stride_block": "last"},
    "large-projections": {"projection_kernel": 3},
    "all-projected": {"shortcut": "projection_all"},
    "padded-shortcuts": {"shortcut": "zero_pad"},
    "plain": {"shortcut": "none"},
    "pre-activated": {"order": "pre"},
    "groups": {"groups": 2},
}


def network(folder: Path, **changes: object) -> Network:
    document = {
        "name": "drawn",
        "input": {"channels": 3, "size": 96},
        "classes": 5,
        "stem": {"width": 8, "kernel": 3, "stride": 2, "pool": "max"},
        "block": "basic",
        "stages": [
            {"name": "a", "repeats": 2, "width": 8, "stride": 2},
            {"name": "b", "repeats": 2, "width": 10, "stride": 3},
            {"name": "c", "repeats": 1, "width": 12, "stride": 1},
            {"name": "d", "repeats": 2, "width": 16, "stride": 2},
        ],
        **changes,
    }
    path = folder / "drawn.yaml"
    path.write_text(json.dumps(document))
    return lower(load(str(path)).spec)


def features(network: Network) -> Array:
    """What the last block gives on a fixed image, with weights that their names alone decide."""
    random = np.random.default_rng(0)
    image = random.standard_normal((1, 3, *network.input_size))
    tensors = {
        each.name: random.uniform(0.5, 1.5, each.shape)
        if each.name.endswith("running_var")
        else random.standard_normal(each.shape) / np.sqrt(np.prod(each.shape[1:]))
        for each in network_parameters(network)
    }

    def of(op: Op, _: tuple[Array, ...]) -> dict[str, Array]:
        owned = (name for name in tensors if name.rpartition(".")[0] == op.name)
        return {name.rpartition(".")[2]: tensors[name] for name in owned}

    values = {op.name: value for op, value in run(network.ops, {"input": image}, tensors=of)}
    return values[network.stages[-1].blocks[-1].ops[-1].name]


@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS)
def test_dilated_features_hold_the_strided_ones(knobs: dict[str, object], tmp_path: Path) -> None:
    strided, dilated = network(tmp_path, **knobs), network(tmp_path, **knobs, output_stride=8)
    coarse, fine = features(strided), features(dilated)
    assert coarse.shape[2:] == (2, 2)
    assert fine.shape[2:] == (12, 12)
    np.testing.assert_allclose(fine[:, :, ::6, ::6], coarse, rtol=0, atol=1e-10)
    assert total(dilated).trainable == total(strided).trainable


def test_stages_behind_the_output_stride_take_none(tmp_path: Path) -> None:
    dilated = network(tmp_path, output_stride=8)
    sizes = [shapes(dilated)[stage.blocks[-1].ops[-1].name][1:] for stage in dilated.stages]
    assert sizes == [(12, 12)] * 4
    assert [stage.dilation for stage in dilated.stages] == [1, 3, 3, 6]
    content = [plain(row.content) for row in rows(dilated)]
    assert content[2] == "[3x3 10, 3x3 10] x 2, dilation 3"


def test_shortcut_is_projected_only_where_channels_change(tmp_path: Path) -> None:
    stages = [
        {"name": "a", "repeats": 1, "width": 8, "stride": 2},
        {"name": "b", "repeats": 1, "width": 8, "stride": 2},
        {"name": "c", "repeats": 1, "width": 16, "stride": 2},
    ]
    dilated = network(tmp_path, stages=stages, output_stride=8)
    assert [block.shortcut for block in dilated.blocks] == ["projection", "identity", "projection"]


def test_image_need_not_be_larger_than_what_is_strided(tmp_path: Path) -> None:
    small = network(tmp_path, input={"channels": 3, "size": 8}, output_stride=8)
    assert shapes(small)[small.head[0].name] == (16, 1, 1)


def test_spec_without_an_output_stride_resolves_as_it_did_before_there_was_one() -> None:
    spec = load("resnet18").spec
    assert "output_stride" not in to_yaml(spec)
    assert sha256(spec).startswith("59da69c017db")
    dilated = load("resnet18", overrides=("output_stride=32",)).spec
    assert "output_stride: 32" in to_yaml(dilated)
    assert sha256(dilated) != sha256(spec)
    assert [op for op in lower(dilated).ops] == [op for op in lower(spec).ops]
