"""What the spec language means, seen through `load`."""

import ast
import contextlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emission import ODD_SPECS

from resnetgen import emit
from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span
from resnetgen.lower import feasibility, lower
from resnetgen.resources import specs_directory
from resnetgen.spec import canonical, depth, names, schema
from resnetgen.spec.load import bundled, load
from resnetgen.spec.model import (
    BlockSpec,
    ConvolutionSpec,
    InitSpec,
    InputSpec,
    ModelSpec,
    NormSpec,
    StageSpec,
    StemSpec,
)
from resnetgen.spec.source import parse

TINY = """\
name: tiny
input: {channels: 3, size: 32}
classes: 10
stem: {width: 16, kernel: 3, stride: 1, pool: none}
block: basic
stages:
  - {name: one,   repeats: 1, width: 16, stride: 1}
  - {name: two,   repeats: 2, width: 32, stride: 2}
  - {name: three, repeats: 3, width: 64, stride: 2}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)


def spec_of(text: str, *overrides: str) -> ModelSpec:
    Path("spec.yaml").write_text(text, "utf-8")
    return load("spec.yaml", overrides=overrides).spec


ORIGINS = (
    "He et al., 2015",
    "Identity Mappings in Deep",
    "Wide Residual Networks",
    "torchvision",
    "timm",
    "keras.applications",
    "The authors' ResNet-",
    "Flax's ImageNet example",
)
"""Papers and programs that the bundled specs describe networks of."""


def error_of(text: str, *overrides: str) -> str:
    with pytest.raises(DiagnosticError) as caught:
        spec_of(text, *overrides)
    return caught.value.render()


def repeats(spec: ModelSpec) -> list[int]:
    return [stage.repeats for stage in spec.stages]


def network_depth(spec: ModelSpec) -> int:
    return depth.depth(repeats(spec), [stage.block for stage in spec.stages])


@pytest.mark.parametrize("name", bundled())
def test_bundled_spec_is_short_says_its_source_and_has_its_file_s_name(name: str) -> None:
    lines = bundled()[name].read_text("utf-8").splitlines()

    assert len(lines) <= 12 or name.endswith("_pruned")
    assert lines[0].startswith("# ")
    comment = " ".join(line for line in lines if line.startswith("#"))
    assert any(origin in comment for origin in ORIGINS)
    assert load(name).spec.name == name
    assert names.objection(name) is None


@pytest.mark.parametrize("name", bundled())
def test_resolved_yaml_of_a_bundled_spec_loads_as_an_equal_spec(name: str) -> None:
    spec = load(name).spec

    assert spec_of(canonical.to_yaml(spec)) == spec


def test_bundled_names_are_unique_over_all_folders() -> None:
    assert len(list(specs_directory().rglob("*.yaml"))) == len(bundled())


def test_all_networks_of_the_paper_ship() -> None:
    imagenet = [18, 34, 50, 101, 152]
    expected = {
        *(f"resnet{depth}" for depth in (*imagenet, 20, 32, 44, 56, 110, 1202)),
        *(f"resnet{depth}_paper" for depth in imagenet),
        *(f"plain{depth}" for depth in (18, 34, 20, 32, 44, 56)),
        "resnet77",
        "resnet29_triple",
    }

    shipped = {name for name, path in bundled().items() if path.parent == specs_directory()}
    assert shipped == expected


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("resnet18_paper", 11_515_688),
        ("resnet34_paper", 21_623_848),
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("resnet110", 1_727_962),
        ("resnet1202", 19_421_274),
    ],
)
def test_arithmetic_on_the_spec_gives_the_published_parameters(
    name: str, parameters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feasibility, "MOST_PARAMETERS", 0)
    (problem,) = feasibility.problems(load(name).spec)
    assert problem.message == f"the network has {parameters:,} parameters"


PAPERS = [
    name for name, path in bundled().items() if "_" not in name and path.parent == specs_directory()
]


@pytest.mark.parametrize("name", PAPERS)
def test_bundled_network_has_the_depth_in_its_name(name: str) -> None:
    stated = int("".join(character for character in name if character.isdigit()))

    assert network_depth(load(name).spec) == stated


def test_resnet50_in_full() -> None:
    bottleneck = BlockSpec(
        "bottleneck",
        (
            ConvolutionSpec(1, 1, strided=False),
            ConvolutionSpec(3, 1, strided=True),
            ConvolutionSpec(1, 4, strided=False),
        ),
    )

    assert load("resnet50").spec == ModelSpec(
        name="resnet50",
        dialect="torchvision",
        license=None,
        input=InputSpec(3, 224, 224),
        classes=1000,
        stem=StemSpec((), 64, 7, 2, False, True, "max", "symmetric"),
        order="post",
        stride_on="3x3",
        stride_block="first",
        output_stride=None,
        drop_path=0.0,
        block_dropout=0.0,
        head_pool="avg",
        dropout=0.0,
        width_per_group=None,
        reduce_first=1,
        downsample="conv",
        projection_kernel=1,
        attention="none",
        attention_at="end",
        se_ratio=0.0625,
        se_of="output",
        se_divisor=8,
        anti_alias="none",
        activation="relu",
        convolution_bias=False,
        conv_padding="symmetric",
        norm=NormSpec("batch", 32, 1e-5, 0.1),
        init=InitSpec("he_fan_out", "uniform_fan_in", zero_last_gamma=False),
        output="logits",
        stages=(
            StageSpec("conv2_x", 3, 64, 1, bottleneck, "projection", 1),
            StageSpec("conv3_x", 4, 128, 2, bottleneck, "projection", 1),
            StageSpec("conv4_x", 6, 256, 2, bottleneck, "projection", 1),
            StageSpec("conv5_x", 3, 512, 2, bottleneck, "projection", 1),
        ),
    )


def strided(spec: ModelSpec) -> list[bool]:
    return [convolution.strided for convolution in spec.stages[0].block.convolutions]


def test_paper_dialect_moves_the_stride_and_the_initialization() -> None:
    ours, paper = load("resnet50").spec, load("resnet50_paper").spec

    assert strided(ours) == [False, True, False]
    assert strided(paper) == [True, False, False]
    assert paper.init == InitSpec("he_fan_in", "he_fan_in", zero_last_gamma=False)
    assert paper.norm == ours.norm


@pytest.mark.parametrize(
    ("block", "dialect", "expected"),
    [
        ("basic", "torchvision", [True, False]),
        ("basic", "paper", [True, False]),
        ("[{kernel: 1}, {kernel: 1}]", "torchvision", [True, False]),
        ("[{kernel: 1}, {kernel: 1}, {kernel: 5}]", "torchvision", [False, False, True]),
        ("[{kernel: 1}, {kernel: 3}]", "paper", [True, False]),
        ("[{kernel: 3}, {kernel: 3, strided: true}]", "paper", [False, True]),
        ("[{kernel: 3, strided: false}, {kernel: 3}]", "paper", [True, False]),
    ],
)
def test_stride_sits_on_one_convolution(block: str, dialect: str, expected: list[bool]) -> None:
    assert strided(spec_of(TINY, f"block={block}", f"dialect={dialect}")) == expected


def test_stage_has_its_own_block_and_shortcut() -> None:
    spec = spec_of(TINY, "stages.1.block=[{kernel: 5, expansion: 2}]", "stages.2.shortcut=none")

    assert [stage.block.name for stage in spec.stages] == ["basic", None, "basic"]
    assert spec.stages[1].block.convolutions == (ConvolutionSpec(5, 2, strided=True),)
    assert [stage.shortcut for stage in spec.stages] == ["projection", "projection", "none"]


def test_own_key_overrides_the_dialect() -> None:
    text = (
        "extends: resnet50_paper\nname: own\nstride_on: 3x3\nepsilon: 1e-3\nmomentum: 1\n"
        "conv_bias: true\nconv_init: he_fan_out\nlinear_init: uniform_fan_in\n"
        "zero_init_last: true\nstride_block: last\npool_padding: zeros\noutput: softmax"
    )
    spec = spec_of(text)

    assert spec.dialect == "paper"
    assert spec.stride_on == "3x3"
    assert spec.stride_block == "last"
    assert spec.stem.pool_padding == "zeros"
    assert spec.output == "softmax"
    assert spec.norm == NormSpec("batch", 32, 1e-3, 1.0)
    assert spec.convolution_bias
    assert spec.init == InitSpec("he_fan_out", "uniform_fan_in", zero_last_gamma=True)


def test_extends_merges_mappings_and_replaces_lists() -> None:
    spec = spec_of(
        "extends: tiny.yaml\nname: own\nstem: {width: 8}\n"
        "stages:\n  - {name: only, repeats: 4, width: 8, stride: 2}"
    )

    assert spec.stem == StemSpec((), 8, 3, 1, False, True, "none", "symmetric")
    assert [stage.name for stage in spec.stages] == ["only"]


def test_extends_reaches_files_below_the_folder_and_chains() -> None:
    Path("below").mkdir()
    Path("below/middle.yaml").write_text("extends: base.yml\nclasses: 7")
    Path("below/base.yml").write_text("extends: resnet18\nclasses: 5")

    spec = spec_of("extends: below/middle.yaml\nname: own")

    assert (spec.name, spec.classes, spec.input.height) == ("own", 7, 224)


def test_inherited_key_may_lose_its_effect() -> None:
    """In the file that extends another, and by an override of the file that states it."""
    squeezed = f"{TINY}attention: se\nse_ratio: 0.25\n"
    Path("squeezed.yaml").write_text(squeezed)
    heir = spec_of("extends: ./squeezed.yaml\nname: tiny\nattention: none\n")
    assert heir == spec_of(TINY) == spec_of(squeezed, "attention=none")
    with pytest.raises(DiagnosticError, match="`se_ratio` has no effect"):
        spec_of("extends: ./squeezed.yaml\nname: a\nattention: none\nse_ratio: 0.5")
    with pytest.raises(DiagnosticError, match="`se_divisor` has no effect"):
        spec_of(TINY, "se_divisor=4")


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("norm: group", "norm_groups: 4"),
        ("block: bottleneck", "expansion: 2"),
        ("attention: eca", "attention_at: middle"),
        ("attention: se", "se_divisor: 4"),
        ("shortcut: projection_all", "projection_kernel: 3"),
        ("shortcut: projection", "downsample: avg"),
        ("norm: batch", "epsilon: 0.001"),
        ("norm: batch", "momentum: 0.01"),
        ("norm: batch", "zero_init_last: true"),
        ("stem: {width: 4, kernel: 3, stride: 1, pool: max}", "pool_padding: zeros"),
    ],
)
def test_key_that_a_change_takes_is_refused_without_the_change(change: str, value: str) -> None:
    inherited = "extends: ./tiny.yaml\nname: other\nshortcut: zero_pad\nnorm: none\n"
    with pytest.raises(DiagnosticError, match="has no effect"):
        spec_of(inherited + value)
    lines = dict(line.split(": ", 1) for line in f"{inherited}{change}\n{value}".splitlines())
    changed = spec_of("".join(f"{key}: {text}\n" for key, text in lines.items()))
    assert changed != spec_of(
        "".join(f"{key}: {text}\n" for key, text in lines.items() if key != value.split(":")[0])
    )


def test_name_is_not_inherited() -> None:
    Path("mine.yaml").write_text("extends: resnet50\nclasses: 7")

    with pytest.raises(DiagnosticError, match="`name` is missing"):
        load("mine.yaml")


def test_file_may_have_the_name_of_the_bundled_spec_that_it_extends() -> None:
    Path("resnet50.yaml").write_text("extends: resnet50\nname: resnet50\nclasses: 7")

    assert load("resnet50.yaml").spec.classes == 7


@pytest.mark.parametrize(
    ("base", "wanted", "expected"),
    [
        ("resnet20", 8, [1, 1, 1]),
        ("resnet20", 164, [27, 27, 27]),
        ("resnet1202", 20, [3, 3, 3]),
        ("resnet29_triple", 38, [4, 4, 4]),
    ],
)
def test_depth_is_solved_and_replaces_inherited_repeats(
    base: str, wanted: int, expected: list[int]
) -> None:
    spec = spec_of(f"extends: {base}\nname: own\ndepth: {wanted}")

    assert repeats(spec) == expected
    assert network_depth(spec) == wanted


def test_depth_of_bottlenecks_is_9n_plus_2() -> None:
    assert (
        repeats(spec_of("extends: resnet20\nname: own\nblock: bottleneck\ndepth: 164")) == [18] * 3
    )


def test_repeats_replace_an_inherited_depth() -> None:
    assert repeats(spec_of("extends: resnet32\nname: own\nrepeats: [1, 2, 3]")) == [1, 2, 3]
    assert repeats(
        spec_of(
            "extends: resnet50\nname: own\ndepth: 50\nrepeats: [3, 4, 6, 3]", "stages.2.repeats=15"
        )
    ) == [3, 4, 15, 3]


def test_stage_repeats_replace_one_of_an_inherited_list() -> None:
    assert repeats(spec_of("extends: resnet101\nname: own", "stages.0.repeats=1")) == [1, 4, 23, 3]
    assert repeats(spec_of("extends: resnet101\nname: own", "repeats.0=1")) == [1, 4, 23, 3]


def test_repeats_of_one_stage_do_not_say_those_of_stages_that_had_a_depth() -> None:
    error = error_of("extends: resnet32\nname: own", "stages.0.repeats=4")

    assert "`repeats` is missing in `stages.1`" in error


def test_inherited_depth_is_solved_for_the_block_that_is_stated() -> None:
    assert repeats(spec_of("extends: resnet56\nname: own\nblock: bottleneck")) == [6, 6, 6]


def test_depth_with_repeats_is_checked() -> None:
    spec = spec_of("extends: resnet50\nname: own\ndepth: 77\nrepeats: [3, 4, 15, 3]")

    assert repeats(spec) == [3, 4, 15, 3]


def test_overrides_act_as_a_last_layer() -> None:
    spec = load("resnet50", overrides=["stages.2.repeats=15", "name=resnet77"]).spec

    assert spec == load("resnet77").spec


def test_override_values_are_yaml() -> None:
    spec = spec_of(
        TINY,
        "input.size=[64, 96]",
        "stem={width: 8}",
        "license=MIT",
        "zero_init_last=true",
        "depth=14",
    )

    assert spec.input == InputSpec(3, 64, 96)
    assert spec.stem == StemSpec((), 8, 3, 1, False, True, "none", "symmetric")
    assert spec.license == "MIT"
    assert spec.init.zero_last_gamma
    assert repeats(spec) == [2, 2, 2]


def test_later_override_of_the_same_key_counts() -> None:
    assert spec_of(TINY, "classes=3", "classes=4").classes == 4


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "stem.widht=3",
            """\
