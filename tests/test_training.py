"""The level `train`: one step of training agrees in every framework, and what is wrong is named."""

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from skips import skip_without
from verification import (
    CHANNELING,
    DILATING,
    SAME,
    SMALL,
    SQUEEZING,
    TINY,
    files,
    network_of,
    verify_together,
)

from resnetgen.ir.network import Network
from resnetgen.ir.ops import BatchNorm2d, Op
from resnetgen.ir.rules import parameters, shapes
from resnetgen.verify.cases import Case, drawn_cases, training_cases
from resnetgen.verify.check import Options, verify
from resnetgen.verify.compare import compare_gradient
from resnetgen.verify.conditioning import gradient_conditioning
from resnetgen.verify.document import Level
from resnetgen.verify.numbers import Drawn
from resnetgen.verify.prepare import prepare
from resnetgen.verify.reference import Array, Inputs, Received, Tensors, unchanged
from resnetgen.verify.result import Unproven
from resnetgen.verify.runners.protocol import SeenStep
from resnetgen.verify.step import ExpectedStep, compare_step
from resnetgen.verify.training import Owned, Step, take_step
from resnetgen.weights.initial import stream

PREACTIVATED = SMALL.replace("name: small", "name: preactivated\norder: pre")
GROUPED = SMALL.replace("name: small", "name: grouped\nnorm: group\nnorm_groups: 2")
UNNORMALIZED = SMALL.replace("name: small", "name: unnormalized\nnorm: none")
PLAIN = SMALL.replace("name: small", "name: plain\nshortcut: none")
# Zeros around its max pool, biases in front of its norms, and a softmax at its end.
KERAS_DIALECT = TINY.replace("name: tiny", "name: dialect\ndialect: keras\noutput: softmax")
DROPPING = SMALL.replace(
    "name: small",
    "name: dropping\ndrop_path: 0.4\ndropout: 0.3\nblock_dropout: 0.2\nhead_pool: catavgmax",
)
AVERAGED_MAXIMUM = TINY.replace("name: tiny", "name: averaged\nhead_pool: avgmax")
SPECS = (
    TINY,
    SQUEEZING,
    CHANNELING,
    DILATING,
    SAME,
    PREACTIVATED,
    GROUPED,
    UNNORMALIZED,
    PLAIN,
    KERAS_DIALECT,
    DROPPING,
    AVERAGED_MAXIMUM,
)


def stepped(spec: str, folder: Path) -> tuple[Network, Case, Owned, Step]:
    """A step of training in the interpreter, with drawn weights."""
    network = network_of(spec, folder)
    drawn = Drawn(network, seed=0)
    for _ in drawn.walk(drawn_cases(network, seed=0)[0].image):
        pass

    def owned(op: Op) -> Tensors:
        return {each.kind: drawn.tensors[each.name].astype(np.float64) for each in parameters(op)}

    case = training_cases(network, seed=0)[0]
    return network, case, owned, take_step(network, case, owned)


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_are_what_finite_differences_come_to(spec: str, tmp_path: Path) -> None:
    """Each tensor is moved in a direction of its own, both ways."""
    network, case, owned, step = stepped(spec, tmp_path)
    hold_to_finite_differences(network, case, owned, step)


@pytest.mark.parametrize("spec", [SMALL, PREACTIVATED])
def test_what_ops_receive_decides_their_gradients(spec: str, tmp_path: Path) -> None:
    """Also where others read the same value, as an addition does what a first norm reads."""
    network, case, owned, still = stepped(spec, tmp_path)

    def received(op: Op, inputs: Inputs) -> Inputs:
        if not isinstance(op, BatchNorm2d):
            return inputs
        scale = 0.1 * float(still.inputs(op)[0].std())
        return (inputs[0] + scale * stream(0, op.name).standard_normal(inputs[0].shape),)

    step = take_step(network, case, owned, received=received)
    hold_to_finite_differences(network, case, owned, step, received=received)


def hold_to_finite_differences(
    network: Network, case: Case, owned: Owned, step: Step, *, received: Received = unchanged
) -> None:
    names = [each.name for op in network.ops for each in parameters(op) if each.trainable]
    assert step.gradients.keys() == set(names)
    for name in names:
        gradient = step.gradients[name]
        direction = stream(0, name).standard_normal(gradient.shape)

        def loss(distance: float, *, name: str = name, direction: Array = direction) -> float:
            def moved(op: Op) -> Tensors:
                return {
                    kind: tensor + distance * direction if f"{op.name}.{kind}" == name else tensor
                    for kind, tensor in owned(op).items()
                }

            return take_step(network, case, moved, received=received).loss

        # So near that no ReLU is moved over its kink.
        slope = (loss(1e-9) - loss(-1e-9)) / 2e-9
        size = step.scales[name] * float(np.abs(direction).sum())
        assert abs(slope - float((gradient * direction).sum())) < 1e-4 * size, name


