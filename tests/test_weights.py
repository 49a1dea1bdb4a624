"""Other libraries' checkpoints: what is read is what they compute, and bad files are refused."""

import json
import os
import pickle
import shutil
import struct
import sys
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Ran, Run
from numpy.typing import NDArray
from peers import torchvision_models
from safetensors.numpy import load_file, save_file
from skips import skip_without
from verification import SMALL

from resnetgen.ir.network import Network
from resnetgen.pipeline import compile_spec
from resnetgen.verify.reference import run
from resnetgen.verify.stored import read
from resnetgen.weights.customs import otherwise
from resnetgen.weights.origins import ORIGINS

needs_frameworks = pytest.mark.frameworks
TINY = """
name: tiny
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
stages:
  - {name: a, repeats: 2, width: 8, stride: 1}
  - {name: b, repeats: 1, width: 16, stride: 2}
"""
BOTTLENECK = TINY.replace("basic", "bottleneck").replace("tiny", "narrow")
Tensors = dict[str, NDArray[Any]]


def spec(text: str = TINY) -> str:
    Path("net.yaml").write_text(text)
    return "net.yaml"


def drawn(reference: str, *overrides: str) -> tuple[Network, Tensors]:
    """A network and tensors for it that differ from each other everywhere."""
    from resnetgen.ir.rules import network_parameters

    network = compile_spec(reference, overrides=overrides).network
    random = np.random.default_rng(0)
    tensors = {
        each.name: (random.random(each.shape) + 0.1).astype(np.float32) * np.float32(0.1)
        for each in network_parameters(network)
    }
    return network, tensors


def built(resnetgen: Run, file: str, reference: str, *arguments: object) -> tuple[Ran, Tensors]:
    """What the weights file of a build holds."""
    ran = resnetgen("build", reference, "--weights", file, "--no-verify", *arguments)
    assert ran.code == 0, ran.err
    (directory,) = Path("generated").iterdir()
    return ran, load_file(directory / "model.safetensors")


def same(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) for name in expected
    )