--set:1:6: error: unknown key `widht` in `stem`
  1 | stem.widht=3
    |      ^^^^^
expected: one of hidden, width, kernel, stride, bias, norm, pool
hint: did you mean `width`?""",
        ),
        (
            "input.size=3",
            """\
--set:1:12: error: an input of 3 pixels is too small: the strides multiply to 4
  1 | input.size=3
    |            ^
expected: at least 4 pixels in height and width""",
        ),
        (
            "stages.3.repeats=1",
            """\
--set:1:8: error: `3` is no index of a list of 3
  1 | stages.3.repeats=1
    |        ^
expected: an index from 0 to 2""",
        ),
        (
            "stages.two.repeats=1",
            """\
--set:1:8: error: `two` is no index of a list of 3
  1 | stages.two.repeats=1
    |        ^^^
expected: an index from 0 to 2
hint: `two` is at 1""",
        ),
        (
            "name.first=x",
            """\
--set:1:6: error: `name` is the text `tiny` and holds no `first`
  1 | name.first=x
    |      ^^^^^
expected: KEY=VALUE, such as `stages.2.repeats=15`""",
        ),
        (
            "classes",
            """\
--set:1:1: error: `classes` has no `=`
  1 | classes
    | ^^^^^^^
expected: KEY=VALUE, such as `stages.2.repeats=15`""",
        ),
        (
            ".classes=3",
            """\