def test_every_norm_sees_eight_values_of_a_channel_or_more(tmp_path: Path) -> None:
    for spec in SPECS:
        network = network_of(spec, tmp_path)
        batch, _, height, width = training_cases(network, seed=0)[0].shape
        assert 2 <= batch <= 8
        known = shapes(network, (height, width))
        for op in network.ops:
            if isinstance(op, BatchNorm2d):
                assert batch * np.prod(known[op.name][1:]) >= 8, op.name


def test_gradient_of_a_bias_in_front_of_a_norm_has_its_weights_scale(tmp_path: Path) -> None:
    """It is 0 but for rounding, which has no scale of its own."""
    network, case, owned, step = stepped(KERAS_DIALECT, tmp_path)
    weight, bias = (step.gradients[f"conv1.{kind}"] for kind in ("weight", "bias"))
    assert np.abs(bias).max() < 1e-12 * np.abs(weight).max()
    assert step.scales["conv1.bias"] == np.abs(weight).max()
    assert 0.0 < gradient_conditioning(network, case, step, owned, seed=0) < 1e-11


KINDS = [
    pytest.param("torch", "torch", id="torch"),
    pytest.param("keras-tensorflow", "tensorflow", id="keras-tensorflow"),
    pytest.param("keras-jax", "jax", id="keras-jax"),
    pytest.param("keras-torch", "torch", id="keras-torch"),
    pytest.param("flax", "flax", id="flax"),
]


@pytest.mark.parametrize(
    ("infinite", "unprovable"),
    [
        ({1e3}, None),
        ({1.0}, None),
        ({1.0, 1e-3, 1e3}, "in training: there is none"),
    ],
)
def test_a_step_without_a_gradient_is_left_out_at_whatever_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, infinite: set[float], unprovable: str | None
) -> None:
    """And where none is left, no target can prove anything."""
    network = network_of(KERAS_DIALECT, tmp_path)
    directory = files(network, tmp_path / "built", spec=KERAS_DIALECT)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(
        "resnetgen.verify.prepare.without_gradient",
        lambda _, case, __: "there is none" if case.scale in infinite else None,
    )
    prepared = prepare(network, directory, scratch, level="train", seed=0, dtype=None)
    assert {each.case.scale for each in prepared.left_out} == infinite
    run = {case.scale for case in prepared.cases if case.labels is not None}
    assert run == {1.0, 1e-3, 1e3} - infinite
    if unprovable is None:
        assert prepared.unprovable is None
    else:
        assert prepared.unprovable is not None
        assert unprovable in prepared.unprovable


IMPOSSIBLE_LABEL = """
name: impossible
input: {channels: 2, size: 16}
classes: 6
dialect: keras
stem: {hidden: [6], width: 2, kernel: 3, stride: 2, bias: false, norm: false, pool: none}
block: bottleneck
expansion: 1
shortcut: zero_pad
order: pre
groups: 2
reduce_first: 2
attention: eca
attention_at: middle
anti_alias: blur
activation: gelu
norm: none
conv_bias: false
stages:
  - {name: stage1, repeats: 2, width: 24, stride: 2}
"""
"""At a thousand times the images, a class that is no label has a probability of 0."""
HIDDEN_BY_BIASES = """
name: hidden
input: {channels: 1, size: 19}
classes: 2
stem: {width: 1, kernel: 3, stride: 1, bias: true, pool: max}
block: bottleneck
conv_bias: true
stages:
  - {name: conv2_x, repeats: 1, width: 4, stride: 3}
  - {name: conv3_x, repeats: 1, width: 9, stride: 3}
"""
"""At a thousandth of the images, norms see biases and hardly anything else."""
HIDDEN_BY_ONE_BIAS = """
name: narrow_stem
input: {channels: 2, size: 11}
classes: 10
stem: {width: 1, kernel: 5, stride: 1, bias: true, pool: none}
block:
  - {kernel: 5, strided: true}
  - {kernel: 1}
  - {kernel: 5}
stages:
  - {name: conv2_x, repeats: 1, width: 14, stride: 1}
  - {name: conv3_x, repeats: 5, width: 7, stride: 2}
"""

GATES_AT_THEIR_ENDS = """
name: at_their_ends
dialect: timm
input: {channels: 2, size: [34, 39]}
classes: 4
stem: {width: 11, kernel: 1, stride: 1, norm: false, pool: conv}
block: bottleneck
expansion: 1
shortcut: none
order: pre
stride_block: last
block_dropout: 0.3
head_pool: catavgmax
dropout: 0.25
groups: 2
reduce_first: 2
attention: eca
anti_alias: blur
activation: silu
norm: none
stages:
  - {name: stage1, repeats: 3, width: 16, stride: 2}
"""
"""What they leave of 1, at a thousand times the images, has hardly a digit."""