def renamed(tensors: Tensors, *pairs: tuple[str, str]) -> Tensors:
    """The tensors with these parts of their names replaced, in this order."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        for old, new in pairs:
            name = name.replace(old, new)
        found[name] = tensor
    return found


# Written by hand from the libraries' sources, not from the rules that are tested.
NAMES: dict[str, Callable[[Tensors], Tensors]] = {
    "torchvision's names": lambda t: t,
    "the names of torchvision's RegNets": lambda t: renamed(
        t,
        *(
            (f"layer{stage}.{block}.", f"trunk_output.block{stage}.block{stage}-{block}.")
            for stage, block in ((1, 0), (1, 1), (2, 0))
        ),
        ("downsample.", "proj."),
        (".se.", ".f.se."),
        *((f".conv{n}", f".f.{letter}.0") for n, letter in ((1, "a"), (2, "b"), (3, "c"))),
        *((f".bn{n}", f".f.{letter}.1") for n, letter in ((1, "a"), (2, "b"), (3, "c"))),
        ("conv1.", "stem.0."),
        ("bn1.", "stem.1."),
    ),
    "the names of CIFAR ports": lambda t: renamed(
        t, ("downsample", "shortcut"), ("fc.", "linear.")
    ),
    "mmpretrain's names": lambda t: {
        (f"head.{name}" if name.startswith("fc") else f"backbone.{name}"): each
        for name, each in t.items()
    },
    "pycls's names": lambda t: renamed(
        t,
        ("fc.", "head.fc."),
        ("layer1.0.", "s1.b1."),
        ("layer1.1.", "s1.b2."),
        ("layer2.0.", "s2.b1."),
        ("downsample.0", "proj"),
        ("downsample.1", "bn"),
        (".se.fc1", ".f.se.f_ex.0"),
        (".se.fc2", ".f.se.f_ex.2"),
        *((f".conv{n}", f".f.{letter}") for n, letter in ((1, "a"), (2, "b"), (3, "c"))),
        *((f".bn{n}", f".f.{letter}_bn") for n, letter in ((1, "a"), (2, "b"), (3, "c"))),
        ("conv1.", "stem.conv."),
        ("bn1.", "stem.bn."),
    ),
    "the names of Hugging Face's transformers": lambda t: renamed(
        t,
        ("fc.", "classifier.1."),
        ("layer1.", "resnet.encoder.stages.0.layers."),
        ("layer2.", "resnet.encoder.stages.1.layers."),
        ("downsample.0", "shortcut.convolution"),
        ("downsample.1", "shortcut.normalization"),
        *((f".conv{n}", f".layer.{n - 1}.convolution") for n in (1, 2, 3)),
        *((f".bn{n}", f".layer.{n - 1}.normalization") for n in (1, 2, 3)),
        ("conv1.", "resnet.embedder.embedder.convolution."),
        ("bn1.", "resnet.embedder.embedder.normalization."),
    ),
}


@pytest.mark.parametrize("text", [TINY, BOTTLENECK], ids=["basic", "bottleneck"])
@pytest.mark.parametrize("title", NAMES)
def test_names_of_other_libraries_are_recognized(resnetgen: Run, title: str, text: str) -> None:
    reference = spec(text)
    _, tensors = drawn(reference)
    save_file(NAMES[title](tensors), "net.safetensors")

    ran, found = built(resnetgen, "net.safetensors", reference)

    assert ran.err == f"net.safetensors: {title}\n"
    assert same(found, tensors)


@pytest.mark.parametrize("title", ["the names of torchvision's RegNets", "pycls's names"])
def test_regnets_attention_is_read_by_the_names_of_both_libraries(
    resnetgen: Run, title: str
) -> None:
    reference = spec(BOTTLENECK + "attention: se\nattention_at: middle\n")
    _, tensors = drawn(reference)
    save_file(NAMES[title](tensors), "net.safetensors")

    ran, found = built(resnetgen, "net.safetensors", reference)

    assert ran.err == f"net.safetensors: {title}\n"
    assert same(found, tensors)


def test_timms_names_are_those_that_torchvision_lacks(resnetgen: Run) -> None:
    reference = spec(TINY + "attention: se\n")
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    ran, found = built(resnetgen, "net.safetensors", reference)
    assert ran.err == "net.safetensors: timm's names\n"
    assert same(found, tensors)


def test_mmpretrain_counts_a_pool_only_where_it_is(resnetgen: Run) -> None:
    text = TINY.replace("block: basic", "block: bottleneck\ndownsample: avg")
    reference = spec(text.replace("{width: 8", "{width: 8, hidden: [4, 4]"))
    _, tensors = drawn(reference)
    theirs = NAMES["mmpretrain's names"](tensors)
    stem = {0: "stem.0.conv", 1: "stem.0.bn", 3: "stem.1.conv", 4: "stem.1.bn", 6: "stem.2.conv"}
    pairs = [(f"backbone.conv1.{n}.", f"backbone.{name}.") for n, name in stem.items()]
    theirs = renamed(
        theirs,
        *pairs,
        ("backbone.bn1.", "backbone.stem.2.bn."),
        ("layer1.0.downsample.1", "layer1.0.downsample.0"),
        ("layer1.0.downsample.2", "layer1.0.downsample.1"),
    )
    save_file(theirs, "net.safetensors")
    ran, found = built(resnetgen, "net.safetensors", reference)
    assert ran.err == "net.safetensors: mmpretrain's names\n"
    assert same(found, tensors)


def test_mmpretrain_has_attention_in_a_layer_of_its_own(resnetgen: Run) -> None:
    reference = spec(BOTTLENECK + "attention: se\n")
    _, tensors = drawn(reference)
    parts = ((".se.fc1.", ".se_layer.conv1.conv."), (".se.fc2.", ".se_layer.conv2.conv."))
    save_file(renamed(NAMES["mmpretrain's names"](tensors), *parts), "net.safetensors")
    ran, found = built(resnetgen, "net.safetensors", reference)
    assert ran.err == "net.safetensors: mmpretrain's names\n"
    assert same(found, tensors)


def test_wrappers_prefix_is_taken_off(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    counted = {**tensors, "bn1.num_batches_tracked": np.array(3)}
    save_file({f"module.{name}": each for name, each in counted.items()}, "net.safetensors")
    ran, found = built(resnetgen, "net.safetensors", reference)
    assert ran.err == "net.safetensors: torchvision's names, behind `module.`\n"
    assert same(found, tensors)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_are_converted_and_it_is_said(resnetgen: Run, dtype: str) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    stored = {name: each.astype(dtype) for name, each in tensors.items()}
    save_file(stored, "net.safetensors")
    ran, found = built(resnetgen, "net.safetensors", reference)
    number = len(tensors)
    assert f"net.safetensors: {number} tensors converted from {dtype} to float32\n" in ran.err
    assert same(found, {name: each.astype(np.float32) for name, each in stored.items()})


def test_bfloat16_is_converted_exactly(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    upper = {name: (each.view(np.uint32) >> 16).astype("<u2") for name, each in tensors.items()}
    save_file(upper, "net.safetensors")
    content = Path("net.safetensors").read_bytes()
    Path("net.safetensors").write_bytes(content.replace(b'"U16"', b'"BF16"'))
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b'"U16"', b'"BF16"')
    Path("net.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header + content[8 + length :]
    )
    ran, found = built(resnetgen, "net.safetensors", reference)
    assert "converted from bfloat16 to float32" in ran.err
    expected = {n: (each.astype(np.uint32) << 16).view(np.float32) for n, each in upper.items()}
    assert same(found, expected)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), ""),
        (("dialect=paper",), "stride_on 3x3 (narrow: 1x1)"),
        (
            ("stride_on=1x1", "epsilon=0.001"),
            "stride_on 3x3 (narrow: 1x1) and epsilon 1e-05 (narrow: 0.001)",
        ),
        (("momentum=0.01", "zero_init_last=true", "output=softmax"), ""),
    ],
)
def test_customs_of_a_library_that_a_spec_does_not_share_are_said(
    resnetgen: Run, overrides: tuple[str, ...], said: str
) -> None:
    reference = spec(BOTTLENECK)
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    changes = [word for each in overrides for word in ("--set", each)]
    ran, found = built(resnetgen, "net.safetensors", reference, *changes)
    told = f"net.safetensors: names do not tell, but such networks usually have {said}\n"
    assert ran.err == "net.safetensors: torchvision's names\n" + (told if said else "")
    assert same(found, tensors)


def test_where_a_stride_stands_says_nothing_of_basic_blocks(resnetgen: Run) -> None:
    reference = spec(TINY)
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    ran, _ = built(resnetgen, "net.safetensors", reference, "--set", "dialect=paper")
    assert ran.err == "net.safetensors: torchvision's names\n"


def test_a_build_can_be_told_whose_names_its_checkpoint_has(resnetgen: Run) -> None:
    reference = spec(BOTTLENECK)
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    ran, found = built(resnetgen, "net.safetensors", reference, "--from", "timm")
    assert ran.err == "net.safetensors: timm's names\n"
    assert same(found, tensors)


def test_whose_names_a_checkpoint_has_needs_a_checkpoint(resnetgen: Run) -> None:
    ran = resnetgen("build", spec(), "--from", "timm", "--no-verify")
    assert ran.code == 2
    assert "--from means nothing to a build without --weights" in ran.err
    assert not Path("generated").exists()


class TestSeveralSetsOfWeights:
    """What a training script keeps beside the weights: an average of them, for one."""

    @pytest.fixture
    def file(self) -> str:
        torch = pytest.importorskip("torch")
        reference = spec()
        _, tensors = drawn(reference)
        weights = {name: torch.from_numpy(each) for name, each in tensors.items()}
        average = {f"module.{name}": each * 2 for name, each in weights.items()}
        average["n_averaged"] = torch.tensor(7)
        torch.save({"model": weights, "model_ema": average, "epoch": 3}, "run.pth")
        torch.save({"ours": weights}, "odd.pth")
        return "run.pth"

    def test_one_is_read_and_the_others_named(self, resnetgen: Run, file: str) -> None:
        ran, found = built(resnetgen, file, "net.yaml")
        told = (
            "run.pth: the weights lie under `model`; not read, unless --key names it: `model_ema`"
        )
        assert told in ran.err.splitlines()
        assert same(found, drawn("net.yaml")[1])

    def test_another_is_read_where_it_is_asked_for(self, resnetgen: Run, file: str) -> None:
        ran, found = built(resnetgen, file, "net.yaml", "--key", "model_ema")
        assert "run.pth: the weights lie under `model_ema`" in ran.err
        doubled = {name: each * 2 for name, each in drawn("net.yaml")[1].items()}
        assert same(found, doubled)
        inferred = resnetgen("infer", file, "--key", "model_ema", "--name", "tiny")
        assert inferred.code == 0, inferred.err

    @pytest.mark.parametrize("arguments", [(), ("--key", "gone")])
    def test_keys_reach_no_terminal_as_they_are(
        self, resnetgen: Run, file: str, arguments: tuple[str, ...]
    ) -> None:
        torch = pytest.importorskip("torch")
        state = torch.load(file)["model"]
        torch.save({"model": state, "\x1b[31mred\nrun.pth: all is well": state, 0: state}, file)
        ran = resnetgen("infer", file, *arguments)
        assert "\x1b" not in ran.err
        assert r"`\x1b[31mred\nrun.pth: all is well`" in ran.err
        assert "`0`" not in ran.err

    def test_one_that_is_not_there_is_refused(self, resnetgen: Run, file: str) -> None:
        ran = resnetgen("build", "net.yaml", "--weights", file, "--key", "ema")
        assert (ran.code, Path("generated").exists()) == (2, False)
        assert ran.err == (
            "run.pth: error: holds no tensors under `ema`\n"
            "hint: --key reads what lies under one of these: `model`, `model_ema`\n"
        )

    def test_an_unknown_key_can_be_asked_for(self, resnetgen: Run, file: str) -> None:
        ran = resnetgen("build", "net.yaml", "--weights", "odd.pth")
        assert ran.code == 2
        assert "hint: --key reads what lies under one of these: `ours`" in ran.err
        _, found = built(resnetgen, "odd.pth", "net.yaml", "--key", "ours")
        assert same(found, drawn("net.yaml")[1])

    def test_one_that_lies_deeper_is_named_and_read(self, resnetgen: Run, file: str) -> None:
        torch = pytest.importorskip("torch")
        state = torch.load(file)["model"]
        torch.save({"generator": {"state_dict": state}, "epoch": 1}, "deep.pth")
        ran = resnetgen("build", "net.yaml", "--weights", "deep.pth")
        assert ran.code == 2
        assert "hint: --key reads what lies under one of these: `generator.state_dict`" in ran.err
        _, found = built(resnetgen, "deep.pth", "net.yaml", "--key", "generator.state_dict")
        assert same(found, drawn("net.yaml")[1])

    def test_a_number_beside_it_is_no_set(self, resnetgen: Run, file: str) -> None:
        torch = pytest.importorskip("torch")
        state = torch.load(file)["model"]
        torch.save({"state_dict": state, "lr": torch.tensor(0.1)}, "rate.pth")
        _, found = built(resnetgen, "rate.pth", "net.yaml")
        assert same(found, drawn("net.yaml")[1])

    def test_files_of_one_set_have_no_keys(self, resnetgen: Run) -> None:
        _, tensors = drawn(spec())
        save_file(tensors, "net.safetensors")
        ran = resnetgen("build", "net.yaml", "--weights", "net.safetensors", "--key", "model")
        assert ran.code == 2
        assert "holds one set of weights, and --key names one of several" in ran.err


def test_weights_that_a_build_would_replace_are_no_checkpoint_for_it(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    built(resnetgen, "net.safetensors", reference)
    manifest = Path("generated/tiny/manifest.json").read_text()
    ran = resnetgen(
        "build", reference, "--no-verify", "--weights", "generated/tiny/model.safetensors"
    )
    assert ran.code == 2
    assert "model.safetensors: error: is what this build would replace" in ran.err
    assert Path("generated/tiny/manifest.json").read_text() == manifest


def test_a_file_in_the_place_of_the_directory_is_in_the_way_of_weights_too(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    Path("generated").mkdir()
    Path("generated/tiny").write_text("mine")
    ran = resnetgen("build", reference, "--no-verify", "--weights", "net.safetensors")
    assert (ran.code, Path("generated/tiny").read_text()) == (2, "mine")
    assert "generated/tiny: error: is in the way: the output directory has this name" in ran.err


@pytest.mark.parametrize(
    ("title", "changes", "said"),
    [
        ("mmpretrain's names", ("dialect=paper",), ""),
        ("mmpretrain's names", ("dialect=flax",), "conv_padding symmetric (narrow: same)"),
        ("keras.applications' names", ("dialect=keras",), ""),
        (
            "keras.applications' names",
            ("dialect=keras_v2", "conv_bias=true"),
            "stride_on 1x1 (narrow: 3x3) and stride_block first (narrow: last)",
        ),
        (
            "keras.applications' names",
            ("dialect=keras", "order=pre", "conv_bias=without_norm"),
            "stride_on 3x3 (narrow: 1x1) and stride_block last (narrow: first)",
        ),
    ],
)
def test_customs_are_those_of_the_library(
    title: str, changes: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (origin,) = (each for each in ORIGINS if each.title == title)
    # With a second block in it, it matters which of them has a stage's stride.
    path = tmp_path / "narrow.yaml"
    path.write_text(BOTTLENECK.replace("repeats: 1", "repeats: 2"))
    unlike = otherwise(origin, compile_spec(str(path), overrides=changes).spec)
    told = f"names do not tell, but such networks usually have {said}"
    assert unlike == (told if said else None)


def test_another_number_of_classes_keeps_the_trunk(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    ran, found = built(resnetgen, "net.safetensors", reference, "--set", "classes=7")
    assert ran.err == (
        "net.safetensors: torchvision's names\n"
        "fc.weight, fc.bias: initialized anew for 7 classes, the file has 10\n"
    )
    assert found["fc.weight"].shape == (7, 16)
    trunk = {name: each for name, each in tensors.items() if not name.startswith("fc")}
    assert same({name: found[name] for name in trunk}, trunk)
    record = json.loads(Path("generated/tiny/manifest.json").read_text())["model.safetensors"]
    assert record["seed"] == 0


def test_file_without_a_head_keeps_the_trunk(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    trunk = {name: each for name, each in tensors.items() if not name.startswith("fc.")}
    save_file(trunk, "trunk.safetensors")
    ran, found = built(resnetgen, "trunk.safetensors", reference)
    assert ran.err == (
        "trunk.safetensors: torchvision's names\n"
        "fc.weight, fc.bias: initialized anew for 10 classes, the file has no head\n"
    )
    assert same({name: found[name] for name in trunk}, trunk)
    assert found.keys() == tensors.keys()


@needs_frameworks
def test_file_without_a_head_is_not_converted(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    trunk = {name: each for name, each in tensors.items() if not name.startswith("fc.")}
    save_file(trunk, "trunk.safetensors")
    arguments = ("trunk.safetensors", "--spec", reference, "--to", "torch", "-o", "x.pth")
    assert "lacks `fc.weight`" in refused(resnetgen("convert", *arguments))
    assert not Path("x.pth").exists()


def test_negative_variance_is_refused(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    tensors["bn1.running_var"][0] = -1
    save_file(tensors, "net.safetensors")
    err = refused(resnetgen("build", reference, "--weights", "net.safetensors", "--no-verify"))
    assert err.endswith("error: `bn1.running_var` is negative, and a variance\n")


def test_manifest_records_where_weights_came_from(resnetgen: Run) -> None:
    from resnetgen.digests import sha256_of

    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    built(resnetgen, "net.safetensors", reference)
    directory = Path("generated/tiny")
    record = json.loads((directory / "manifest.json").read_text())["model.safetensors"]
    assert record == {
        "sha256": sha256_of(directory / "model.safetensors"),
        "origin": "net.safetensors",
        "origin_sha256": sha256_of(Path("net.safetensors")),
        "format": "torchvision",
    }
    assert resnetgen("build", "--check").code == 0


def test_weights_of_a_checkpoint_are_not_lost_by_a_build_without_it(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    built(resnetgen, "net.safetensors", reference)

    ran = resnetgen("build", reference, "--no-verify")
    assert ran.code == 2
    assert ran.err == (
        "generated/tiny/model.safetensors: error: holds the weights of `net.safetensors`, which "
        "would be replaced by those of seed 0\n"
        "hint: give them again with --weights, keep them with --no-weights, or use --force\n"
    )
    assert resnetgen("build", reference, "--no-verify", "--no-weights").code == 0
    assert same(load_file("generated/tiny/model.safetensors"), tensors)
    assert resnetgen("build", reference, "--no-verify", "--force").code == 0
    assert not same(load_file("generated/tiny/model.safetensors"), tensors)


def refused(ran: Ran) -> str:
    """The message of a command that wrote nothing; the exit code is that of bad input."""
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err
    assert not Path("generated").exists()
    return ran.err


def test_every_tensor_is_accounted_for(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    tensors["layer1.0.conv2.wieght"] = tensors.pop("layer1.0.conv2.weight")
    tensors["bn1.weight"] = np.zeros(9, np.float32)
    save_file(tensors, "net.safetensors")

    err = refused(resnetgen("build", reference, "--weights", "net.safetensors"))

    assert err == (
        "net.safetensors: error: lacks `layer1.0.conv2.weight`\n"
        "hint: the file has `layer1.0.conv2.wieght`\n"
        "\n"
        "net.safetensors: error: `bn1.weight` has shape [9]\n"
        "expected: [8]\n"
        "\n"
        "net.safetensors: error: has `layer1.0.conv2.wieght`, which is no tensor of the network\n"
        "hint: the network has `layer1.0.conv2.weight`\n"
    )


def test_another_number_of_classes_explains_the_head_alone(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    tensors["bn1.weight"] = np.zeros(9, np.float32)
    save_file(tensors, "net.safetensors")
    arguments = ("build", reference, "--weights", "net.safetensors", "--set", "classes=3")
    assert refused(resnetgen(*arguments)) == (
        "net.safetensors: error: `bn1.weight` has shape [9]\nexpected: [8]\n"
    )


def test_long_lists_are_folded(resnetgen: Run) -> None:
    _, tensors = drawn("resnet20")
    save_file(tensors, "net.safetensors")
    err = refused(resnetgen("build", "resnet56", "--weights", "net.safetensors"))
    assert "lacks 174 more tensors, the last `layer3.8.bn2.running_var`" in err
    assert err.count("error: ") == 7


def test_list_of_another_networks_tensors_is_short(resnetgen: Run) -> None:
    """Whatever there is of each kind: of other shapes, missing, or too many."""
    _, tensors = drawn("resnet50")
    save_file(tensors, "net.safetensors")
    err = refused(resnetgen("build", "resnet18", "--weights", "net.safetensors"))
    assert [line for line in err.splitlines() if " more " in line] == [
        "net.safetensors: error: has other shapes for 21 more tensors, the last `fc.weight`",
        "net.safetensors: error: has, and the network has not, 162 more tensors,"
        " the last `layer4.2.conv3.weight`",
    ]
    assert err.count("error: ") == 8


def test_biases_are_one_decision_of_the_spec(resnetgen: Run) -> None:
    reference = spec()
    _, biased = drawn(reference, "conv_bias=true")
    save_file(biased, "net.safetensors")
    err = refused(resnetgen("build", reference, "--weights", "net.safetensors"))
    assert err == (
        "net.safetensors: error: has biases of convolutions, as `conv1.bias`, and tiny has none\n"
        "hint: there are 8: state `conv_bias: true` in the spec\n"
    )
    _, plain = drawn(reference)
    save_file(plain, "net.safetensors")
    arguments = ("--weights", "net.safetensors", "--set", "conv_bias=true")
    assert "state `conv_bias: false` in the spec" in refused(
        resnetgen("build", reference, *arguments)
    )


def test_names_of_nobody_are_said(resnetgen: Run) -> None:
    save_file({"a": np.zeros(2, np.float32), "b.c": np.zeros(2, np.float32)}, "net.safetensors")
    err = refused(resnetgen("build", spec(), "--weights", "net.safetensors"))
    assert "its tensors have names of no known format: `a`, `b.c`" in err


@needs_frameworks
def test_format_can_be_forced(resnetgen: Run) -> None:
    _, tensors = drawn(spec())
    save_file(tensors, "net.safetensors")
    arguments = ("net.safetensors", "--spec", spec(), "--to", "torch", "-o", "out.safetensors")
    assert "lacks `stem.conv.weight`" in refused(
        resnetgen("convert", *arguments, "--from", "pycls")
    )
    err = refused(resnetgen("convert", *arguments, "--from", "pycl"))
    assert "did you mean `pycls`?" in err


def test_values_that_are_no_numbers_are_refused(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    tensors["bn1.bias"][3] = np.nan
    tensors["bn1.weight"] = np.ones(8, np.int64)
    save_file(tensors, "net.safetensors")
    err = refused(resnetgen("build", reference, "--weights", "net.safetensors"))
    assert "`bn1.weight` holds no floating-point numbers: I64" in err
    assert "`bn1.bias` is not finite in float32" in err


def header(document: object, data: bytes = b"") -> bytes:
    text = json.dumps(document).encode()
    return struct.pack("<Q", len(text)) + text + data


def facts(begin: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]}


BAD_SAFETENSORS = {
    "ends within its header": struct.pack("<Q", 2**63) + b"{}",
    "is no safetensors file": b"not a table at all",
    "the data of a and b overlap": header({"a": facts(0, 8), "b": facts(4, 12)}, bytes(12)),
    "4 bytes of its data belong to no tensor": header(
        {"a": facts(0, 4), "b": facts(8, 12)}, bytes(12)
    ),
    "the data of a lies outside the file": header({"a": facts(0, 8)}, bytes(4)),
    "`a` has the unknown type `F4`": header({"a": {**facts(0, 4), "dtype": "F4"}}, bytes(4)),
    "a has 65 axes, and 8 are read": header({"a": {**facts(0, 4), "shape": [1] * 65}}, bytes(4)),
    "a has the shape [0, 4611686018427387904, 8]": header(
        {"a": {**facts(0, 0), "shape": [0, 2**62, 8]}}
    ),
}


@pytest.mark.parametrize("message", BAD_SAFETENSORS)
def test_bad_safetensors_files_are_refused(resnetgen: Run, message: str) -> None:
    Path("net.safetensors").write_bytes(BAD_SAFETENSORS[message])
    assert message in refused(resnetgen("build", spec(), "--weights", "net.safetensors"))


def test_what_is_no_weights_file_is_refused(resnetgen: Run) -> None:
    Path("empty.safetensors").touch()
    Path("folder.pth").mkdir()
    Path("net.txt").write_text("weights")
    os.mkfifo("pipe.pth")
    for file, message in {
        "none.pth": "none.pth: error: does not exist",
        "empty.safetensors": "empty.safetensors: error: is empty",
        "folder.pth": "folder.pth: error: is a directory",
        "net.txt": "net.txt: error: has the unknown ending `.txt`",
        "pipe.pth": "pipe.pth: error: is not a regular file",
    }.items():
        assert message in refused(resnetgen("build", spec(), "--weights", file))


def test_weights_belong_to_one_spec(resnetgen: Run) -> None:
    Path("net.pth").write_bytes(b"1")
    err = refused(resnetgen("build", "resnet18", "resnet34", "--weights", "net.pth"))
    assert "hint: give one SPEC" in err
    err = refused(resnetgen("build", "resnet18", "--weights", "net.pth", "--no-weights"))
    assert "--weights and --no-weights ask for two different things" in err


def onnx_model(
    location: str, *, size: int = 4, times: int = 1, copies: int = 1, **external: object
) -> bytes:
    from onnx import TensorProto, helper

    names = ["conv1.weight", *(f"conv{number}.weight" for number in range(2, times + 1))]
    tensors = [TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[size]) for name in names]
    for tensor in tensors:
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **external}.items():
            tensor.external_data.add(key=key, value=str(value))
    results = ["y", *(f"y{number}" for number in range(2, copies + 1))]
    nodes = [helper.make_node("Identity", ["conv1.weight"], [name]) for name in results]
    graph = helper.make_graph(nodes, "g", [], [helper.make_empty_tensor_value_info("y")], tensors)
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xff\xff\xff", "is no ONNX model"),
        (onnx_model("../secret"), "leads out of its folder"),
        (onnx_model("/etc/passwd"), "leads out of its folder"),
        (onnx_model("link"), "leads out of its folder"),
        (onnx_model("beside", offset=9), "lie outside `beside`"),
        (onnx_model("beside", offset=-1), "lie outside `beside`"),
        (onnx_model("beside", length=2**60), "lie outside `beside`"),
        (onnx_model("beside"), "is damaged: conv1.weight"),
        (onnx_model("large", times=40), "claims 4,000,000 values of `conv11.weight` beside those"),
        (onnx_model("large", size=10**6, copies=40), "claims 1,000,000 values of `y10` beside"),
        (
            onnx_model("beside", length=8).replace(b"conv1.weight", b"conv1\xffweight"),
            "is damaged: a tensor has the name b'conv1\\xffweight'",
        ),
        (onnx_model("none"), "needs `none` for the data of conv1.weight"),
    ],
)
def test_bad_onnx_files_are_refused(resnetgen: Run, content: bytes, message: str) -> None:
    Path("folder").mkdir()
    Path("secret").write_bytes(bytes(16))
    Path("folder/link").symlink_to("../secret")
    Path("folder/beside").write_bytes(bytes(8))
    Path("folder/large").write_bytes(bytes(4_000_000))
    Path("folder/net.onnx").write_bytes(content)
    assert message in refused(resnetgen("build", spec(), "--weights", "folder/net.onnx"))


@pytest.mark.parametrize(
    "more", ["", "norm: none\n", "norm: group\nnorm_groups: 4\n", "activation: gelu\n"]
)
def test_our_own_graph_is_read_with_its_weights(resnetgen: Run, more: str) -> None:
    reference = spec(TINY + more)
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    resnetgen("build", reference, "--weights", "net.safetensors", "--no-verify", "-o", "first")
    ran, found = built(resnetgen, "first/tiny/model.onnx", reference)
    assert ran.err == "first/tiny/model.onnx: torchvision's names\n"
    assert same(found, tensors)


def test_a_zip_bomb_is_not_opened(resnetgen: Run) -> None:
    with zipfile.ZipFile("net.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10**7))
    err = refused(resnetgen("build", spec(), "--weights", "net.keras"))
    assert "is a zip bomb" in err


@needs_frameworks
def test_archive_of_other_bytes_than_its_checksum_says_is_damaged(resnetgen: Run) -> None:
    skip_without("h5py")
    with zipfile.ZipFile("net.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"0123456789")
    content = Path("net.keras").read_bytes()
    Path("net.keras").write_bytes(content.replace(b"0123456789", b"0123456780"))
    err = refused(resnetgen("build", spec(), "--weights", "net.keras"))
    assert err == "net.keras: error: is damaged: Bad CRC-32 for file 'model.weights.h5'\n"


def test_a_missing_framework_is_said(resnetgen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.pth").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert refused(resnetgen("build", spec(), "--weights", "net.pth")) == (
        "net.pth: error: cannot be read: torch is not installed\nhint: install resnetgen[torch]\n"
    )


@needs_frameworks
@pytest.mark.parametrize("core", ["core", "_core"])
def test_what_training_scripts_keep_beside_the_weights_is_no_obstacle(
    resnetgen: Run, core: str
) -> None:
    torch = pytest.importorskip("torch")
    reference = spec()
    _, tensors = drawn(reference)
    weights = {name: torch.from_numpy(each) for name, each in tensors.items()}
    kept = {"best_acc1": np.float64(76.1), "epoch": np.int64(90), "args": Namespace(lr=0.1)}
    torch.save({"state_dict": weights, **kept}, "net.pth", _use_new_zipfile_serialization=False)
    content = Path("net.pth").read_bytes()
    renamed = content.replace(b"numpy._core.multiarray", f"numpy.{core}.multiarray".encode())
    assert b"argparse" in renamed
    Path("net.pth").write_bytes(renamed)
    ran = resnetgen("build", reference, "--weights", "net.pth", "--no-verify")
    assert (ran.code, "the weights lie under `state_dict`" in ran.err) == (0, True)


def test_only_what_could_be_the_same_tensor_is_named_as_near(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    tensors["layer1.0.conv3.weight"] = np.zeros((9, 9, 9, 9), np.float32)
    del tensors["layer1.0.conv2.weight"]
    save_file(tensors, "net.safetensors")
    assert "hint" not in refused(resnetgen("build", reference, "--weights", "net.safetensors"))


class Trap:
    """Unpickling this would write a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (os.path.abspath("sprung"), "w"))


