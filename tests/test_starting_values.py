"""How built models start and average: momentum, epsilon, and what each value is drawn from."""

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run
from numpy.typing import NDArray
from skips import skip_without

from resnetgen.lower import lower
from resnetgen.spec.load import load
from resnetgen.weights.initial import initial
from resnetgen.weights.layout import layout

pytestmark = pytest.mark.frameworks

Array = NDArray[np.floating[Any]]

# Wide enough that a standard deviation tells one fan from the other.
SPEC = """
name: starting
input: {channels: 3, size: 16}
classes: 100
stem: {width: 32, kernel: 5, stride: 1, pool: none}
stages:
  - {name: conv2_x, repeats: 2, width: 32, stride: 1, block: basic, shortcut: projection}
  - {name: conv3_x, repeats: 2, width: 48, stride: 2, block: bottleneck, shortcut: projection}
  - {name: conv4_x, repeats: 1, width: 64, stride: 2, block: basic, shortcut: none}
"""
OTHER_VALUES = """
momentum: 0.2
epsilon: 0.001
conv_bias: true
zero_init_last: true
conv_init: he_fan_in
linear_init: he_fan_in
"""
# The last block has no shortcut, so its branch is no residual one.
LAST_GAMMAS = {f"{block}.weight" for block in (
    "layer1.0.bn2", "layer1.1.bn2", "layer2.0.bn3", "layer2.1.bn3",
)}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A spec, and what its text means in numbers."""

    spec: str
    momentum: float
    epsilon: float
    zero_gammas: frozenset[str]
    conv1_std: float
    has_conv_bias: bool
    linear_bound: float | None


CASES = {
    "defaults": Case(SPEC, 0.1, 1e-5, frozenset(), math.sqrt(2 / (32 * 25)), False, 64**-0.5),
    "others": Case(
        SPEC + OTHER_VALUES, 0.2, 1e-3, frozenset(LAST_GAMMAS), math.sqrt(2 / (3 * 25)), True, None
    ),
    "as in Keras": Case(
        f"dialect: keras\n{SPEC}",
        0.01,
        1.001e-5,
        frozenset(),
        math.sqrt(2 / ((3 + 32) * 25)),
        True,
        None,
    ),
    # With layers besides whose start no dialect decides.
    "as in Flax": Case(
        f"dialect: flax\n{SPEC}groups: 4\nattention: eca\n",
        0.1,
        1e-5,
        frozenset(LAST_GAMMAS),
        math.sqrt(1 / (3 * 25)),
        False,
        None,
    ),
    "a normal head": Case(
        f"{SPEC}linear_init: normal\n",
        0.1,
        1e-5,
        frozenset(),
        math.sqrt(2 / (32 * 25)),
        False,
        None,
    ),
    **{
        line: Case(
            f"{SPEC}{line}\n", 0.1, 1e-5, frozenset(), math.sqrt(2 / (32 * 25)), False, 64**-0.5
        )
        for line in ("attention: se", "groups: 4")
    },
}

# Each program saves the fresh model's tensors under their canonical names, and prints for each
# batch norm its epsilon and the weight that one training step gives to the new mean.
READ = {
    "torch": """
import json, sys
import numpy, torch
sys.path.insert(0, sys.argv[1])
from model_torch import starting

torch.manual_seed(0)
model = starting()
state = {name: value.numpy() for name, value in model.state_dict().items()}
numpy.savez("found.npz", **{name: value for name, value in state.items() if value.ndim})
found = {}
for name, norm in model.named_modules():
    if isinstance(norm, torch.nn.BatchNorm2d):
        images = 3 + torch.randn(8, norm.num_features, 4, 4)
        norm.train()(images)
        share = norm.running_mean / images.mean((0, 2, 3))
        found[name] = (norm.eps, share.min().item(), share.max().item())
print(json.dumps(found))
""",
    "keras": """
import json, sys
import keras, numpy
sys.path.insert(0, sys.argv[1])
from model_keras import starting

keras.utils.set_random_seed(0)
kinds = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias",
         "moving_mean": "running_mean", "moving_variance": "running_var"}
tensors, found = {}, {}
for layer in starting().layers:
    name = layer.name.replace("_", ".")
    for weight in layer.weights:
        tensors[f"{name}.{kinds[weight.name]}"] = numpy.array(weight)
    if isinstance(layer, keras.layers.BatchNormalization):
        images = numpy.float32(3 + numpy.random.standard_normal((8, 4, 4, layer.gamma.shape[0])))
        layer(images, training=True)
        share = numpy.array(layer.moving_mean) / images.mean((0, 1, 2))
        found[name] = (layer.epsilon, float(share.min()), float(share.max()))
numpy.savez("found.npz", **tensors)
print(json.dumps(found))
""",
    "flax": """
import json, sys
import numpy
from flax import nnx
sys.path.insert(0, sys.argv[1])
from model_flax import starting