CERTAIN = """
name: certain
input: {channels: 3, size: 16}
classes: 2
norm: none
stem: {width: 6, kernel: 3, stride: 1, norm: false, pool: none}
block: basic
stages:
  - {name: stage1, repeats: 2, width: 6, stride: 1}
"""
"""At a thousand times the images, either has its label for certain: no gradient is left."""
DEEP = """
name: deep
input: {channels: 3, size: 16}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
shortcut: none
stages:
  - {name: stage1, repeats: REPEATS, width: 8, stride: 1}
"""
"""A plain network, in which rounding grows by a fifth at every layer."""
EPSILON = float(np.finfo(np.float64).eps)
MOMENTUM = "momentum is 0.2 instead of 0.1 (as Keras and Flax count, 0.8 instead of 0.9)"


@pytest.mark.frameworks
@pytest.mark.parametrize("target", ["torch", "keras-tensorflow", "flax"])
def test_a_step_whose_labels_are_certain_is_left_out(target: str, tmp_path: Path) -> None:
    skip_without({"torch": "torch", "flax": "flax"}.get(target, "keras"))
    directory = files(network_of(CERTAIN, tmp_path), tmp_path / "built", spec=CERTAIN)

    result = verify_together(target, [directory], level="train")["built"]

    assert (result["status"], result["reason"]) == ("passed", None)
    assert [each["scale"] for each in result["training_scaled"]] == [1e-3]


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("repeats", "level", "status", "reason"),
    [
        (50, "train", "passed", None),
        (
            80,
            "forward",
            "not_run",
            "nothing can be proven: rounding to float64 alone may move layer1.",
        ),
    ],
)
def test_rounding_that_nobody_can_follow_is_no_failure(
    tmp_path: Path, repeats: int, level: Level, status: str, reason: str | None
) -> None:
    """However far it goes, and wherever it ends: also in what training keeps."""
    skip_without("torch")
    spec = DEEP.replace("REPEATS", str(repeats))
    directory = files(network_of(spec, tmp_path), tmp_path / "built", spec=spec)

    result = verify_together("torch", [directory], level=level)["built"]

    assert result["status"] == status
    assert (result["reason"] or "").startswith(reason or "")
    assert (result["first_divergence"], result["cause"]) == (None, None)


@pytest.mark.parametrize(
    ("growth", "momentum", "off", "problems", "unproven"),
    [
        (1.0, 0.1, 0.0, [], None),
        # It fits but for a little, and is nobody's mistake.
        (1.0, 0.1, 5e-10, [("bn1", None)], None),
        (1e6, 0.1, 5e-10, [], Unproven("the running variance of bn1", 1e8 * EPSILON)),
        (1.0, 0.2, 0.0, [("bn1", MOMENTUM), ("bn1", MOMENTUM)], None),
        (math.inf, 0.2, 0.0, [], Unproven("the running mean of bn1", math.inf)),
        (math.inf, 0.1, math.nan, [("bn1", None)], None),
    ],
)
def test_statistics_that_rounding_may_have_moved_prove_nothing(
    tmp_path: Path,
    growth: float,
    momentum: float,
    off: float,
    problems: list[tuple[str, str | None]],
    unproven: Unproven | None,
) -> None:
    network, case, owned, step = stepped(SMALL, tmp_path)
    kept: dict[str, Array] = {}
    for name, each in step.statistics.items():
        share = momentum if name == "bn1" else 0.1
        unbiased = each.variance * each.count / (each.count - 1)
        kept[f"{name}.running_mean"] = (1 - share) * each.kept_mean + share * each.mean
        kept[f"{name}.running_var"] = (1 - share) * each.kept_variance + share * unbiased
    kept["bn1.running_var"] *= 1 + off
    arrays = {**step.gradients, **kept}
    np.savez(tmp_path / "step.npz", **arrays)

    compared = compare_step(
        network,
        ExpectedStep(case, step, conditioning=0.0, growth=growth, owned=owned),
        SeenStep(step.loss, "step.npz"),
        tmp_path,
        dtype="float64",
        running_variance="unbiased",
    )

    assert [(each.op, each.cause) for each in compared.problems] == problems
    assert compared.unproven == unproven