class ShellTrap:
    """The same by the shell, of whose module PyTorch takes nothing at all."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch {os.path.abspath('sprung')}",))


def script() -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        # It is to go from PyTorch one day; files of it stay.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(torch.nn.Linear(2, 2)).save("net.pth")


def sparse() -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": torch.ones(2, 2).to_sparse()}, "net.pth")


def shell_trap() -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": ShellTrap()}, "net.pth")


def trapped_archive() -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": Trap()}, "net.pth")


def trapped_pickle() -> None:
    Path("net.pth").write_bytes(pickle.dumps({"conv1.weight": Trap()}))


def old_trapped_pickle() -> None:
    Path("net.pth").write_bytes(pickle.dumps({"conv1.weight": Trap()}, protocol=2))


def no_pickle() -> None:
    Path("net.pth").write_text("not found")


def truncated() -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": torch.zeros(1000)}, "net.pth")
    content = Path("net.pth").read_bytes()
    Path("net.pth").write_bytes(content[: len(content) // 2])


def flipped() -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": torch.full((64,), 3.0)}, "net.pth")
    content = bytearray(Path("net.pth").read_bytes())
    content[content.index(struct.pack("<f", 3.0)) + 3] ^= 1
    Path("net.pth").write_bytes(content)


def expanded() -> None:
    torch = pytest.importorskip("torch")
    torch.save({"conv1.weight": torch.zeros(1).expand(10**12)}, "net.pth")


def shared() -> None:
    torch = pytest.importorskip("torch")
    kept = torch.zeros(10**5)
    torch.save({f"layer{number}.weight": kept for number in range(400)}, "net.pth")


def no_state_dict() -> None:
    torch = pytest.importorskip("torch")
    torch.save([1, 2, 3], "net.pth")


@needs_frameworks
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (trapped_archive, "holds the Python object io.open, and unpickling that may run any code"),
        (script, "is a TorchScript archive, which holds code"),
        (sparse, "holds a sparse tensor as `conv1.weight`"),
        (shell_trap, "holds the Python object posix.system, and unpickling"),
        (old_trapped_pickle, "holds the Python object io.open, and unpickling"),
        (trapped_pickle, "holds Python objects, and unpickling that may run any code"),
        (no_pickle, "is no file that torch.save wrote"),
        (flipped, "is damaged: its checksum of `net/data/0` is that of other bytes"),
        (truncated, "is damaged: its end is missing, as where a download broke off"),
        (expanded, "claims 1,000,000,000,000 values of `conv1.weight`, more than it holds"),
        (shared, "claims 100,000 values of `layer10.weight` beside those that it has already"),
        (no_state_dict, "holds a list, not a state_dict"),
    ],
)
def test_bad_pickles_are_refused_and_never_run(
    resnetgen: Run, write: Callable[[], None], message: str
) -> None:
    write()
    assert message in refused(resnetgen("build", spec(), "--weights", "net.pth"))
    assert not Path("sprung").exists()


@needs_frameworks
def test_archive_without_checksums_is_read(resnetgen: Run) -> None:
    torch = pytest.importorskip("torch")
    reference = spec()
    _, tensors = drawn(reference)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({name: torch.from_numpy(each) for name, each in tensors.items()}, "net.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    built(resnetgen, "net.pth", reference)


def h5_garbage(_: Any) -> None:
    Path("net.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))


def h5_links(h5py: Any) -> None:
    with h5py.File("net.h5", "w") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")


def h5_outside(h5py: Any) -> None:
    with h5py.File("net.h5", "w") as file:
        group = file.create_group("layers/conv2d/vars")
        Path("secret").write_bytes(bytes(16))
        group.create_dataset("0", shape=(4,), dtype="<f4", external=[("secret", 0, 16)])


def h5_huge(h5py: Any) -> None:
    with h5py.File("net.h5", "w") as file:
        group = file.create_group("layers/conv2d/vars")
        group.create_dataset("0", shape=(10**6, 10**6), dtype="<f4", chunks=(1000, 1000))


def h5_empty(h5py: Any) -> None:
    h5py.File("net.h5", "w").close()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (h5_garbage, "is no file that Keras wrote"),
        (h5_links, "has a link at `//elsewhere`, and only its own data is read"),
        (h5_outside, "keeps the data of `/layers/conv2d/vars/0` in another file"),
        (h5_huge, "claims 1,000,000,000,000 values of `/layers/conv2d/vars/0`"),
        (h5_empty, "holds no weights of Keras layers"),
    ],
)
def test_bad_hdf5_files_are_refused(
    resnetgen: Run, write: Callable[[Any], None], message: str
) -> None:
    write(pytest.importorskip("h5py"))
    assert message in refused(resnetgen("build", spec(), "--weights", "net.h5"))


def logits(reference: str, weights: Path, image: NDArray[Any], *overrides: str) -> NDArray[Any]:
    """What the interpreter makes of an NCHW image with the weights of a build."""
    network = compile_spec(reference, overrides=overrides).network
    stored = read(weights, network)
    given = {network.stem[0].name: image.astype(np.float64)}
    *_, (_, value) = run(network.ops, given, tensors=lambda op, _: stored.tensors(op))
    return value


def close(found: NDArray[Any], expected: NDArray[Any]) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()


def torch_peer(model: Any, image: NDArray[Any]) -> NDArray[Any]:
    import torch

    with torch.inference_mode():
        return model.double().eval()(torch.from_numpy(image)).numpy()


def image_of(size: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).standard_normal((1, 3, size, size))


@needs_frameworks
@pytest.mark.parametrize(
    ("library", "name"),
    [("torchvision", "resnet18"), ("timm", "seresnet18"), ("timm", "resnet26d")],
)
def test_checkpoints_of_libraries_compute_what_their_models_do(
    resnetgen: Run, library: str, name: str
) -> None:
    torch = pytest.importorskip("torch")
    from parity import randomize

    torch.manual_seed(0)
    models = torchvision_models()
    if library == "timm":
        model = pytest.importorskip("timm").create_model(name)
    else:
        model = getattr(models, name)()
    randomize(model)
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, "peer.pth.tar")

    ran, _ = built(resnetgen, "peer.pth.tar", name)

    assert f"peer.pth.tar: {library}'s names" in ran.err
    assert "peer.pth.tar: the weights lie under `state_dict`" in ran.err
    found = logits(name, Path("generated", name, "model.safetensors"), image_of(64))
    close(found, torch_peer(model, image_of(64)))


def cifar_port(norm: Callable[[int], Any], *, pool: str = "avg") -> Any:
    """A ResNet-20 as CIFAR ports write it: half of a shortcut's zeros come in front."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, inside: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
            self.bn1 = norm(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = norm(width)
            self.stride, self.zeros = stride, (width - inside) // 2

        def forward(self, x: Any) -> Any:
            shortcut = x[:, :, :: self.stride, :: self.stride]
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.zeros, self.zeros))
            x = functional.relu(self.bn1(self.conv1(x)))
            return functional.relu(self.bn2(self.conv2(x)) + shortcut)

    class Port(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.bn1 = norm(16)
            self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
            self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
            self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
            self.linear = nn.Linear(64 if pool == "avg" else 128, 10)

        def forward(self, x: Any) -> Any:
            x = functional.relu(self.bn1(self.conv1(x)))
            x = self.layer3(self.layer2(self.layer1(x)))
            means = torch.mean(x, (2, 3))
            both = torch.cat((means, torch.amax(x, (2, 3))), 1)
            return self.linear(means if pool == "avg" else both)

    return Port()


@needs_frameworks
@pytest.mark.parametrize(
    ("norm", "layer", "pool"),
    [
        ("batch", "BatchNorm2d", "avg"),
        ("none", "Identity", "avg"),
        ("batch", "BatchNorm2d", "catavgmax"),
    ],
)
def test_cifar_ports_with_zeros_in_front_compute_the_same(
    resnetgen: Run, norm: str, layer: str, pool: str
) -> None:
    torch = pytest.importorskip("torch")
    from parity import randomize

    torch.manual_seed(0)
    model = cifar_port(getattr(torch.nn, layer), pool=pool)
    randomize(model)
    wrapped = {f"module.{name}": each for name, each in model.state_dict().items()}
    torch.save({"state_dict": wrapped, "best_prec1": 91.7}, "resnet20.th")
    overrides = ("shortcut=zero_pad", f"norm={norm}", f"head_pool={pool}")
    options = (option for override in overrides for option in ("--set", override))

    ran, _ = built(resnetgen, "resnet20.th", "resnet20", *options)

    assert "resnet20.th: the names of CIFAR ports, behind `module.`" in ran.err
    assert "channels reordered" in ran.err
    weights = Path("generated/resnet20/model.safetensors")
    found = logits("resnet20", weights, image_of(32), *overrides)
    close(found, torch_peer(model, image_of(32)))


def test_cifar_port_whose_order_would_mix_groups_is_refused(resnetgen: Run) -> None:
    torch = pytest.importorskip("torch")
    model = cifar_port(lambda channels: torch.nn.GroupNorm(4, channels))
    torch.save({"module." + name: each for name, each in model.state_dict().items()}, "port.th")
    options = ("--set", "shortcut=zero_pad", "--set", "norm=group", "--set", "norm_groups=4")

    ran = resnetgen("build", "resnet20", "--weights", "port.th", *options, "--no-verify")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "port.th: error: the names of CIFAR ports: such files put half of a shortcut's zeros in"
        " front, and group norms would take other channels together\n"
        "expected: a network with batch norms, or one with projections\n"
    )
    assert not Path("generated").exists()


