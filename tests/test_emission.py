"""What `build` emits: source to sign in review, the same bytes each time, published counts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from generated import hold_to_ruff, import_file
from resnetgen.emit import emit, source, targets
from resnetgen.ir.check import check
from resnetgen.ir.network import Network
from resnetgen.ir.summary import rows, total
from resnetgen.ir.text import text
from resnetgen.lower import lower
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import bundled, load
from resnetgen.weights.file import write
from resnetgen.weights.initial import initial
from resnetgen.weights.layout import layout

ROOT = Path(__file__).parent.parent
GOLDEN_TEXTS = Path(__file__).parent / "golden"
TORCHVISION_DEPTHS = (18, 34, 50, 101, 152)


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All bundled specs and the odd ones of this file, emitted for every target."""
    root = tmp_path_factory.mktemp("emitted")
    (root / "specs").mkdir()
    for name, document in ODD_SPECS.items():
        (root / "specs" / f"{name}.yaml").write_text(document)
    references = [*bundled(), *(str(path) for path in (root / "specs").iterdir())]
    for reference in references:
        spec = load(reference).spec
        network = lower(spec)
        check(network)
        (root / spec.name).mkdir()
        for file, content in files(network).items():
            (root / spec.name / file).write_bytes(content)
    return root


LONG = "a" * 64
ODD_SPECS = {
    # Neither groups nor what attention squeezes to follow from the channels in all blocks.
    "staged_groups": """
name: staged_groups
input: {channels: 3, size: 24}
classes: 7
stem: {width: 16, kernel: 3, stride: 1, pool: none}
block: [{kernel: 3}, {kernel: 3, expansion: 2}, {kernel: 3}]
order: pre
attention: se
attention_at: middle
se_ratio: 0.3
se_of: input
se_divisor: 1
linear_init: normal
stages:
  - {name: a, repeats: 2, width: 16, stride: 1, groups: 2}
  - {name: b, repeats: 2, width: 32, stride: 2, groups: 8, shortcut: zero_pad}
  - {name: c, repeats: 2, width: 48, stride: 2, groups: 1}
""",
    # Every constant differs from the frameworks' defaults, and kinds of block are mixed.
    "mixed": """
name: mixed
license: MIT
dialect: paper
input: {channels: 1, size: [48, 64]}
classes: 7
stem: {width: 8, kernel: 5, stride: 1, pool: max}
conv_bias: true
epsilon: 0.002
momentum: 0.02
zero_init_last: true
stages:
  - {name: first, repeats: 2, width: 8, stride: 1, block: basic, shortcut: projection_all}
  - {name: second, repeats: 6, width: 8, stride: 2, block: bottleneck}
  - {name: third, repeats: 1, width: 40, stride: 1, block: basic, shortcut: zero_pad}
  - {name: fourth, repeats: 2, width: 48, stride: 2, block: basic, shortcut: zero_pad}
  - {name: fifth, repeats: 2, width: 16, stride: 1, shortcut: none,
     block: [{kernel: 5}, {kernel: 1}]}
""",
    # SAME padding by its own key, of several kernels and of projections; by numbers where the stem
    # strides; and in a kind of block that dilates as well.
    "same_padded": """
name: same_padded
input: {channels: 3, size: 30}
classes: 10
conv_padding: same
stem: {hidden: [4, 4], width: 8, kernel: 3, stride: 2, pool: conv}
block: [{kernel: 3}, {kernel: 5, strided: true}]
groups: 2
projection_kernel: 3
output_stride: 8
order: pre
attention: se
conv_init: lecun_normal
stages:
  - {name: a, repeats: 2, width: 8, stride: 2}
  - {name: b, repeats: 2, width: 8, stride: 2}
  - {name: c, repeats: 3, width: 16, stride: 3}
""",
    # The knobs that ResNeXt, ResNet-D and SENet turn, on blocks with and without a stride.
    "knobs": """
name: knobs
input: {channels: 3, size: 32}
classes: 10
stem: {hidden: [4, 6], width: 16, kernel: 3, stride: 2, pool: max}
block: bottleneck
groups: 2
width_per_group: 16
reduce_first: 2
downsample: avg
attention: se
anti_alias: avg
stages:
  - {name: conv2_x, repeats: 2, width: 16, stride: 1}
  - {name: conv3_x, repeats: 2, width: 40, stride: 2}
""",
    # A shortcut that option A makes smaller but no wider; and norms nowhere.
    "bare": """
name: bare
input: {channels: 3, size: 16}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
shortcut: zero_pad
order: pre
norm: none
stages:
  - {name: conv2_x, repeats: 2, width: 8, stride: 2}
""",
    # Others, and channels that do not follow from the width.
    "other_knobs": """
name: other_knobs
input: {channels: 3, size: 32}
classes: 10
stem: {width: 12, kernel: 3, stride: 1, pool: conv}
block: bottleneck
expansion: 2
width_per_group: 40
projection_kernel: 3
attention: eca
conv_bias: true
stages:
  - {name: conv2_x, repeats: 5, width: 9, stride: 2}
  - {name: conv3_x, repeats: 2, width: 17, stride: 1}
  - {name: conv4_x, repeats: 2, width: 80, stride: 1}
""",
    "blurred": """
name: blurred
input: {channels: 3, size: 32}
classes: 10
stem: {width: 16, kernel: 3, stride: 1, pool: max}
block: basic
attention: se
se_ratio: 0.25
anti_alias: blur
stages:
  - {name: conv2_x, repeats: 2, width: 16, stride: 1}
  - {name: conv3_x, repeats: 1, width: 24, stride: 2}
""",
    # Blocks that differ only in where their stride sits, and so in where a filter strides.
    "striding": """
name: striding
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
anti_alias: avg
stages:
  - {name: conv2_x, repeats: 2, width: 8, stride: 2,
     block: [{kernel: 3, strided: true}, {kernel: 3}]}
  - {name: conv3_x, repeats: 2, width: 8, stride: 2,
     block: [{kernel: 3}, {kernel: 3, strided: true}]}
""",
    # Dilations that differ within blocks, and in projections from those of the main path.
    "dilated": """
name: dilated
input: {channels: 3, size: 64}
classes: 10
stem: {width: 8, kernel: 3, stride: 2, pool: max}
block: bottleneck
stride_on: 1x1
projection_kernel: 3
output_stride: 8
stages:
  - {name: a, repeats: 1, width: 4, stride: 2, groups: 2}
  - {name: b, repeats: 2, width: 8, stride: 2, shortcut: zero_pad,
     block: [{kernel: 3}, {kernel: 5, strided: true}, {kernel: 3, expansion: 3}]}
  - {name: c, repeats: 2, width: 8, stride: 2, groups: 2}
  - {name: d, repeats: 2, width: 8, stride: 1, block: basic}
""",
    # Filters and pools that stay where a stride is not taken.
    "dilated_filters": """
name: dilated_filters
input: {channels: 3, size: 48}
classes: 10
stem: {width: 8, kernel: 3, stride: 2, pool: none}
block: basic
downsample: avg
anti_alias: blur
output_stride: 8
stages:
  - {name: a, repeats: 2, width: 8, stride: 2}
  - {name: b, repeats: 1, width: 8, stride: 2}
  - {name: c, repeats: 2, width: 12, stride: 3}
  - {name: d, repeats: 1, width: 16, stride: 1}
""",
    # Rates that differ from block to block: in loops, in lists, and in a kind of one block.
    "dropping": """
name: dropping
input: {channels: 3, size: 16}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
attention: se
drop_path: 0.123456
block_dropout: 0.3
head_pool: catavgmax
dropout: 0.25
stages:
  - {name: one, repeats: 6, width: 8, stride: 1}
  - {name: two, repeats: 2, width: 8, stride: 1, block: bottleneck, shortcut: none}
  - {name: three, repeats: 5, width: 24, stride: 2,
     block: [{kernel: 3, expansion: 3}, {kernel: 3, expansion: 2}, {kernel: 3}]}
  - {name: four, repeats: 1, width: 8, stride: 1, block: bottleneck}
""",
    # Means and maxima of a head that activates, for probabilities.
    "pooled": """
name: pooled
input: {channels: 3, size: 16}
classes: 10
order: pre
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
block_dropout: 0.5
head_pool: avgmax
output: softmax
stages:
  - {name: one, repeats: 2, width: 8, stride: 1}
  - {name: two, repeats: 2, width: 12, stride: 2}
""",
    # Pre-activation: blocks that pad, have three convolutions, attention or no shortcut, and a stem
    # that activates what the first block reads.
    "preactivated": """
name: preactivated
input: {channels: 3, size: 32}
classes: 10
order: pre
conv_bias: without_norm
zero_init_last: true
stem: {width: 12, kernel: 3, stride: 1, norm: true, pool: max}
attention: se
stages:
  - {name: one, repeats: 3, width: 12, stride: 1, block: basic}
  - {name: two, repeats: 2, width: 16, stride: 2, block: basic, shortcut: zero_pad}
  - {name: three, repeats: 2, width: 8, stride: 2, block: bottleneck, shortcut: projection_all}
  - {name: four, repeats: 2, width: 8, stride: 1, shortcut: none,
     block: [{kernel: 3}, {kernel: 1}, {kernel: 3}]}
""",
    # A filter that strides right behind the convolution that else would.
    "filtered": """
name: filtered
input: {channels: 3, size: 32}
classes: 10
order: pre
stem: {width: 8, kernel: 3, stride: 1, pool: max}
anti_alias: avg
block: basic
stages:
  - {name: one, repeats: 2, width: 8, stride: 1}
  - {name: two, repeats: 2, width: 16, stride: 2}
""",
    # As Keras V2 has it: nothing behind the stem's convolution, strides in last blocks, softmax.
    "strided_last": """
name: strided_last
dialect: keras_v2
input: {channels: 3, size: 32}
classes: 10
order: pre
anti_alias: none
stem: {width: 16, kernel: 7, stride: 2, pool: max}
block: bottleneck
stages:
  - {name: conv2_x, repeats: 6, width: 8, stride: 2}
  - {name: conv3_x, repeats: 1, width: 12, stride: 2}
  - {name: conv4_x, repeats: 2, width: 16, stride: 1}
""",
    # The pool reads values of both signs, and pads them with what is never the maximum.
    "unactivated": """
name: unactivated
dialect: torchvision
input: {channels: 2, size: 16}
classes: 3
order: pre
stem: {width: 8, kernel: 3, stride: 1, bias: true, pool: max}
block: basic
downsample: avg
stages:
  - {name: one, repeats: 2, width: 8, stride: 2}
""",
    "grouped_norms": """
name: grouped_norms
dialect: timm
input: {channels: 3, size: 16}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: bottleneck
norm: group
norm_groups: 4
epsilon: 0.001
groups: 2
stages:
  - {name: one, repeats: 2, width: 4, stride: 1}
  - {name: two, repeats: 2, width: 8, stride: 2}
""",
    "pruned": """
name: pruned
input: {channels: 3, size: 16}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: bottleneck
attention: eca
stages:
  - {name: one, repeats: 6, width: 8, stride: 1,
     pruned: [[7, 5, 9], [7, 5, 9], [7, 5, 9], [7, 5, 9], [3, 5, 9], [7, 6, 9]]}
  - {name: two, repeats: 1, width: 16, stride: 2, pruned: [[16, 16, 64]]}
""",
    "without_norms": """
name: without_norms
dialect: caffe
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 7, stride: 2, pool: max}
block: basic
norm: none
conv_bias: without_norm
stages:
  - {name: one, repeats: 2, width: 8, stride: 1}
  - {name: two, repeats: 2, width: 12, stride: 2}
""",
    "keras_biases": """
name: keras_biases
dialect: keras
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, bias: false, pool: none}
block: bottleneck
attention: se
stages:
  - {name: one, repeats: 2, width: 4, stride: 1}
""",
    # An activation with negative values, in front of a max pool, in a deep stem and behind the sum.
    "smooth": """
name: smooth
dialect: timm
input: {channels: 3, size: 32}
classes: 10
activation: silu
stem: {hidden: [4], width: 8, kernel: 3, stride: 2, pool: max}
block: basic
attention: se
stages:
  - {name: one, repeats: 2, width: 8, stride: 1}
  - {name: two, repeats: 2, width: 12, stride: 2}
""",
    # In the order `pre` the head activates too.
    "curved": """
name: curved
input: {channels: 3, size: 16}
classes: 10
activation: gelu
order: pre
stem: {hidden: [4], width: 8, kernel: 3, stride: 1, pool: none}
block: basic
stages:
  - {name: one, repeats: 2, width: 8, stride: 2}
""",
    # The longest name, and one block whose every parameter is constant.
    LONG: f"""
name: {LONG}
input: {{channels: 3, size: 8}}
classes: 2
stem: {{width: 4, kernel: 1, stride: 1, pool: none}}
block: [{{kernel: 1}}]
stages:
  - {{name: {LONG}, repeats: 1, width: 4, stride: 1}}
""",
    # A main path too long for one line of the docstring's table.
    "long_path": """
name: long_path
input: {channels: 3, size: 8}
classes: 2
stem: {width: 4, kernel: 3, stride: 1, pool: none}
block: [{kernel: 3}, {kernel: 1}, {kernel: 3}, {kernel: 5}, {kernel: 7}, {kernel: 3}, {kernel: 3},
  {kernel: 11}, {kernel: 3}, {kernel: 1}, {kernel: 1, expansion: 3}]
shortcut: zero_pad
stages:
  - {name: conv2_x, repeats: 9, width: 1024, stride: 2}
""",
}


