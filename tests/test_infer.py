"""`infer`: a spec from the names and shapes of a checkpoint's tensors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from skips import skip_without
from test_spec_space import documents, varied

from resnetgen.diagnostics import DiagnosticError
from resnetgen.ir.network import Network
from resnetgen.ir.rules import Shape, network_parameters
from resnetgen.lower import feasibility, lower
from resnetgen.resources import specs_directory
from resnetgen.spec.brief import brief, extension
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import bundled, load, meaning
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.source import parse
from resnetgen.weights.infer import fitting, infer, renamed, with_ends
from resnetgen.weights.infer.ratio import squeeze_ratio
from resnetgen.weights.origins import ORIGINS, Origin

BUNDLED = {name: load(name).spec for name in bundled()}


def tensors(network: Network) -> dict[str, Shape]:
    return {parameter.name: parameter.shape for parameter in network_parameters(network)}


def shapes_of(name: str, *overrides: str) -> dict[str, Shape]:
    return tensors(lower(load(name, overrides=overrides).spec))


def ops(spec: ModelSpec) -> tuple[object, ...]:
    return tuple(lower(spec).ops)


def refused(shapes: dict[str, Shape]) -> str:
    with pytest.raises(DiagnosticError) as error:
        infer(shapes, name="refused")
    return error.value.render()


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_bundled_network_is_among_those_that_fit_what_is_inferred(name: str) -> None:
    shapes = shapes_of(name)
    found = infer(shapes, name="found")
    assert tensors(found.network) == shapes
    assert name in fitting(shapes, BUNDLED.values())


def test_readme_shows_what_it_says(resnetgen: Run) -> None:
    shapes = shapes_of("resnet50", "classes=102")
    save_file({name: np.zeros(each, np.int8) for name, each in shapes.items()}, "f.safetensors")
    ran = resnetgen("infer", "f.safetensors", "--name", "flowers")
    readme = (specs_directory().parent / "README.md").read_text()
    assert f"flowers.yaml\n{ran.err}$ cat flowers.yaml\n{ran.out}```" in readme


@pytest.mark.parametrize("name", [name for name in BUNDLED if name.endswith("_pruned")])
def test_pruned_network_comes_back_with_the_widths_before_pruning(name: str) -> None:
    found = infer(shapes_of(name), name=name, base=BUNDLED[name.removesuffix("_pruned")])
    assert found.spec == BUNDLED[name]
    # Nothing tells that a network was pruned if its channels are those of its widths.
    whole = shapes_of("ecaresnet50d")
    assert infer(whole, name="whole", base=BUNDLED["ecaresnet50d_pruned"]).spec.stages == (
        BUNDLED["ecaresnet50d"].stages
    )


@pytest.mark.parametrize(
    ("overrides", "pruned"),
    [
        (["stages.1.pruned=[[8, 32], [16, 32]]"], [1]),
        (["stages.1.pruned=[[700, 701], [700, 701]]"], [1]),
        # Either stage alone might have a width for each group.
        (
            [
                "block=bottleneck",
                "stages.0.pruned=[[150, 150, 256], [150, 150, 256]]",
                "stages.1.pruned=[[200, 200, 512], [200, 200, 512]]",
            ],
            [0, 1, 2, 3],
        ),
    ],
)
def test_channels_that_follow_no_width_are_stated(overrides: list[str], pruned: list[int]) -> None:
    stated = load("resnet18", overrides=overrides).spec
    found = infer(tensors(lower(stated)), name="resnet18")
    assert ops(found.spec) == ops(stated)
    stages = found.spec.stages
    assert [index for index, stage in enumerate(stages) if stage.pruned] == pruned


KEY_FACTS = {
    "resnet18": "block: basic\n",
    "resnext50_32x4d": "groups: 32\nwidth_per_group: 4\n",
    "wide_resnet50_2": "block: bottleneck\nwidth_per_group: 128\n",
    "senet154": "reduce_first: 2\nprojection_kernel: 3\nattention: se\n",
    "resnetrs50": "downsample: avg\nattention: se\nse_ratio: 0.25\n",
    "ecaresnet50t": "stem: {hidden: [24, 32], width: 64, kernel: 3, stride: 2, pool: max}\n",
    "resnet20": "shortcut: zero_pad\n",
    "resnet50_gn": "norm: group\n",
    "wrn_16_8": "order: pre\n",
    "keras_resnet50v2": "order: pre\nconv_bias: without_norm\n",
    "caffe_resnet50": "stem: {width: 64, kernel: 7, stride: 2, bias: true, pool: max}\n",
}


@pytest.mark.parametrize(("name", "said"), KEY_FACTS.items())
def test_inferred_spec_says_what_a_person_would(name: str, said: str) -> None:
    text = brief(infer(shapes_of(name), name=name).spec)
    assert all(line in text.splitlines() for line in said.splitlines())
    assert len(text.splitlines()) <= 15


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "resnet50", "resnet50d", "senet154", "resnetrs50", "wide_resnet101_2"),
        "resnet50_gn",
    ],
)
def test_network_that_has_what_is_assumed_comes_back_whole(name: str) -> None:
    found = infer(shapes_of(name), name=name)
    assert found.spec == BUNDLED[name]


@pytest.mark.parametrize(
    ("overrides", "assumed"),
    [
        ([], {"epsilon": "1e-05", "momentum": "0.1"}),
        (["norm=group"], {"epsilon": "1e-05", "norm_groups": "32"}),
        (
            ["norm=group", "norm_groups=8", "stem.width=24"],
            {"epsilon": "1e-05", "norm_groups": "8"},
        ),
        (["norm=none"], {"order": "post", "stem.norm": "true"}),
        (["norm=none", "order=pre"], {"order": "post", "stem.norm": "true"}),
        (["order=pre", "stem.norm=true"], {"epsilon": "1e-05", "momentum": "0.1"}),
    ],
)
def test_of_norms_only_what_leaves_no_trace_is_assumed(
    overrides: list[str], assumed: dict[str, str]
) -> None:
    found = infer(shapes_of("resnet18", *overrides), name="found").assumed
    of_norms = ("norm", "order", "stem.norm", "norm_groups", "epsilon", "momentum")
    assert {key: found[key] for key in of_norms if key in found} == assumed
    assert found["stride_block"] == "first"
    assert found["output"] == "logits"


def test_base_that_strides_in_last_blocks_is_overruled_by_a_projection_in_the_first() -> None:
    base = load("resnet20", overrides=["shortcut=projection", "stride_block=last"]).spec
    same = ["stages.1.width=16", "stages.2.width=16"]
    first = load("resnet20", overrides=["shortcut=projection", *same]).spec
    found = infer(tensors(lower(first)), name="found", base=base)
    assert ops(found.spec) == ops(first)
    last = load("resnet20", overrides=["shortcut=projection", "stride_block=last", *same]).spec
    found = infer(tensors(lower(last)), name="found", base=base)
    assert ops(found.spec) == ops(last)


def drawn(document: dict[str, Any]) -> ModelSpec:
    """What a drawn document means; some are not valid."""
    try:
        spec = meaning(parse(json.dumps(document), file="drawn"))
    except DiagnosticError:
        reject()
    if any(feasibility.problems(spec)):
        reject()
    return spec


stems = st.fixed_dictionaries(
    {},
    optional={
        "hidden": st.lists(st.integers(1, 16), max_size=3),
        "pool": st.sampled_from(["max", "conv", "none"]),
    },
)
EVERY_STRIDE_FITS = 2**6 * 3**4
"""Pixels that the strides of a drawn network always divide."""
HYPOTHESIS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@given(document=documents() | varied, stem=stems, ratio=st.sampled_from([0.0625, 0.25, 0.3, 1.0]))
@HYPOTHESIS
def test_any_network_is_inferred_with_just_its_tensors(
    document: dict[str, Any], stem: dict[str, Any], ratio: float
) -> None:
    document["input"]["size"] = EVERY_STRIDE_FITS
    spec = drawn({**document, "stem": {**document["stem"], **stem}, "se_ratio": ratio})
    shapes = tensors(lower(spec))
    found = infer(shapes, name="found")
    assert tensors(found.network) == shapes
    assert meaning(parse(brief(found.spec), file="brief")) == found.spec


@given(document=documents() | varied, stem=stems)
@HYPOTHESIS
def test_network_of_any_blocks_is_inferred_whole_where_conventions_hold(
    document: dict[str, Any], stem: dict[str, Any]
) -> None:
    leaves_traces = {
        *("name", "input", "classes", "block", "groups", "width_per_group", "reduce_first"),
        *("downsample", "projection_kernel", "expansion", "attention", "conv_bias"),
        *("norm", "order"),
    }
    stages = [
        {key: value for key, value in stage.items() if key != "shortcut"}
        | {"stride": 2 if index else 1}
        for index, stage in enumerate(document["stages"])
    ]
    kept = {key: value for key, value in document.items() if key in leaves_traces}
    for has_block in (kept, *stages):
        if isinstance(block := has_block.get("block"), list):
            has_block["block"] = [{**layer, "strided": False} for layer in block]
    pool = {"pool": stem.get("pool", "max").replace("none", "max")}
    own = {key: document["stem"][key] for key in ("bias", "norm") if key in document["stem"]}
    kept["stem"] = {"width": 8, "kernel": 7, "stride": 2, **own, **stem, **pool}
    kept["input"]["size"] = 224
    if kept.get("norm") == "none":
        # Then nothing tells where the activations stand.
        kept.pop("order", None)
        kept["stem"].pop("norm", None)
    if kept.get("norm") == "group":
        # The usual number of groups divides all channels.
        kept["stem"]["width"] *= 32
        kept["stem"]["hidden"] = [32 * width for width in kept["stem"].get("hidden", [])]
        stages = [stage | {"width": 32 * stage["width"]} for stage in stages]
    spec = drawn({**kept, "stages": stages})
    assert tuple(infer(tensors(lower(spec)), name="found").network.ops) == ops(spec)


@given(document=documents() | varied, more=st.integers(1, 2))
@HYPOTHESIS
def test_what_leaves_no_trace_is_taken_from_a_spec_of_other_depth(
    document: dict[str, Any], more: int
) -> None:
    document["input"]["size"] = EVERY_STRIDE_FITS
    base = drawn(document)
    stages = tuple(replace(stage, repeats=stage.repeats + more) for stage in base.stages)
    spec = replace(base, stages=stages)
    found = infer(tensors(lower(spec)), name="found", base=base)
    assert tuple(found.network.ops) == ops(spec)


@pytest.mark.parametrize("name", ["resnetaa50d", "resnet50_paper", "plain20", "resnet29_triple"])
def test_assumed_network_is_extended_by_what_differs(name: str, tmp_path: Path) -> None:
    base = BUNDLED[name]
    repeats = [stage.repeats + 1 for stage in base.stages]
    stages = tuple(replace(stage, repeats=stage.repeats + 1) for stage in base.stages)
    changed = replace(base, name="found", classes=7, stages=stages)
    found = infer(tensors(lower(changed)), name="found", base=base)
    assert ops(found.spec) == ops(changed)
    text = extension(found.spec, base)
    assert text == f"extends: {name}\nname: found\nclasses: 7\nrepeats: {repeats}\n"
    path = tmp_path / "found.yaml"
    path.write_text(text)
    assert load(str(path)).spec == changed


def test_spec_that_cannot_take_back_what_its_base_states_is_no_extension() -> None:
    assert extension(BUNDLED["resnet50"], BUNDLED["resnext50_32x4d"]) is None


def test_base_with_other_stages_is_refused() -> None:
    with pytest.raises(
        DiagnosticError, match="`resnet50` has 4 stages, where the tensors are of 3"
    ):
        infer(shapes_of("resnet20"), name="found", base=BUNDLED["resnet50"])


def test_network_with_another_head_is_known_but_for_its_ends() -> None:
    shapes = shapes_of("resnet50", "classes=10", "input.channels=1")
    assert fitting(shapes, BUNDLED.values()) == ()
    ends = [with_ends(spec, channels=1, classes=10) for spec in BUNDLED.values()]
    assert "resnet50" in fitting(shapes, ends)


@pytest.mark.parametrize(
    ("squeezes", "ratio"),
    [
        ([(256, 16), (2048, 128)], 0.0625),
        ([(64, 8), (128, 8)], 0.0625),
        ([(256, 64), (2048, 512)], 0.25),
        ([(1000, 304)], 0.3),
        ([(64, 64)], 1.0),
        ([(64, 12)], None),
        ([(256, 16), (512, 128)], None),
    ],
)
def test_ratio_is_the_simplest_that_squeezes_so(
    squeezes: list[tuple[int, int]], ratio: float | None
) -> None:
    assert squeeze_ratio(squeezes, divisor=8) == ratio


def test_ratio_without_a_divisor_is_found_too() -> None:
    assert squeeze_ratio([(32, 8), (48, 12), (104, 26)], divisor=1) == 0.25
    assert squeeze_ratio([(32, 8), (48, 8)], divisor=1) is None


def test_squeeze_of_any_rule_is_inferred() -> None:
    shapes = shapes_of("seresnet50", "se_divisor=3", "se_ratio=0.5")
    found = infer(shapes, name="found")
    assert tensors(found.network) == shapes
    assert found.spec.se_divisor == 3


def test_regnet_is_inferred_with_its_groups_and_its_attention() -> None:
    found = infer(shapes_of("regnet_y_400mf"), name="found")
    assert [stage.groups for stage in found.spec.stages] == [6, 13, 26, 55]
    assert (found.spec.se_ratio, found.spec.se_of, found.spec.se_divisor) == (0.25, "input", 1)
    assert found.assumed["attention_at"] == "middle"


def test_regnet_of_another_depth_is_inferred_whole_beside_its_base() -> None:
    deeper = load("regnet_y_400mf", overrides=["regnet.depth=18"]).spec
    found = infer(tensors(lower(deeper)), name="found", base=BUNDLED["regnet_y_400mf"])
    assert ops(found.spec) == ops(deeper)


def test_groups_of_a_base_s_stages_give_way_to_those_that_tensors_show(tmp_path: Path) -> None:
    base = load("regnet_x_400mf", overrides=["regnet.depth=20"]).spec
    even = [f"stages.{index}.groups=2" for index in range(4)]
    (tmp_path / "resolved.yaml").write_text(to_yaml(BUNDLED["regnet_x_400mf"]))
    changed = load(str(tmp_path / "resolved.yaml"), overrides=even).spec
    found = infer(tensors(lower(changed)), name="found", base=base)
    assert ops(found.spec) == ops(changed)


ORIGIN = {origin.name: origin for origin in ORIGINS}


def names_of(origin: Origin, name: str, *overrides: str) -> dict[str, Shape]:
    """The tensors of a network as a library calls them."""
    network = lower(load(name, overrides=overrides).spec)
    assert origin.knows(network)
    return {foreign.name: foreign.shape for foreign in origin.tensors(network).values()}


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        pytest.param(origin, name, id=f"{origin.name}-{name}")
        for name in (
            *("resnet18", "resnet50d", "keras_resnet50v2", "regnet_y_400mf"),
            *("ecaresnet50t", "resnetrs50", "preact_resnet164"),
        )
        for origin in ORIGINS
        if origin.name != "flax" and origin.knows(lower(BUNDLED[name]))
    ],
)
def test_names_of_any_library_are_read_as_ours(origin: Origin, name: str) -> None:
    base = BUNDLED[name]
    found = renamed(names_of(origin, name), downsample=base.downsample)
    if found is None:
        assert origin.name in ("torchvision", "timm")
        return
    assert found.origin == origin
    assert found.shapes == shapes_of(name)
    # Some libraries call a projection alike whether a pool stands in front of it or not.
    tells = origin.name in ("cifar", "mmpretrain", "resnetgen_keras")
    assert found.tells_downsample is tells


def test_names_of_deep_networks_are_read_too() -> None:
    found = renamed(names_of(ORIGIN["transformers"], "resnet152", "repeats=[3,8,40,3]"))
    assert found is not None
    assert found.shapes == shapes_of("resnet152", "repeats=[3,8,40,3]")


@pytest.mark.parametrize(
    "overrides",
    [
        ["block=[{kernel: 3},{kernel: 1},{kernel: 3},{kernel: 1},{kernel: 3},{kernel: 1}]"],
        ["order=pre", "stem.norm=true"],
        ["order=pre", "stem.norm=true", "stages.3.block=[{kernel: 1},{kernel: 1},{kernel: 3}]"],
    ],
)
def test_our_keras_names_of_any_block_and_order_are_read(overrides: list[str]) -> None:
    found = renamed(names_of(ORIGIN["resnetgen_keras"], "resnet34", *overrides))
    assert found is not None
    assert found.shapes == shapes_of("resnet34", *overrides)


@pytest.mark.parametrize(
    "name", ["conv1_conv/kernel", "9" * 9000, "", "layer1.0.shortcut.0.weight"]
)
def test_names_of_nobody_stay(name: str) -> None:
    assert renamed({name: (1,), "a": (1,), "b": ()}) is None


def test_very_many_names_of_nobody_stay() -> None:
    assert renamed({f"conv2d_{number}.kernel": (1,) for number in range(13_000)}) is None
    theirs = {"backbone.conv1.weight": (1, 1, 1, 1), "backbone.layer1.999999.conv1.weight": (1,)}
    assert renamed(theirs | {f"x{number}": (1,) for number in range(13_000)}) is None


def test_attention_stands_where_its_channels_fit() -> None:
    middle = shapes_of("seresnet50", "attention_at=middle")
    found = infer(middle, name="found")
    assert found.spec.attention_at == "middle"
    assert "attention_at" not in found.assumed


def test_base_says_where_attention_stands_if_channels_do_not() -> None:
    base = load("regnet_y_400mf", overrides=["attention_at=end"]).spec
    deeper = shapes_of("regnet_y_400mf", "regnet.depth=18")
    assert infer(deeper, name="found", base=base).spec.attention_at == "end"


def test_dilation_leaves_no_trace_and_is_the_base_s() -> None:
    dilated = load("resnet50", overrides=["output_stride=8"]).spec
    found = infer(tensors(lower(dilated)), name="found")
    assert found.spec.output_stride is None
    assert found.assumed["output_stride"] == "32"
    deeper = load("resnet50", overrides=["output_stride=8", "repeats=[3,4,7,3]"]).spec
    found = infer(tensors(lower(deeper)), name="found", base=dilated)
    assert ops(found.spec) == ops(deeper)
    assert found.assumed["output_stride"] == "8"
    assert "output_stride" not in infer(shapes_of("resnet20"), name="found").assumed


def test_rate_of_stochastic_depth_leaves_no_trace_and_is_the_base_s() -> None:
    dropping = load("resnet18", overrides=["drop_path=0.2"]).spec
    found = infer(tensors(lower(dropping)), name="found")
    assert (found.spec.drop_path, found.assumed["drop_path"]) == (0.0, "0.0")
    deeper = load("resnet18", overrides=["drop_path=0.2", "repeats=[2,3,2,2]"]).spec
    found = infer(tensors(lower(deeper)), name="found", base=dropping)
    assert ops(found.spec) == ops(deeper)
    assert found.assumed["drop_path"] == "0.2"
    plain = BUNDLED["plain20"]
    assert "drop_path" not in infer(shapes_of("plain20"), name="found", base=plain).assumed


@pytest.mark.parametrize("pool", ["max", "avgmax", "catavgmax"])
def test_head_pool_leaves_a_trace_only_where_it_doubles_what_the_last_layer_reads(
    pool: str,
) -> None:
    pooled = load("resnet18", overrides=[f"head_pool={pool}"]).spec
    found = infer(tensors(lower(pooled)), name="found")
    doubles = pool == "catavgmax"
    assert found.spec.head_pool == ("catavgmax" if doubles else "avg")
    assert found.assumed.get("head_pool") == (None if doubles else "avg")
    deeper = load("resnet18", overrides=[f"head_pool={pool}", "repeats=[2,3,2,2]"]).spec
    assert ops(infer(tensors(lower(deeper)), name="found", base=pooled).spec) == ops(deeper)
    single = infer(shapes_of("resnet18", "repeats=[2,3,2,2]"), name="found", base=pooled).spec
    assert single.head_pool == ("avg" if doubles else pool)


class TestMisfits:
    """Tensors of no network: one clear error that names the tensor."""

    def test_names_of_another_scheme(self) -> None:
        said = refused({"features.0.weight": (64, 3, 7, 7), **shapes_of("resnet18")})
        assert "the tensor `features.0.weight` is none of a ResNet" in said
        assert "expected: torchvision's or timm's names" in said

    def test_names_that_tell_no_stages_apart(self) -> None:
        theirs = names_of(ORIGIN["flax"], "flax_resnet18")
        assert renamed(theirs) is None
        said = "hint: Flax's names do not tell stages apart: `convert` reads them, given the spec"
        assert said in refused(theirs)

    def test_a_name_too_many_among_those_of_a_library(self) -> None:
        theirs = names_of(ORIGIN["keras_hub"], "resnet18")
        found = renamed({**theirs, "stack9_extra/kernel": (1, 1)})
        assert found is not None
        assert "the tensor `stack9_extra/kernel` is none of a ResNet" in refused(dict(found.shapes))

    def test_names_behind_a_prefix(self) -> None:
        prefixed = {f"module.model.{name}": shape for name, shape in shapes_of("resnet18").items()}
        assert "hint: their names without `module.model.` would be known" in refused(prefixed)

    @pytest.mark.parametrize(
        ("gone", "said"),
        [
            ("layer2.1.", "there is `layer2.2` but no `layer2.1`"),
            ("layer3.", "there is `layer4` but no `layer3`"),
            ("layer1.0.conv2", "there is `layer1.0.conv3.weight` but no `layer1.0.conv2.weight`"),
            ("layer1.2.conv3", "there is no tensor `layer1.2.conv3.weight`"),
            ("layer2.0.bn1.running_var", "there is no tensor `layer2.0.bn1.running_var`"),
            ("conv1", "there is no tensor `conv1.weight`"),
            ("fc.", "there is no tensor `fc.weight`"),
            ("layer", "there is no `layer1`"),
        ],
    )
    def test_missing_tensors(self, gone: str, said: str) -> None:
        shapes = shapes_of("resnet50")
        kept = {name: shape for name, shape in shapes.items() if not name.startswith(gone)}
        assert said in refused(kept)

    @pytest.mark.parametrize(
        ("name", "shape", "said"),
        [
            ("layer3.2.conv1.weight", (200, 1024, 1, 1),
             "`layer3.2.conv1.weight` has the shape [200, 1024, 1, 1]\n"
             "expected: [256, 1024, 1, 1], by what stands in front of it"),
            ("conv1.weight", (64, 3, 7, 5), "`conv1.weight` has the shape [64, 3, 7, 5]\n"
             "expected: four numbers"),
            ("conv1.weight", (64,), "`conv1.weight` has the shape [64]"),
            ("fc.weight", (1000,), "`fc.weight` has the shape [1000]"),
            ("layer1.0.conv2.weight", (64, 48, 3, 3), "takes 48 channels in each group, where 64"),
            ("layer1.0.conv1.weight", (0, 64, 1, 1), "has the shape [0, 64, 1, 1]"),
            ("fc.weight", (0, 2048), "`classes` is `0`"),
            ("bn1.bias", (32,), "`bn1.bias` has the shape [32]"),
            ("layer1.1.downsample.0.weight", (256, 256, 1, 1),
             "there is no tensor `layer1.1.downsample.1.weight`"),
            ("layer1.0.se.fc1.weight", (300, 256, 1, 1),
             "there is no tensor `layer1.0.se.fc1.bias`"),
            ("layer1.0.se.conv.weight", (1, 1, 5), "there is no tensor `layer1.1.se.conv.weight`"),
        ],
    )  # fmt: skip
    def test_shapes_that_cannot_be(self, name: str, shape: Shape, said: str) -> None:
        assert said in refused({**shapes_of("resnet50"), name: shape})

    @pytest.mark.parametrize(
        ("name", "shape", "said"),
        [
            ("fc.weight", (0, 64), "`classes` is `0`"),
            ("conv1.weight", (16, 100_000, 3, 3), "`input.channels` is `100000`"),
        ],
    )
    def test_ends_that_a_base_cannot_have(self, name: str, shape: Shape, said: str) -> None:
        shapes = {**shapes_of("resnet20"), name: shape}
        shapes["fc.bias"] = shapes["fc.weight"][:1]
        with pytest.raises(DiagnosticError) as error:
            infer(shapes, name="refused", base=BUNDLED["resnet20"])
        assert said in error.value.render()

    def test_squeezes_that_follow_no_ratio(self) -> None:
        squeezes = {f"layer1.{index}.se.fc1.weight": (300 + index, 256, 1, 1) for index in (0, 1)}
        said = refused({**shapes_of("resnet50"), **squeezes})
        assert "follow no ratio: layer1.0 has 300 of 256, layer1.1 has 301 of 256\n" in said

    def test_nothing_at_all(self) -> None:
        assert "there is no tensor `conv1.weight`" in refused({})


def save(path: str, shapes: dict[str, Shape]) -> None:
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path)


class TestCommand:
    """`infer`."""

    def test_yaml_alone_is_on_stdout(self, resnetgen: Run) -> None:
        save("My ResNet.v2.safetensors", shapes_of("resnet20"))
        ran = resnetgen("infer", "My ResNet.v2.safetensors")
        assert ran.code == 0
        Path("spec.yaml").write_text(ran.out)
        assert load("spec.yaml").spec.name == "my_resnet"
        assert resnetgen("check", "spec.yaml").code == 0

    def test_stderr_says_what_is_assumed_and_what_fits_as_well(self, resnetgen: Run) -> None:
        save("cifar.safetensors", shapes_of("resnet20"))
        said = resnetgen("infer", "cifar.safetensors").err
        assert said.startswith("cifar: 20 layers, 269,722 parameters, ")
        assumed = "input.size 32, stem.stride 1, stem.pool none, the stages' stride [1,2,2], "
        words = " ".join(said.split())
        assert f"{assumed}shortcut zero_pad, drop_path 0.0" in words
        assert "dropout 0.0, conv_padding symmetric, dialect torchvision" in words
        more = "stride_block first, anti_alias none, activation relu, epsilon 1e-05, "
        more += "momentum 0.1, conv_init he_fan_out, linear_init uniform_fan_in, "
        more += "zero_init_last false, output logits "
        assert f"dialect torchvision, {more}bundled networks" in words
        assert "bundled networks with these names and shapes: plain20, resnet20\n" in said

    def test_other_classes_than_a_bundled_network_has(self, resnetgen: Run) -> None:
        save("ten.safetensors", shapes_of("resnet18", "classes=10"))
        said = resnetgen("infer", "ten.safetensors").err
        assert "but for image and head: flax_resnet18, resnet18, resnetblur18\n" in said

    def test_network_that_is_bundled_nowhere(self, resnetgen: Run) -> None:
        save("own.safetensors", shapes_of("resnet20", "stem.width=8"))
        said = resnetgen("infer", "own.safetensors").err
        assert "no bundled network has these names and shapes" in said

    def test_assume_gives_an_extension(self, resnetgen: Run) -> None:
        save("plain.safetensors", shapes_of("plain20", "classes=7"))
        ran = resnetgen("infer", "plain.safetensors", "--assume", "plain20", "--name", "seven")
        assert (ran.code, ran.out) == (0, "extends: plain20\nname: seven\nclasses: 7\n")
        assert "taken from plain20" in ran.err
        assert "shortcut none" in ran.err

    def test_assume_takes_a_file_too(self, resnetgen: Run) -> None:
        Path("base.yaml").write_text("extends: resnet20\nname: base\nepsilon: 0.001\n")
        save("own.safetensors", shapes_of("resnet20"))
        out = resnetgen("infer", "own.safetensors", "--assume", "base.yaml").out
        assert out.startswith("name: own\ndialect: paper\n")
        assert "epsilon: 0.001\n" in out

    @pytest.mark.parametrize("stem", ["class", "50", "ResNet-50", "x" * 90, "...", "网络"])
    def test_any_file_gives_a_legal_name(self, resnetgen: Run, stem: str) -> None:
        save(f"{stem}.safetensors", shapes_of("resnet20"))
        ran = resnetgen("infer", f"{stem}.safetensors")
        Path("spec.yaml").write_text(ran.out)
        assert resnetgen("check", "spec.yaml").code == 0

    def test_bad_input_is_reported(self, resnetgen: Run) -> None:
        Path("text.safetensors").write_text("no tensors")
        Path("model.zip").write_bytes(b"PK")
        Path("empty.safetensors").touch()
        Path("folder.safetensors").mkdir()
        save("ok.safetensors", shapes_of("resnet20"))
        save("other.safetensors", {"features.0.weight": (8, 3, 3, 3)})
        save("odd.safetensors", {"fc.weight": (9, 8), "fc.bias": (9,), "foo.weight": (8,)})
        save("head.safetensors", {"predictions/kernel": (8, 9)})
        for arguments, said in {
            ("y" * 300,): "error: cannot be read: File name too long",
            ("missing.safetensors",): "missing.safetensors: error: does not exist",
            (
                "text.safetensors",
            ): "text.safetensors: error: is no safetensors file: it ends within its header",
            ("folder.safetensors",): "folder.safetensors: error: is a directory",
            ("empty.safetensors",): "empty.safetensors: error: is empty",
            ("model.zip",): "model.zip: error: has the unknown ending `.zip`\nexpected: a weights",
            ("other.safetensors",): "other.safetensors: error: the tensor `features.0.weight`",
            ("odd.safetensors",): "odd.safetensors: error: the tensor `foo.weight` is none",
            ("head.safetensors",): "head.safetensors: error: there is no tensor `conv1.weight`",
            ("ok.safetensors", "--assume", "plain2"): "there is no bundled spec `plain2`",
            ("ok.safetensors", "--assume", "resnet50"): "ok.safetensors: error: `resnet50` has 4",
            ("ok.safetensors", "--name", "A b"): "`--name` cannot be `A b`: it contains `A`",
        }.items():
            ran = resnetgen("infer", *arguments)
            assert (ran.code, ran.out) == (2, "")
            assert said in ran.err

    @pytest.mark.frameworks
    def test_checkpoint_of_torchvision_gives_the_bundled_network(self, resnetgen: Run) -> None:
        skip_without("torch", "torchvision", "timm")
        from peers import torchvision_models
        from safetensors.torch import save_model

        save_model(torchvision_models().resnet50(), "resnet50.safetensors")
        ran = resnetgen("infer", "resnet50.safetensors")
        assert "with these names and shapes: flax_resnet50, resnet50, resnet50_paper, " in ran.err
        Path("spec.yaml").write_text(ran.out)
        assert lower(load("spec.yaml").spec) == lower(BUNDLED["resnet50"])

    @pytest.mark.frameworks
    def test_regnet_of_torchvision_is_read_by_its_own_names(self, resnetgen: Run) -> None:
        skip_without("torch", "torchvision", "timm")
        import torch
        from peers import torchvision_models

        theirs = torchvision_models().regnet_y_400mf().state_dict()
        torch.save(theirs, "regnet.pth")
        ran = resnetgen("infer", "regnet.pth", "--assume", "regnet_y_400mf")
        assert ran.out == "extends: regnet_y_400mf\nname: regnet\n"
        assert "regnet.pth: the names of torchvision's RegNets\n" in ran.err
        Path("found.yaml").write_text(resnetgen("infer", "regnet.pth", "--name", "found").out)
        # What the names do not tell, as where the images are halved, is as in the one that fits.
        found, bundled = load("found.yaml").spec, load("regnet_y_400mf").spec
        assert lower(replace(bundled, name="found")) == lower(found)
        counters = [name for name in theirs if name.endswith("num_batches_tracked")]
        shapes = tensors(lower(load("found.yaml").spec))
        assert len(shapes) == len(theirs) - len(counters)
        converted = resnetgen(
            "convert", "regnet.pth", "--spec=found.yaml", "--to=torch", "-o=x.pth"
        )
        assert converted.code == 0

    def test_names_that_leave_the_projections_open_are_told(self, resnetgen: Run) -> None:
        save("hub.safetensors", names_of(ORIGIN["keras_hub"], "resnet50d"))
        ran = resnetgen("infer", "hub.safetensors")
        assert "downsample conv" in ran.err
        assert "bundled networks with these names and shapes: resnet50c, resnet50d, " in ran.err
        assert "downsample" not in ran.out
        ran = resnetgen("infer", "hub.safetensors", "--assume", "resnet50d")
        assert ran.out == "extends: resnet50d\nname: hub\n"

    @pytest.mark.frameworks
    def test_state_dict_of_torchvision_is_read_as_torch_saved_it(self, resnetgen: Run) -> None:
        skip_without("torch", "torchvision", "timm")
        import torch
        from peers import torchvision_models

        state = torchvision_models().resnet50().state_dict()
        wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save(state, "resnet50.pth")
        torch.save({"state_dict": wrapped, "epoch": 3}, "resnet50.pth.tar")
        plain, tarred = (resnetgen("infer", name) for name in ("resnet50.pth", "resnet50.pth.tar"))
        assert (plain.code, tarred.code) == (0, 0)
        assert plain.out == tarred.out
        Path("spec.yaml").write_text(plain.out)
        assert load("spec.yaml").spec == BUNDLED["resnet50"]
        assert plain.err.startswith("resnet50: 50 layers, 25,557,032 parameters, ")
        assert tarred.err.startswith(
            "resnet50.pth.tar: every name is behind `module.`\n"
            "resnet50.pth.tar: the weights lie under `state_dict`\n"
        )