@needs_frameworks
@pytest.mark.parametrize("name", ["keras_resnet50", "keras_resnet50v2"])
def test_keras_applications_files_compute_what_its_model_does(resnetgen: Run, name: str) -> None:
    skip_without("h5py", "tensorflow", "keras")
    from peers import computed

    files = ("peer.weights.h5", "peer.keras", "peer.h5")
    image = image_of(64).astype(np.float32)
    peer = computed("keras_peer.py", name, Path(), [image], *files)
    found: list[Tensors] = []
    for file in files:
        ran, tensors = built(resnetgen, file, name, "--set", "output=logits")
        assert ran.err == f"{file}: keras.applications' names\n"
        found.append(tensors)
    assert same(found[1], found[0])
    assert same(found[2], found[0])
    weights = Path("generated", name, "model.safetensors")
    close(logits(name, weights, image, "output=logits"), peer.double[0])


FLAX = """
name: tiny
dialect: flax
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 7, stride: 2, pool: max}
block: basic
stages:
  - {name: a, repeats: 2, width: 8, stride: 1}
  - {name: b, repeats: 1, width: 16, stride: 2}
  - {name: c, repeats: 2, width: 32, stride: 2}
"""


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_files_of_flax_compute_what_its_model_does(resnetgen: Run, block: str) -> None:
    """So the dialect is what Flax has, SAME padding by images of any size."""
    serialization = pytest.importorskip("flax.serialization")
    import linen_peer
    from flax.traverse_util import flatten_dict

    reference = spec(FLAX.replace("basic", block))
    classes = {"basic": linen_peer.ResNetBlock, "bottleneck": linen_peer.BottleneckResNetBlock}
    model = linen_peer.LinenPeer(classes[block], repeats=(2, 1, 2), width=8, classes=10)
    variables = linen_peer.drawn(model)
    state = {**variables, "step": 3, "opt_state": {"0": {"count": np.ones(1)}}}
    Path("net.msgpack").write_bytes(serialization.msgpack_serialize(state))
    save_file(flatten_dict(variables, sep="/"), "net.safetensors")

    ran, found = built(resnetgen, "net.msgpack", reference)
    assert ran.err == "net.msgpack: the names of Flax's ImageNet example\n"
    assert same(built(resnetgen, "net.safetensors", reference, "--force")[1], found)
    weights = Path("generated", "tiny", "model.safetensors")
    for height, width in ((64, 64), (65, 65), (48, 75)):
        image = np.random.default_rng(1).standard_normal((1, 3, height, width))
        close(logits(reference, weights, image), linen_peer.logits(model, variables, image))