--set:1:1: error: `.classes` is not the path of a key
  1 | .classes=3
    | ^^^^^^^^^^
expected: KEY=VALUE, such as `stages.2.repeats=15`""",
        ),
        (
            "extends=resnet18",
            """\
--set:1:1: error: `extends` belongs in a file, where its folder is known
  1 | extends=resnet18
    | ^^^^^^^
expected: KEY=VALUE, such as `stages.2.repeats=15`""",
        ),
        (
            "classes=",
            """\
--set:1:9: error: `classes` is empty
  1 | classes=
    |         ^
expected: an integer from 1 to 10,000,000""",
        ),
        (
            "classes=*a",
            """\
--set:1:9: error: the alias `*a`: a spec has no aliases
  1 | classes=*a
    |         ^^
expected: the value written out, or `extends`""",
        ),
    ],
)
def test_bad_override_points_into_its_text(override: str, expected: str) -> None:
    assert error_of(TINY, override) == expected


def test_all_bad_overrides_are_reported() -> None:
    error = error_of(TINY, "classes", "stages.7.width=1", "extends=x")

    assert error.count("error:") == 3


def test_loaded_says_where_the_spec_came_from() -> None:
    by_name, by_path = load("resnet18"), load("./tiny.yaml")

    assert (by_name.source, by_name.path) == ("bundled:resnet18", bundled()["resnet18"])
    assert (by_path.source, by_path.path) == ("./tiny.yaml", Path("tiny.yaml"))


def test_existing_file_without_a_suffix_is_a_path() -> None:
    Path("resnet18").write_text(TINY)

    assert load("resnet18").spec.name == "tiny"


def test_resolved_yaml_shows_every_default() -> None:
    assert (
        canonical.to_yaml(spec_of(TINY))
        == """\
