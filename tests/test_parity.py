"""Networks that other people know under the same name are the same networks."""

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from skips import skip_without

from resnetgen.diagnostics import DiagnosticError
from resnetgen.emit.torchvision import counterpart
from resnetgen.pipeline import compile_spec
from resnetgen.spec.load import bundled, load

pytestmark = pytest.mark.frameworks

# One for each thing that a spec can say; `make parity` compares them all.
NAMES = (
    "resnet18",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "resnet26t",
    "seresnet18",
    "ecaresnet26t",
    "ecaresnet50d_pruned",
    "resnetblur18",
    "resnetaa34d",
    "resnetrs50",
    "resnet50_gn",
    "test_resnet",
    "regnet_x_400mf",
    "regnet_y_400mf",
)


@pytest.mark.parametrize("name", NAMES)
def test_network_is_its_peer(name: str) -> None:
    skip_without("torch", "torchvision", "timm")
    from parity import parity, peers

    found = parity(peers()[name])
    assert found.double <= 1e-10
    assert found.single <= found.single_bound


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_number_is_no_parity(place: int) -> None:
    skip_without("torch")
    import torch
    from parity import compared

    images = [torch.ones(1, 3, size, size) for size in (4, 5, 6)]
    values = [image.clone() for image in images]
    same = compared(torch.nn.Identity(), images, values, [value.double() for value in values])
    assert (same.single, same.double) == (0, 0)
    values[place][0, 0, 0, 0] = torch.nan
    found = compared(torch.nn.Identity(), images, values, [value.double() for value in values])
    assert (found.single, found.double) == (math.inf, math.inf)