def test_file_that_flax_did_not_write_is_refused(resnetgen: Run) -> None:
    pytest.importorskip("flax")
    for content, said in ((b"\xc1", "is no file that Flax wrote"), (b"\x80", "holds no variables")):
        Path("net.msgpack").write_bytes(content)
        ran = resnetgen("build", spec(FLAX), "--weights", "net.msgpack", "--no-verify")
        assert ran.code == 2
        assert f"net.msgpack: error: {said}" in ran.err


def test_norms_of_a_preactivated_network_are_read(resnetgen: Run) -> None:
    reference = spec(TINY + "order: pre\n")
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    ran, found = built(resnetgen, "net.safetensors", reference)
    assert ran.err == "net.safetensors: timm's names\n"
    assert same(found, tensors)


def test_keras_hubs_names_are_found_wherever_its_layers_are(resnetgen: Run) -> None:
    h5py = pytest.importorskip("h5py")
    reference = spec()
    _, tensors = drawn(reference)
    names = renamed(
        tensors,
        ("fc", "predictions"),
        ("layer1.", "stack0_block"),
        ("layer2.", "stack1_block"),
        ("downsample.0", "_0_conv"),
        ("downsample.1", "_0_bn"),
        *((f".conv{n}", f"_{n}_conv") for n in (1, 2)),
        *((f".bn{n}", f"_{n}_bn") for n in (1, 2)),
        ("conv1.", "conv1_conv."),
        ("bn1.", "conv1_bn."),
        ("._", "_"),
    )
    numbers = {"weight": 0, "bias": 1, "running_mean": 2, "running_var": 3}
    with h5py.File("net.weights.h5", "w") as file:
        for position, (name, tensor) in enumerate(sorted(names.items(), reverse=True)):
            layer, _, kind = name.rpartition(".")
            is_norm = layer.endswith("bn")
            family = "batch_normalization" if is_norm else "conv2d"
            family = "dense" if layer == "predictions" else family
            index = sorted({each.rpartition(".")[0] for each in names}).index(layer)
            group = file.require_group(f"backbone/layers/{family}_{index}/vars")
            group.attrs["name"] = layer
            axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[tensor.ndim]
            group[str(numbers[kind])] = tensor.transpose(axes)
            file.require_group("optimizer/vars")[str(position)] = tensor
    ran, found = built(resnetgen, "net.weights.h5", reference)
    assert ran.err == "net.weights.h5: KerasHub's names\n"
    assert same(found, tensors)