name: tiny
dialect: torchvision
input: {channels: 3, size: 32}
classes: 10
stem: {width: 16, kernel: 3, stride: 1, bias: false, norm: true, pool: none}
block: basic
shortcut: projection
order: post
stride_on: 3x3
stride_block: first
groups: 1
reduce_first: 1
downsample: conv
projection_kernel: 1
attention: none
attention_at: end
se_ratio: 0.0625
se_of: output
se_divisor: 8
anti_alias: none
activation: relu
norm: batch
norm_groups: 32
epsilon: 1e-05
momentum: 0.1
conv_bias: false
pool_padding: symmetric
conv_init: he_fan_out
linear_init: uniform_fan_in
zero_init_last: false
output: logits
stages:
  - {name: one,   repeats: 1, width: 16, stride: 1}
  - {name: two,   repeats: 2, width: 32, stride: 2}
  - {name: three, repeats: 3, width: 64, stride: 2}
"""
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["input.size=[33, 65]", 'name="null"', "license=(MIT OR Apache-2.0)"],
        ["license=0BSD", "epsilon=0.123457", "momentum=1e-300"],
        ['license="1.0"', 'stages.0.name="true"'],
        ["dialect=flax", "conv_padding=symmetric"],
        ["conv_padding=same", "linear_init=lecun_normal"],
        ["block=[{kernel: 1}, {kernel: 3}, {kernel: 1, expansion: 4}]"],
        ["stages.0.block=[{kernel: 5}, {kernel: 3, strided: true}]", "stages.2.block=bottleneck"],
        [
            "stages.0.shortcut=none",
            "stages.1.shortcut=projection_all",
            "stages.2.shortcut=zero_pad",
        ],
        [
            "dialect=paper",
            "block=bottleneck",
            "stride_on=3x3",
            "conv_bias=true",
            "zero_init_last=true",
        ],
    ],
)
def test_resolved_yaml_of_anything_loads_as_an_equal_spec(overrides: list[str]) -> None:
    spec = spec_of(TINY, *overrides)

    assert spec_of(canonical.to_yaml(spec)) == spec


def test_hash_is_of_the_meaning_and_not_of_the_writing() -> None:
    commented = "# A comment.\n" + TINY + "shortcut: projection\nepsilon: 0.00001\n"

    assert canonical.sha256(spec_of(commented)) == canonical.sha256(spec_of(TINY))
    assert canonical.sha256(spec_of(TINY, "classes=11")) != canonical.sha256(spec_of(TINY))


def subschemas(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from subschemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from subschemas(value)


def test_json_schema_describes_every_field_and_forbids_others() -> None:
    described = schema.json_schema()
    models = [described, *described["$defs"].values()]

    json.dumps(described)
    for model in models:
        assert model["additionalProperties"] is False
        assert all("description" in field for field in model["properties"].values())
    assert not any(item.get("type") == "null" for item in subschemas(described))


def test_json_schema_requires_nothing_that_can_be_inherited() -> None:
    described = schema.json_schema()

    assert "required" not in described
    assert described["if"] == {"required": ["extends"]}
    assert described["else"]["required"] == ["name", "input", "classes", "stem"]
    assert described["else"]["anyOf"] == [{"required": ["stages"]}, {"required": ["regnet"]}]


def regnet_stages(rule: str, *overrides: str) -> list[tuple[int, int, int]]:
    """Repeats, width and groups of the stages that the rule gives."""
    spec = spec_of(f"extends: regnet_x_400mf\nname: own\nregnet: {{{rule}}}\n", *overrides)
    assert all(stage.stride == 2 for stage in spec.stages)
    return [(stage.repeats, stage.width, stage.groups) for stage in spec.stages]


X_400MF = "depth: 22, w_0: 24, w_a: 24.48, w_m: 2.54, group_width: 16"


def test_regnet_rule_rounds_as_each_library_does() -> None:
    # The stages of RegNetX-400MF in torchvision, and in pycls's model zoo.
    small = [(1, 32, 2), (2, 64, 4), (7, 160, 10)]
    assert regnet_stages(f"{X_400MF}, rounding: torchvision") == [*small, (12, 400, 25)]
    assert regnet_stages(f"{X_400MF}, rounding: pycls") == [*small, (12, 384, 24)]


def test_regnet_stage_narrower_than_a_group_is_one_group() -> None:
    rule = "depth: 14, w_0: 56, w_a: 38.84, w_m: 2.4, group_width: 64"
    assert regnet_stages(rule)[0] == (1, 56, 1)


def test_layer_may_change_one_number_of_a_regnet_s_rule() -> None:
    assert len(regnet_stages("depth: 10")) == 3
    assert sum(blocks for blocks, _, _ in regnet_stages("depth: 10", "regnet.depth=12")) == 12


def test_rule_and_stages_replace_each_other_where_they_are_inherited() -> None:
    rule = "regnet: {depth: 4, w_0: 32, w_a: 16, w_m: 2, group_width: 32}"
    ruled = spec_of(f"extends: resnext50_32x4d\nname: own\nblock: basic\n{rule}\n")
    assert [stage.name for stage in ruled.stages] == ["stage1", "stage2"]
    stated = "stages:\n  - {name: a, repeats: 1, width: 8, stride: 1}"
    own = spec_of(f"extends: regnet_x_400mf\nname: own\n{stated}\n")
    assert [(stage.width, stage.groups) for stage in own.stages] == [(8, 1)]


def test_regnet_s_depth_is_checked_like_any_other() -> None:
    assert "the repeats [1, 2, 7, 12] give 68" in error_of(
        "extends: regnet_x_400mf\nname: own\ndepth: 50\n"
    )


def test_resolved_regnet_shows_its_stages_and_no_rule() -> None:
    resolved = canonical.to_yaml(load("regnet_y_400mf").spec)
    assert "regnet:" not in resolved
    assert resolved.endswith(
        """\