kinds = {"kernel": "weight", "scale": "weight", "bias": "bias",
         "mean": "running_mean", "var": "running_var"}
tensors, found = {}, {}
for parts, module in nnx.iter_modules(starting(rngs=nnx.Rngs(0))):
    name = ".".join(map(str, parts))
    if isinstance(module, (nnx.Conv, nnx.Linear, nnx.BatchNorm)):
        for attribute, kind in kinds.items():
            if getattr(module, attribute, None) is not None:
                tensors[f"{name}.{kind}"] = numpy.array(getattr(module, attribute)[...])
    if isinstance(module, nnx.BatchNorm):
        images = numpy.random.standard_normal((8, 4, 4, module.num_features))
        images = numpy.float32(3 + images)
        module(images, use_running_average=False)
        share = numpy.array(module.mean[...]) / images.mean((0, 1, 2))
        found[name] = (module.epsilon, float(share.min()), float(share.max()))
numpy.savez("found.npz", **tensors)
print(json.dumps(found))
""",
}
FRAMEWORKS = {"torch": ("torch",), "keras": ("tensorflow", "keras"), "flax": ("jax", "flax")}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@pytest.mark.parametrize("target", READ)
def test_model_starts_and_averages_as_its_spec_says(
    resnetgen: Run, target: str, case: Case
) -> None:
    skip_without(*FRAMEWORKS[target])
    Path("spec.yaml").write_text(case.spec)
    without = ("--no-verify", "--no-weights")
    assert resnetgen("build", "spec.yaml", "--target", target, *without).code == 0
    norms, tensors = read_model(target)

    assert {"bn1", "layer1.0.bn2", "layer2.0.downsample.1", "layer3.0.bn2"} <= norms.keys()
    for name, (epsilon, *shares) in norms.items():
        assert epsilon == pytest.approx(case.epsilon, rel=1e-6), name
        assert shares == pytest.approx([case.momentum] * 2, rel=1e-4), name

    drawn = drawn_by_resnetgen()
    assert tensors.keys() == drawn.keys()
    assert ("conv1.bias" in tensors) == case.has_conv_bias
    zero_gammas = {f"{name}.weight" for name in norms if not np.any(tensors[f"{name}.weight"])}
    assert zero_gammas == case.zero_gammas
    assert np.std(tensors["conv1.weight"]) == pytest.approx(case.conv1_std, rel=0.1)
    if case.linear_bound is not None:
        for kind, least in (("weight", 0.99), ("bias", 0.9)):
            furthest = np.max(np.abs(tensors[f"fc.{kind}"]))
            assert least * case.linear_bound < furthest <= case.linear_bound * (1 + 1e-6)
    few = [name for name in tensors if name.endswith(".se.conv.weight")]
    assert bool(few) == ("eca" in case.spec)
    for found in (tensors, drawn) if few else ():
        # Three numbers for each block say little of their law, all together where it ends.
        furthest = max(np.max(np.abs(found[name])) for name in few)
        assert 0.5 * 3**-0.5 < furthest <= 3**-0.5 * (1 + 1e-6)
    for name in tensors.keys() - few:
        assert_same_law(name, tensors[name], drawn[name])


def read_model(target: str) -> tuple[dict[str, list[float]], dict[str, Array]]:
    """Each batch norm's epsilon and shares of the new mean, and the fresh model's tensors."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(
        [sys.executable, "-c", READ[target], "generated/starting"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    with np.load("found.npz") as found:
        return json.loads(ran.stdout), dict(found)


def drawn_by_resnetgen() -> dict[str, Array]:
    """What `build` would write as the weights of the spec."""
    network = lower(load("spec.yaml").spec)
    names = [entry.name for entry in layout(network).entries]
    return dict(zip(names, initial(network, seed=0), strict=True))


def assert_same_law(name: str, tensor: Array, drawn: Array) -> None:
    """Both constant and equal, or alike in mean, spread and tails as far as chance allows.

    Five standard errors of the difference between two samples of a normal distribution.
    """
    first, second = tensor.ravel().astype(np.float64), drawn.ravel().astype(np.float64)
    assert first.size == second.size, name
    if np.ptp(second) == 0:
        np.testing.assert_array_equal(first, second[0], err_msg=name)
        return
    count = second.size
    assert abs(first.mean()) < 5 * second.std() / math.sqrt(count), f"{name}: mean"
    assert first.std() == pytest.approx(second.std(), rel=5 / math.sqrt(count)), f"{name}: spread"
    assert kurtosis(first) == pytest.approx(kurtosis(second), abs=5 * math.sqrt(48 / count)), (
        f"{name}: a normal distribution has 3, a truncated one 2.4, a uniform one 1.8"
    )


def kurtosis(values: Array) -> float:
    """The fourth central moment over the squared variance."""
    centred = values - values.mean()
    return float(np.mean(centred**4) / np.mean(centred**2) ** 2)