CONVERSIONS = {
    "torch": ("net.pth", "net.safetensors"),
    "keras": ("net.weights.h5", "net.keras"),
    "flax": ("net.safetensors",),
    "onnx": ("net.onnx",),
}


@needs_frameworks
@pytest.mark.parametrize(
    ("target", "file", "more"),
    [
        *((target, file, "") for target in CONVERSIONS for file in CONVERSIONS[target]),
        ("keras", "net.weights.h5", "norm: group\nnorm_groups: 4\norder: pre\n"),
    ],
)
def test_conversions_are_checked_and_can_be_read_back(
    resnetgen: Run, target: str, file: str, more: str
) -> None:
    reference = spec(TINY + more)
    _, tensors = drawn(reference)
    save_file(tensors, "given.safetensors")

    ran = resnetgen("convert", "given.safetensors", "--spec", reference, "--to", target, "-o", file)

    names = "timm" if more else "torchvision"
    assert (ran.code, ran.err) == (0, f"given.safetensors: {names}'s names\n")
    assert ran.out.startswith(f"{file}: {target} computes tiny with these weights, difference ")
    assert float(ran.out.rstrip(")\n").rpartition(" ")[2]) <= 1e-10, "it was not run in float64"
    _, found = built(resnetgen, file, reference)
    assert same(found, tensors)
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