stages:
  - {name: stage1, repeats: 1, width: 48,  stride: 2, groups: 6}
  - {name: stage2, repeats: 3, width: 104, stride: 2, groups: 13}
  - {name: stage3, repeats: 6, width: 208, stride: 2, groups: 26}
  - {name: stage4, repeats: 6, width: 440, stride: 2, groups: 55}
"""
    )


@pytest.mark.parametrize("name", ["yes", "no", "on", "null_", "r", "a" * 64, "resnet_50"])
def test_unusual_names_are_legal(name: str) -> None:
    assert spec_of(TINY, f"name={name}").name == name


@pytest.mark.parametrize(
    "name", sorted({*names.RESERVED, "async", "type", "int", "len", "conv_block2"})
)
def test_names_that_would_hide_another_are_refused(name: str) -> None:
    assert f"`name` cannot be `{name}`" in error_of(TINY, f'name="{name}"')


def identifiers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name) | ast.arg(arg=name):
                yield name
            case ast.alias():
                yield from (node.asname or node.name).split(".")


@pytest.mark.parametrize("target", ["torch", "keras", "flax"])
@pytest.mark.parametrize("name", [*bundled(), *ODD_SPECS])
def test_no_network_can_take_a_name_that_its_files_use(name: str, target: str) -> None:
    if name in ODD_SPECS:
        Path("odd.yaml").write_text(ODD_SPECS[name])
    spec = "odd.yaml" if name in ODD_SPECS else name
    text = emit.source(lower(load(spec, overrides=["name=a_name_of_its_own"]).spec), target)
    used = set(identifiers(text)) - {"a_name_of_its_own"}

    assert {word for word in used if names.objection(word) is None} == set()


def scalar_paths() -> list[str]:
    document = canonical.to_yaml(load("resnet18").spec)
    top = [line.split(":")[0] for line in document.splitlines() if not line.startswith(" ")]
    inner = ["input.size", "input.channels", "stem.width", "stem.kernel", "stem.pool"]
    stage = [f"stages.0.{key}" for key in ("name", "repeats", "width", "stride", "block")]
    return [*top, *inner, *stage, "license", "depth", "repeats", "stages.0", "block.0.kernel"]


@pytest.mark.parametrize("path", scalar_paths())
def test_no_value_is_more_than_a_diagnostic(path: str) -> None:
    """Whatever is written for a key, the spec loads or is refused with a place and a reason."""
    digits = "9" * 5000
    numbers = ["0", "-1", "1.5", ".nan", "-.inf", "1e999", "0x10", digits, f"-{digits}"]
    words = ["", "true", '"3"', '"\\ud800"', '"\\0"']
    lists = ["[]", "{}", "[[1]]", "[1, 2, 3]", "{a: b}", "{list: {word: 3}}", "[{kernel: 3}, null]"]
    for value in [*numbers, *words, *lists]:
        diagnostics = diagnostics_of(TINY, f"{path}={value}")
        assert all(found.span is not None for found in diagnostics)
        assert all(found.render().isascii() for found in diagnostics)


def diagnostics_of(text: str, *overrides: str) -> tuple[Diagnostic, ...]:
    try:
        spec = spec_of(text, *overrides)
    except DiagnosticError as error:
        return error.diagnostics
    assert spec_of(canonical.to_yaml(spec)) == spec
    return ()


@given(st.text(st.sampled_from(list("ab1:-{}[],\"'&*!|>#%@?~\t\n \\.<=é")), max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_text_is_more_than_a_diagnostic(text: str) -> None:
    with contextlib.suppress(DiagnosticError):
        parse(text, file="x.yaml")


def test_nesting_and_length_are_refused_early() -> None:
    assert "nested too deep" in error_of("name: " + "[" * 900_000)
    assert "nested too deep" in error_of("\n".join("  " * n + "a:" for n in range(100)))


def test_very_many_errors_are_counted_and_not_listed() -> None:
    error = error_of(TINY + "".join(f"key{number}: 1\n" for number in range(80)))

    assert error.count("unknown key") == 50
    assert error.endswith("... and 30 more errors")


def diagnostic(text: str, column: int, end_column: int) -> list[str]:
    span = Span("x.yaml", 7, column, end_column, text)
    return Diagnostic("code", "message", span).render().splitlines()[1:]


def test_carets_stand_below_what_is_displayed() -> None:
    assert diagnostic("\tab: 3", 2, 4) == ["  7 |     ab: 3", "    |     ^^"]
    assert diagnostic("\u5e45: \u5e45\u9ad8", 4, 6) == [
        "  7 | \u5e45: \u5e45\u9ad8",
        "    |     ^^^^",
    ]
    assert diagnostic("e\u0301: 3", 5, 6) == ["  7 | e\u0301: 3", "    |    ^"]
    assert diagnostic("\x1b[2J\u202e: 3", 8, 9) == [
        "  7 | \\x1b[2J\\u202e: 3",
        "    |                ^",
    ]


def test_long_lines_are_cut_around_the_caret() -> None:
    shown, carets = diagnostic("a" * 500 + "b" + "c" * 500, 501, 502)

    assert len(shown) < 140
    assert shown.index("b") == carets.index("^")
    assert shown.startswith("  7 | ...a")
    assert shown.endswith("c...")


def test_caret_may_stand_behind_the_line() -> None:
    assert diagnostic("ab", 3, 4) == ["  7 | ab", "    |   ^"]


def test_error_survives_the_way_between_processes() -> None:
    error = DiagnosticError([Diagnostic("code", "message", Span("x", 1, 1, 2, "a"))])

    assert pickle.loads(pickle.dumps(error)).diagnostics == error.diagnostics


def test_diagnostics_come_in_the_order_of_their_places_and_once() -> None:
    spans = [Span("b", 1, 1, 2, "x"), Span("a", 2, 1, 2, "x"), Span("a", 1, 9, 10, "x")]
    found = [Diagnostic("code", "message", span) for span in (*spans, *spans)]

    assert [item.span for item in DiagnosticError(found).diagnostics] == spans[::-1]


def test_specs_are_frozen() -> None:
    spec = load("resnet18").spec

    assert replace(spec, classes=7) != spec
    assert hash(spec) == hash(load("resnet18").spec)


def test_importing_the_language_imports_neither_pydantic_nor_yaml() -> None:
    code = (
        "import sys, resnetgen.spec.load; "
        "print([name for name in ('pydantic', 'ruamel.yaml', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