@pytest.mark.parametrize(
    ("conditioning", "off", "is_wrong", "is_unproven"),
    [
        (1e-15, 1e-6, True, False),
        (1e-6, 1e-6, False, False),
        (1e-3, 1e-2, False, True),
        (1e-3, 1.0, True, False),
    ],
)
def test_gradients_that_rounding_may_have_moved_prove_nothing(
    conditioning: float, off: float, is_wrong: bool, is_unproven: bool
) -> None:
    right = np.array([0.5, -2.0])
    difference = compare_gradient(right + 2 * off, right, scale=2.0, conditioning=conditioning)
    assert difference.proves_nothing == is_unproven
    assert (not difference.passed and not difference.proves_nothing) == is_wrong


FOUND_BY_FUZZING = (IMPOSSIBLE_LABEL, HIDDEN_BY_BIASES, HIDDEN_BY_ONE_BIAS, GATES_AT_THEIR_ENDS)


@pytest.mark.frameworks
@pytest.mark.parametrize("target", ["torch", "keras-tensorflow", "flax"])
def test_networks_that_fuzzing_found_judged_wrong_train_alike(target: str, tmp_path: Path) -> None:
    module = {"torch": "torch", "flax": "flax"}.get(target, "keras")
    skip_without(module)
    directories = [
        files(network_of(spec, tmp_path), tmp_path / str(number), spec=spec)
        for number, spec in enumerate(FOUND_BY_FUZZING)
    ]

    results = verify_together(target, directories, level="train")

    found = {name: (result["status"], result["reason"]) for name, result in results.items()}
    assert found == dict.fromkeys(results, ("passed", None))
    assert all(len(result["training_scaled"]) == 2 for result in results.values())


@pytest.mark.frameworks
@pytest.mark.parametrize(("target", "module"), KINDS)
def test_every_kind_of_network_trains_alike(target: str, module: str, tmp_path: Path) -> None:
    skip_without(*((module, "keras") if target.startswith("keras") else (module,)))
    # JAX compiles each op for each shape anew, which takes minutes for all of them; and Keras's
    # source is the same on every backend.
    few = {"keras-jax": (TINY, DROPPING), "flax": (TINY, CHANNELING, SAME, KERAS_DIALECT, DROPPING)}
    specs = few.get(target, SPECS)
    directories: dict[str, Path] = {}
    for spec in specs:
        network = network_of(spec, tmp_path)
        directories[network.name] = files(network, tmp_path / network.name, spec=spec)

    results = verify_together(target, list(directories.values()), level="train")

    found = {name: (result["status"], result["reason"]) for name, result in results.items()}
    assert found == dict.fromkeys(directories, ("passed", None))
    for result in results.values():
        training = result["training"]
        assert training["dtype"] == "float64"
        assert training["gradients_compared"] > 0
        assert training["max_rel_diff"] < training["tolerance"] == training["bound"]
        assert training["running_variance"] == ("unbiased" if target == "torch" else "biased")
        scaled = result["training_scaled"]
        assert [each["scale"] for each in scaled] == [1e-3, 1e3]
        for each in scaled:
            assert each["gradients_compared"] == training["gradients_compared"]
            assert each["max_rel_diff"] <= each["bound"] <= 1e-6
            assert each["conditioning"] != training["conditioning"]
    if "unnormalized" in results:
        assert results["unnormalized"]["training"]["statistics_compared"] == 0
    assert results["tiny"]["training"]["statistics_compared"] == 28


@pytest.mark.frameworks
def test_what_draws_at_random_stays_as_in_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Norms stand for it here: by what they then compute, they are seen to be so."""
    named = {"torch": "torch", "keras-tensorflow": "tensorflow", "flax": "flax"}
    targets = tuple(target for target, module in named.items() if find_spec(module))
    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    monkeypatch.setattr("resnetgen.verify.training.Drop", BatchNorm2d)
    verification = verify(
        network,
        directory,
        options=Options(targets, level="train"),
        progress=lambda *_: None,
    )

    for result in verification.targets.values():
        assert (result.first_divergence, result.cause) == (
            "bn1",
            "uses the running statistics, not the batch's",
        )
        assert result.training[0].switched_off[:2] == ("bn1", "layer1.0.bn1")


@pytest.mark.frameworks
def test_figures_are_of_the_evaluator_that_is_off_most(tmp_path: Path) -> None:
    """What is wrong here, Keras's model for images of any size has right."""
    skip_without("keras", "torch")
    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    path = directory / "model_keras.py"
    text, right = path.read_text(), "momentum=BN_MOMENTUM,"
    assert right in text
    path.write_text(text.replace(right, "momentum=BN_MOMENTUM if x.shape[1] is None else 0.5,"))
    (result,) = verify_together("keras-torch", [directory], level="train").values()
    assert (result["status"], result["first_divergence"]) == ("failed", "bn1")
    assert result["training"]["statistics_max_rel_diff"] > 0.1