@needs_frameworks
@pytest.mark.parametrize(
    ("target", "file", "modules"),
    [("keras", "net.keras", ("keras", "tensorflow")), ("onnx", "net.onnx", ("onnxruntime",))],
)
def test_a_whole_model_is_run_as_it_is_too(
    resnetgen: Run,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    file: str,
    modules: tuple[str, ...],
) -> None:
    """In the type that it has, besides the weights that it holds in a wider one."""
    skip_without(*modules)
    from resnetgen.convert import convert

    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "given.safetensors")
    compare = convert.compare
    figures: list[tuple[str, float]] = []

    def compared(actual: Any, *arguments: Any, dtype: str, **options: Any) -> Any:
        found = compare(actual, *arguments, dtype=dtype, **options)
        figures.append((dtype, found.relative))
        return replace(found, bound=0.0) if dtype == "float32" else found

    monkeypatch.setattr(convert, "compare", compared)
    arguments = ("given.safetensors", "--spec", reference, "--to", target, "-o", file)
    ran = resnetgen("convert", *arguments)
    assert (ran.code, Path(file).exists()) == (1, False)
    assert "nothing can be proven: rounding to float32 alone may move the output by" in ran.err
    (wide, exact), (single, rounded) = figures
    assert (wide, single) == ("float64", "float32")
    assert exact < 1e-12 < rounded < 1e-5


@needs_frameworks
@pytest.mark.parametrize(
    ("changed", "is_written"),
    [({}, True), ({"tiny": 2.0}, False), ({"bias": 1e4}, False)],
)
def test_softmax_hides_no_weights_from_a_conversion(
    resnetgen: Run,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, float],
    is_written: bool,
) -> None:
    """Not of classes that are next to impossible; of logits too far apart it says so."""
    from resnetgen.convert import convert

    reference = spec(TINY + "output: softmax\n")
    _, tensors = drawn(reference)
    tensors["fc.bias"] = changed.get("bias", 6.0) * np.arange(10, dtype=np.float32)
    save_file(tensors, "given.safetensors")
    right = convert.telling_case

    def wrong(*arguments: Any, **options: Any) -> Any:
        known = right(*arguments, **options)
        if known is None:
            return None
        given = known.values["softmax"]
        assert given.min() < 1e-18
        other = np.where(given < 1e-18, changed.get("tiny", 1.0) * given, given)
        return replace(known, values={**known.values, "softmax": other})

    monkeypatch.setattr(convert, "telling_case", wrong)
    arguments = ("given.safetensors", "--spec", reference, "--to", "onnx", "-o", "net.onnx")
    ran = resnetgen("convert", *arguments)
    assert (ran.code == 0, Path("net.onnx").exists()) == (is_written, is_written)
    if "tiny" in changed:
        assert "not written: in onnx, the output is off by" in ran.err
    if "bias" in changed:
        assert "nothing can be proven: the softmax gives 0 or 1, whatever comes" in ran.err