@pytest.mark.parametrize("seed", range(20))
def test_regnet_rule_gives_the_stages_that_torchvision_s_does(seed: int) -> None:
    skip_without("torch", "torchvision", "timm")
    from peers import torchvision_models

    random = Random(seed)
    rule = {
        "depth": random.randint(1, 40),
        "w_0": 8 * random.randint(1, 40),
        "w_a": round(random.uniform(0, 150), 2),
        "w_m": round(random.uniform(1.5, 3), 2),
        "group_width": random.randint(1, 128),
    }
    theirs = torchvision_models().regnet.BlockParams.from_init_params(**rule)
    said = ",".join(f"{key}: {value}" for key, value in rule.items())
    ours = load("regnet_x_400mf", overrides=[f"regnet={{{said}}}", "input.size=65536"]).spec.stages
    assert [stage.repeats for stage in ours] == theirs.depths
    assert [stage.width for stage in ours] == theirs.widths
    assert [stage.width // stage.groups for stage in ours] == theirs.group_widths


@pytest.mark.parametrize("name", ["keras_resnet50", "keras_resnet50v2"])
def test_network_is_that_of_keras_applications(name: str) -> None:
    skip_without("torch", "tensorflow", "keras", "h5py")
    from parity import far_parity, keras_peers

    found = far_parity(keras_peers()[name])
    assert found.double <= 1e-10
    assert found.single <= found.single_bound


def test_network_is_that_of_flax_s_example() -> None:
    skip_without("torch", "jax", "flax")
    from parity import far_parity, flax_peers

    found = far_parity(flax_peers()["flax_resnet18"])
    assert found.double <= 1e-10
    assert found.single <= found.single_bound


# With the millions of parameters that the libraries' own tables state.
@pytest.mark.parametrize(
    ("name", "millions"),
    [("caffe/ResNet-50", 25.6), ("pycls/RegNetY-200MF", 3.2), ("mmpretrain/seresnet50", 28.1)],
)
def test_network_has_the_names_and_shapes_of_its_peer(name: str, millions: float) -> None:
    skip_without("torch")
    from parity import names_peers

    assert round(names_peers()[name].parity().params / 1e6, 1) == millions


# A bias more, strides elsewhere, fewer blocks, other widths, a pool less.
@pytest.mark.parametrize(
    ("name", "spec", "override"),
    [
        ("caffe/ResNet-101", "caffe_resnet101", "stem.bias=true"),
        ("caffe/ResNet-101", "caffe_resnet101", "stride_on=3x3"),
        ("caffe/ResNet-101", "caffe_resnet101", "repeats=[3, 4, 22, 3]"),
        ("pycls/RegNetX-400MF", "regnet_x_400mf", "regnet.rounding=torchvision"),
        ("mmpretrain/resnetv1d50", "resnet50d", "downsample=conv"),
    ],
)
def test_a_network_with_other_names_and_shapes_is_not_the_peer(
    name: str, spec: str, override: str
) -> None:
    skip_without("torch")
    from parity import names_parity, names_peers

    peer = names_peers()[name]
    other = replace(peer.listing, spec=spec, overrides=(override,))
    with pytest.raises((AssertionError, DiagnosticError)):
        names_parity(replace(peer, listing=other))


def test_page_of_parity_claims_no_more_than_was_found() -> None:
    skip_without("torch", "timm", "torchvision")
    from parity import NamesParity, Parity, Row, document, flax_peers, names_peers

    outputs, named = flax_peers()["flax_resnet18"], names_peers()["caffe/ResNet-50"]
    page = document(
        [
            Row(outputs, Parity(11689512, 2.8e-15, 1.3e-6, 1e-5)),
            Row(named, NamesParity(25557096)),
            Row(replace(named, name="caffe/ResNet-101"), "lacks a bias"),
        ]
    )
    for line in (
        "- Flax's example: 1 of 1 agree",
        "- caffe: 1 of 2 agree in names and shapes",
        "| flax_resnet18 | Flax's example | read | 11,689,512 | 2.8e-15 | 1.3e-06 |",
        "| caffe/ResNet-50 | caffe | names only | 25,557,096 |",
        "| caffe/ResNet-101 | caffe | failed: lacks a bias |",
    ):
        assert f"\n{line}\n" in page


def test_torchvision_is_named_where_its_weights_fit_and_nowhere_else() -> None:
    skip_without("torch", "torchvision", "timm")
    from peers import torchvision_models

    models = torchvision_models()
    theirs = {
        name
        for name in models.list_models(module=models)
        if models.get_model_builder(name).__module__ == "torchvision.models.resnet"
    }
    said = {name: counterpart(compile_spec(name).network) for name in bundled()}
    assert {name: model for name, model in said.items() if model} == {name: name for name in theirs}


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_activation_is_that_of_timm(activation: str) -> None:
    """With squeeze-and-excitation, whose own activation does not change with the network's."""
    skip_without("torch", "torchvision", "timm")
    import torch
    from parity import EXACT, built, difference, peers, randomize

    peers()  # which imports torchvision as timm needs it
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("seresnet18", act_layer=activation)
    randomize(theirs)
    overrides = (f"activation={activation}",)
    ours = built(compile_spec("seresnet18", overrides=overrides).network)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.randn(1, 3, 65, 96, dtype=torch.float64)
    with torch.inference_mode():
        found = difference(ours.double().eval()(image), theirs.double().eval()(image))
    assert found <= EXACT


# The last two have what stays of a pool and of a filter where a stride is not taken, and of
# SENet-154's projections, here with fewer blocks, the kernel is dilated too.
@pytest.mark.parametrize(
    ("name", "output_stride"),
    [
        ("resnet50", 8),
        ("resnet50", 16),
        ("resnet18", 16),
        ("resnet18", 8),
        ("senet154", 8),
        ("resnet50d", 8),
        ("resnetblur50", 8),
    ],
)
def test_dilation_is_that_of_timm(name: str, output_stride: int) -> None:
    skip_without("torch", "torchvision", "timm")
    from parity import peers

    peers()  # which imports torchvision as timm needs it
    import timm

    fewer = {"layers": [1, 2, 2, 1]} if name == "senet154" else {}
    theirs = timm.create_model(name, output_stride=output_stride, **fewer)
    holds_dilated(name, theirs, output_stride, *(f"repeats={each}" for each in fewer.values()))


@pytest.mark.parametrize(("output_stride", "replaced"), [(8, (0, 1, 1)), (16, (0, 0, 1))])
def test_dilation_is_that_of_torchvision(output_stride: int, replaced: tuple[int, ...]) -> None:
    skip_without("torch", "torchvision", "timm")
    from peers import torchvision_models

    dilate = [bool(each) for each in replaced]
    theirs = torchvision_models().resnet50(replace_stride_with_dilation=dilate)
    holds_dilated("resnet50", theirs, output_stride)


def holds_dilated(name: str, theirs: Any, output_stride: int, *others: str) -> None:
    """Asserts that the network so dilated loads the peer's state strictly and computes the same."""
    import torch
    from parity import EXACT, built, difference, randomize

    torch.manual_seed(0)
    randomize(theirs)
    overrides = (f"output_stride={output_stride}", *others)
    ours = built(compile_spec(name, overrides=overrides).network)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    undilated = built(compile_spec(name, overrides=others).network)
    undilated.load_state_dict(theirs.state_dict(), strict=True)
    for size in ((64, 64), (65, 97)):
        image = torch.randn(1, 3, *size, dtype=torch.float64)
        with torch.inference_mode():
            expected = theirs.double().eval()(image)
            assert difference(ours.double().eval()(image), expected) <= EXACT
            assert difference(undilated.double().eval()(image), expected) > 1e6 * EXACT


def test_stochastic_depth_is_that_of_timm() -> None:
    skip_without("torch", "torchvision", "timm")
    from parity import peers

    peers()  # which imports torchvision as timm needs it
    import timm
    from timm.layers import DropPath

    theirs = timm.create_model("resnet26", drop_path_rate=0.2)
    ours = holds_same("resnet26", theirs, "drop_path=0.2")
    expected = {
        name: module.drop_prob
        for name, module in theirs.named_modules()
        if isinstance(module, DropPath)
    }
    found = {
        name.replace("droppath", "drop_path"): module.p
        for name, module in ours.named_modules()
        if name.endswith(".droppath") and module.p > 0
    }
    assert len(found) == 7
    assert found == expected


def test_dropout_is_where_timm_has_its_drop_rate() -> None:
    skip_without("torch", "torchvision", "timm")
    from parity import peers

    peers()
    import timm
    import torch

    theirs = timm.create_model("resnet18", drop_rate=0.5)
    ours = holds_same("resnet18", theirs, "dropout=0.5")
    image = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    outputs: list[Any] = []
    for model, dropout in ((theirs, None), (ours, ours.dropout)):
        model.eval()
        # Only the dropouts train: batch norms would see other numbers.
        model.training = True
        if dropout is not None:
            dropout.train()
        torch.manual_seed(1)
        with torch.inference_mode():
            outputs.append(model(image))
    assert (outputs[0] == outputs[1]).all()


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "catavgmax"])
def test_head_pool_is_that_of_timm(pool: str) -> None:
    skip_without("torch", "torchvision", "timm")
    from parity import peers

    peers()
    import timm

    theirs = timm.create_model("resnet18", global_pool=pool)
    holds_same("resnet18", theirs, f"head_pool={pool}")


def holds_same(name: str, theirs: Any, *overrides: str) -> Any:
    """Our network so changed, which loads the peer's state strictly and computes the same."""
    import torch
    from parity import EXACT, built, difference, randomize

    torch.manual_seed(0)
    randomize(theirs)
    ours = built(compile_spec(name, overrides=overrides).network)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.randn(2, 3, 65, 97, dtype=torch.float64)
    with torch.inference_mode():
        expected = theirs.double().eval()(image)
        assert difference(ours.double().eval()(image), expected) <= EXACT
    return ours


def test_a_stride_in_another_place_is_not_the_peer() -> None:
    """The comparison can fail: the parameters are the same, the output is not."""
    skip_without("torch", "torchvision", "timm")
    import torch
    from parity import EXACT, built, difference, peers, randomize

    torch.manual_seed(0)
    theirs = peers()["resnet50"].build()
    randomize(theirs)
    ours = built(compile_spec("resnet50_paper").network)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert difference(ours.eval()(image), theirs.eval()(image)) > 1e6 * EXACT