def files(network: Network, spec_yaml: str = "") -> dict[str, bytes]:
    names = sorted(targets())
    return emit(network, names=names, spec_yaml=spec_yaml, described=names)


def network(name: str) -> Network:
    return lower(load(name).spec)


def test_sources_are_what_ruff_leaves_alone(emitted: Path) -> None:
    # The factory of timm's test_resnet looks like a test.
    hold_to_ruff(emitted, ignored=f"{emitted}/test_resnet/*:PT")


@pytest.mark.frameworks
def test_sources_pass_a_type_checker(emitted: Path) -> None:
    """By the types that frameworks declare: Keras has few, and guesses from its code are wrong."""
    pytest.importorskip("torch")
    pytest.importorskip("flax")
    names = ("resnet18", "plain20", "resnet110", "resnet50d", *ODD_SPECS)
    options = {"typeCheckingMode": "basic", "useLibraryCodeForTypes": False}
    config = emitted / "pyrightconfig.json"
    config.write_text(json.dumps({**options, "include": names, "reportMissingModuleSource": False}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", config]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", ["torch", "keras", "flax"])
def test_docstrings_speak_of_norms_only_where_there_are_some(emitted: Path, target: str) -> None:
    bare, staged = (
        (emitted / name / f"model_{target}.py").read_text() for name in ("bare", "staged_groups")
    )
    assert "An activation stands in front of each convolution." in bare
    assert not re.search(r"norms?\b", bare, re.IGNORECASE)
    assert "A norm and an activation stand in front of each convolution" in staged


def test_no_source_has_what_its_spec_does_not_use(emitted: Path) -> None:
    resnet18 = (emitted / "resnet18" / "model_torch.py").read_text()
    assert "Bottleneck" not in resnet18
    assert "functional" not in resnet18
    plain34 = (emitted / "plain34" / "model_keras.py").read_text()
    assert "downsample" not in plain34
    assert "shortcut" not in plain34.replace("without a shortcut", "")
    resnet110 = (emitted / "resnet110" / "model_torch.py").read_text()
    assert "maxpool" not in resnet110
    assert "eps" not in resnet110


def test_sources_of_specs_that_differ_in_one_field_differ_in_little(emitted: Path) -> None:
    """Only the hash in the header and the line with the epsilon."""
    base = source(network("resnet18"), "keras")
    spec = load("resnet18", overrides=["epsilon=0.001"]).spec
    other = source(lower(spec), "keras")
    changed = [
        (one, two)
        for one, two in zip(base.splitlines(), other.splitlines(), strict=True)
        if one != two
    ]
    assert len(changed) == 2
    assert changed[0][0].startswith("# Edit the spec")
    assert changed[1] == ("BN_EPSILON = 1e-05", "BN_EPSILON = 0.001")


def test_onnx_graph_has_the_weights_as_external_data(emitted: Path) -> None:
    import onnx

    model = onnx.load(emitted / "resnet18" / "model.onnx", load_external_data=False)
    names = {tensor.name for tensor in model.graph.initializer}
    assert "layer4.1.bn2.running_var" in names
    assert all(tensor.data_location == 1 for tensor in model.graph.initializer)
    assert len(names) == 102, "122 entries of torchvision's state_dict less 20 counters"
    assert (emitted / "resnet18" / "model.onnx").stat().st_size < 40_000


def test_weights_saved_anew_lie_where_the_graph_looks_for_them(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    small = network("resnet20")
    write(tmp_path / "ours", layout(small), tensors=initial(small, seed=0))
    save_file(load_file(tmp_path / "ours"), tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_same_spec_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    script = (
        "import hashlib\n"
        "from resnetgen.lower import lower\n"
        "from resnetgen.spec.load import load\n"
        "from resnetgen.spec.canonical import to_yaml\n"
        "from resnetgen.emit import emit, targets\n"
        "spec = load('resnet56').spec\n"
        "names = sorted(targets())\n"
        "found = emit(lower(spec), names=names, spec_yaml=to_yaml(spec), described=names)\n"
        "print([(name, hashlib.sha256(found[name]).hexdigest()) for name in sorted(found)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1


def test_resolved_spec_compiles_to_the_same_bytes(emitted: Path, tmp_path: Path) -> None:
    spec = load(str(emitted / "specs" / "mixed.yaml")).spec
    (tmp_path / "spec.yaml").write_text(to_yaml(spec))
    again = load(str(tmp_path / "spec.yaml")).spec
    assert again == spec
    assert files(lower(again)) == files(lower(spec))


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "mixed", "same_padded"])
def test_lowered_network_reads_as_the_golden_text(name: str, emitted: Path) -> None:
    reference = str(emitted / "specs" / f"{name}.yaml") if name in ODD_SPECS else name
    golden = GOLDEN_TEXTS / f"{name}.txt"
    found = text(lower(load(reference).spec))
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(found)
    assert found == golden.read_text(), "run UPDATE_GOLDENS=1 pytest tests/test_emission.py"


def test_regnet_s_sources_say_its_groups_and_squeeze_once_for_all_blocks() -> None:
    regnet = network("regnet_y_400mf")
    in_torch, in_keras = source(regnet, "torch"), source(regnet, "keras")
    assert "            groups=out_channels // 8,\n" in in_torch
    assert "self.se = SqueezeExcite(out_channels, in_channels // 4)\n" in in_torch
    assert "x = self.bn3(self.conv3(self.se(x)))\n" in in_torch
    assert in_torch.count("class Bottleneck") == 1
    assert "groups=filters // 8" in in_keras
    assert "    in_channels = x.shape[-1]\n" in in_keras


def test_blocks_of_other_dilations_share_a_class_that_is_given_them(emitted: Path) -> None:
    written = (emitted / "dilated" / "model_torch.py").read_text()
    assert "padding=2 * dilation, dilation=dilation" in written
    assert "Bottleneck(24, 8, dilation=4, downsample_dilation=2, downsample=True)" in written
    assert "Bottleneck(32, 8, dilation=4)" in written
    assert "padding=4, dilation=4, bias=False" in written
    assert "dilation" not in (emitted / "resnet50" / "model_torch.py").read_text()


def test_stages_of_other_groups_share_a_class_that_is_given_them(emitted: Path) -> None:
    written = (emitted / "staged_groups" / "model_torch.py").read_text()
    assert "in_channels: int, width: int, groups: int" in written
    assert "PreActConvBlock(16, 16, 2)" in written
    assert "PreActConvBlock(16, 32, 8, stride=2, downsample=True)" in written


@pytest.mark.parametrize(
    ("pool", "said", "features"),
    [
        ("avg", "global average pool, dropout 0.2, linear", 512),
        ("max", "global max pool, dropout 0.2, linear", 512),
        ("avgmax", "mean of both global pools, dropout 0.2, linear", 512),
        ("catavgmax", "global average and max pools, dropout 0.2, linear", 1024),
    ],
)
def test_head_row_and_sources_say_how_the_head_pools(pool: str, said: str, features: int) -> None:
    spec = load("resnet18", overrides=[f"head_pool={pool}", "dropout=0.2"]).spec
    assert ("head_pool" in to_yaml(spec)) == (pool != "avg")
    pooled = lower(spec)
    assert rows(pooled)[-1].content == said
    for target in ("torch", "keras", "flax"):
        assert said in source(pooled, target)
    # The graph is of inference.
    assert said.replace("dropout 0.2, ", "") in source(pooled, "onnx")
    assert f"self.fc = nn.Linear({features}, num_classes)\n" in source(pooled, "torch")


PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED["parameters"].items())
def test_parameters_are_the_published_number(name: str, parameters: int) -> None:
    assert total(network(name)).trainable == parameters


@pytest.mark.parametrize(("name", "macs"), PUBLISHED["macs"].items())
def test_multiply_accumulates_are_the_published_number(name: str, macs: list[float]) -> None:
    """Each number is [value, unit]: it has as many digits as its source gives."""
    value, unit = macs
    assert round(total(network(name)).macs / unit, _digits(value)) == value


def _digits(value: float) -> int:
    return len(str(value).partition(".")[2].rstrip("0"))


@pytest.mark.parametrize("depth", TORCHVISION_DEPTHS)
def test_torchvision_state_dict_loads_strictly_and_computes_the_same(
    depth: int, emitted: Path
) -> None:
    torch = pytest.importorskip("torch")
    from peers import torchvision_models

    name = f"resnet{depth}"
    theirs = getattr(torchvision_models(), name)()
    ours = getattr(import_file(emitted / name / "model_torch.py"), name)()
    randomize(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for model in (ours, theirs):
        model.double().eval()
    for size in ((64, 64), (65, 97)):
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        with torch.no_grad():
            difference = (ours(images) - theirs(images)).abs().max()
        assert difference == 0


def randomize(model) -> None:  # type: ignore[no-untyped-def]
    """Statistics and gammas that would show a norm that is missing or in the wrong place."""
    import torch

    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, -0.7, 0.7)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