@needs_frameworks
def test_a_converted_graph_stands_alone(resnetgen: Run) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "given.safetensors")
    arguments = ("given.safetensors", "--spec", reference, "--to", "onnx", "-o", "net.onnx")
    assert resnetgen("convert", *arguments).code == 0
    Path("given.safetensors").unlink()
    model = onnx.load("net.onnx")
    image = image_of(32).astype(np.float32)
    (found,) = ReferenceEvaluator(model).run(None, {"input": image})
    assert np.asarray(found).shape == (1, 10)


@needs_frameworks
def test_a_plain_export_of_pytorch_is_read(resnetgen: Run) -> None:
    torch = pytest.importorskip("torch")
    torchvision = torchvision_models()
    model = torchvision.resnet18().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, 64, 64),),
            "net.onnx",
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    _, found = built(resnetgen, "net.onnx", "resnet18")
    expected = {
        name: each.numpy() for name, each in model.state_dict().items() if "num_batches" not in name
    }
    assert same(found, expected)


@needs_frameworks
def test_an_export_without_its_norms_is_explained(resnetgen: Run) -> None:
    torch = pytest.importorskip("torch")
    model = torchvision_models().resnet18().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.zeros(1, 3, 64, 64),), "net.onnx", dynamo=False)
    err = refused(resnetgen("build", "resnet18", "--weights", "net.onnx"))
    assert "has norms that its exporter folded into the convolutions" in err


@needs_frameworks
def test_a_conversion_that_disagrees_writes_nothing(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnetgen.convert import convert

    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "given.safetensors")
    right = convert.telling_case

    def wrong(*arguments: Any, **options: Any) -> Any:
        known = right(*arguments, **options)
        return replace(known, values={name: each + 0.01 for name, each in known.values.items()})

    monkeypatch.setattr(convert, "telling_case", wrong)
    arguments = ("given.safetensors", "--spec", reference, "--to", "torch", "-o", "net.pth")
    ran = resnetgen("convert", *arguments)
    assert ran.code == 1
    assert "net.pth: not written: in torch, the output is off by" in ran.err
    assert sorted(path.name for path in Path().iterdir()) == ["given.safetensors", "net.yaml"]


@needs_frameworks
def test_a_build_with_a_checkpoint_is_verified_with_its_weights(resnetgen: Run) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "given.safetensors")
    ran = resnetgen("build", reference, "--weights", "given.safetensors", "--target", "torch")
    assert ran.code == 0
    assert ran.out.endswith("passed: torch agrees with the spec\n")
    certificate = json.loads(Path("generated/tiny/certificate.json").read_text())
    assert certificate["weights"] == "shipped"


@needs_frameworks
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "kears", "-o", "net.keras"), "did you mean `keras`?"),
        (("--to", "keras", "-o", "net.h5"), "a name that ends in .weights.h5 or .keras"),
        (("--to", "torch", "-o", "none/net.pth"), "none: error: does not exist"),
        (("--to", "torch", "-o", "taken.pth"), "taken.pth: error: is there already"),
        (
            ("--to", "torch", "-o", "net.safetensors", "--force"),
            "net.safetensors: error: is what would be converted",
        ),
        (
            ("--to", "torch", "-o", "net.pth", "--set", "classes=3"),
            "hint: the file is for 10 classes",
        ),
    ],
)
def test_conversions_that_cannot_be_are_refused(
    resnetgen: Run, arguments: tuple[str, ...], message: str
) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    Path("taken.pth").write_text("mine")
    assert message in refused(
        resnetgen("convert", "net.safetensors", "--spec", reference, *arguments)
    )
    assert Path("taken.pth").read_text() == "mine"


@needs_frameworks
def test_a_file_that_appears_during_a_conversion_stays(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    arguments = ("convert", "net.safetensors", "--spec", reference, "--to", "torch")
    copy = shutil.copyfile

    def copy_slowly(source: Path, target: Path) -> None:
        copy(source, target)
        Path("net.pth").write_text("mine")

    monkeypatch.setattr(shutil, "copyfile", copy_slowly)
    before = {*os.listdir(), "net.pth"}
    said = "net.pth: error: cannot be written: another file has appeared there\n"
    assert refused(resnetgen(*arguments, "-o", "net.pth")).endswith(said)
    assert (Path("net.pth").read_text(), {*os.listdir()}) == ("mine", before)
    assert resnetgen(*arguments, "-o", "net.pth", "--force").code == 0
    assert Path("net.pth").read_bytes() != b"mine"


def test_a_framework_that_is_not_installed_is_exit_code_3(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("net.safetensors").write_bytes(b"1")
    monkeypatch.setitem(sys.modules, "flax", None)
    monkeypatch.setitem(sys.modules, "jax", None)
    arguments = ("--spec", spec(), "--to", "flax", "-o", "out.safetensors")
    ran = resnetgen("convert", "net.safetensors", *arguments)
    assert (ran.code, ran.err) == (3, "flax: jax is not installed: install resnetgen[jax]\n")
    facts = resnetgen("convert", "net.safetensors", *arguments, "--json").json
    assert (facts["status"], facts["reason"]) == (
        "not_run", "jax is not installed: install resnetgen[jax]",
    )  # fmt: skip


@needs_frameworks
def test_want_of_memory_says_nothing_of_the_file(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without("torch")
    Path("net.pth").write_bytes(b"1")
    Path("torch.py").write_text("raise MemoryError('9 TiB')")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    ran = resnetgen("infer", "net.pth")
    why = "memory or disk came to an end here: MemoryError: 9 TiB"
    assert (ran.code, ran.err) == (2, f"net.pth: error: has not been read: {why}\n")


@needs_frameworks
def test_graph_needs_no_onnx_runtime(resnetgen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = spec()
    _, tensors = drawn(reference)
    save_file(tensors, "net.safetensors")
    Path("onnxruntime.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    arguments = ("--spec", reference, "--to", "onnx", "-o", "net.onnx")
    assert resnetgen("convert", "net.safetensors", *arguments).code == 0


@needs_frameworks
def test_weights_that_hide_the_image_are_not_converted(resnetgen: Run) -> None:
    """Any others might give the same."""
    skip_without("torch")
    reference = spec(SMALL)
    _, tensors = drawn(reference)
    save_file({name: np.zeros_like(each) for name, each in tensors.items()}, "zeros.safetensors")
    ran = resnetgen(
        "convert", "zeros.safetensors", "--spec", reference, "--to", "torch", "-o", "z.pth"
    )
    assert (ran.code, Path("z.pth").exists()) == (1, False)
    assert "nothing can be proven: these weights give the same for every image\n" in ran.err


@needs_frameworks
def test_model_that_keras_cannot_load_again_is_refused(resnetgen: Run) -> None:
    """It makes one call within another for each layer."""
    skip_without("keras", "tensorflow")
    deep = SMALL.replace("repeats: 2", "repeats: 150")
    reference = spec(deep)
    resnetgen("build", reference, "--target", "torch", "--no-verify")
    (weights,) = Path("generated").glob("*/model.safetensors")
    arguments = ("--spec", reference, "--to", "keras", "-o", "net.keras")
    ran = resnetgen("convert", weights, *arguments)
    assert (ran.code, Path("net.keras").exists()) == (1, False)
    assert ran.err.endswith(
        "net.keras: not written: in keras, is too deep for Keras to load from a .keras file: "
        "a .weights.h5 file has no such limit\n"
    )


def test_help_names_every_origin(resnetgen: Run) -> None:
    said = " ".join(resnetgen("convert", "--help").out.split())
    *most, last = (origin.name for origin in ORIGINS)
    assert f"not recognized: {', '.join(most)} or {last}." in said
