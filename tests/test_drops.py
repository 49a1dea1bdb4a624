"""What training leaves out at random: how much of it, at which rates, and nothing in inference."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skips import skip_without

from resnetgen.emit import emit, source
from resnetgen.ir.check import check
from resnetgen.ir.inference import inference
from resnetgen.ir.network import Network
from resnetgen.ir.ops import Dropout, DropPath
from resnetgen.lower import lower
from resnetgen.spec.canonical import sha256, to_yaml
from resnetgen.spec.load import load
from resnetgen.verify.mistakes import mistakes

# A stage that is written as a loop, one that is not, and one that has no shortcut to drop for.
SPEC = """
name: dropping
input: {channels: 3, size: 16}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
drop_path: 0.4
block_dropout: 0.3
dropout: 0.2
stages:
  - {name: one, repeats: 6, width: 8, stride: 1}
  - {name: two, repeats: 6, width: 12, stride: 2}
  - {name: three, repeats: 1, width: 12, stride: 1, shortcut: none}
  - {name: four, repeats: 3, width: 16, stride: 2}
"""
NAMES = [
    f"layer{stage}.{block}"
    for stage, repeats in ((1, 6), (2, 6), (3, 1), (4, 3))
    for block in range(repeats)
]
RATES = {
    **{f"{name}.dropout": 0.3 for name in NAMES},
    **{f"{name}.droppath": 0.4 * index / 15 for index, name in enumerate(NAMES)},
    "dropout": 0.2,
}
del RATES["layer3.0.droppath"]
UNDROPPED = ("drop_path=0", "block_dropout=0", "dropout=0")
IMAGES = 20_000

# Each program prints the rates that the modules have, and saves what two of them make of ones: of
# images of 2 x 2 pixels and 3 channels, channels first.
COMMON = f"""
import json
import numpy as np
def dropping(named):
    return {{name: each for name, each in named if name.endswith(("droppath", "dropout"))}}
images = np.ones(({IMAGES}, 3, 2, 2), np.float32)
last = ("layer4.2.droppath", "layer4.2.dropout")
def save(trained, kept):
    np.savez("trained.npz", **dict(zip(last, trained)))
    assert all((each == 1).all() for each in kept)
"""
PROGRAMS = {
    "torch": """
import torch, model_torch
torch.manual_seed(0)
found = dropping(model_torch.dropping().named_modules())
x = torch.from_numpy(images)
save([found[name](x).numpy() for name in last], [found[name].eval()(x).numpy() for name in last])
print(json.dumps({name: module.p for name, module in found.items()}))
""",
    "keras": """
import keras, model_keras
keras.utils.set_random_seed(0)
model = model_keras.dropping()
found = dropping((layer.name.replace("_", "."), layer) for layer in model.layers)
x = keras.ops.convert_to_tensor(images.transpose(0, 2, 3, 1))
def given(name, training):
    return keras.ops.convert_to_numpy(found[name](x, training=training)).transpose(0, 3, 1, 2)
save(*([given(name, training) for name in last] for training in (True, False)))
print(json.dumps({name: layer.rate for name, layer in found.items()}))
""",
    "flax": """
from flax import nnx
import model_flax
model = model_flax.dropping(rngs=nnx.Rngs(0))
modules = nnx.iter_modules(model)
found = dropping((".".join(map(str, path)), module) for path, module in modules)
def given(name):
    return np.array(found[name](images.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
trained = [given(name) for name in last]
assert all((given(name) != each).any() for name, each in zip(last, trained)), "one draw for all"
model.eval()
save(trained, [given(name) for name in last])
print(json.dumps({name: module.rate for name, module in found.items()}))
""",
}


def network(folder: Path, document: str = SPEC, *overrides: str) -> Network:
    path = folder / "spec.yaml"
    path.write_text(document)
    lowered = lower(load(str(path), overrides=overrides).spec)
    check(lowered)
    return lowered


def run(
    folder: Path, program: str, *, backend: str | None = None
) -> tuple[Any, list[NDArray[Any]]]:
    """What a program prints and saves, in a process of its own beside the sources."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    done = subprocess.run(
        [sys.executable, "-c", COMMON + program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(folder / "trained.npz") as saved:
        return json.loads(done.stdout), [saved[name] for name in saved]


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("target", "backend"),
    [
        ("torch", None),
        ("keras", "tensorflow"),
        ("keras", "jax"),
        ("keras", "torch"),
        ("flax", None),
    ],
)
def test_training_drops_as_the_spec_says(target: str, backend: str | None, tmp_path: Path) -> None:
    skip_without(target, *([backend] if backend else []))
    lowered = network(tmp_path)
    (tmp_path / f"model_{target}.py").write_text(source(lowered, target))
    rates, (paths, values) = run(tmp_path, PROGRAMS[target], backend=backend)
    assert rates == RATES
    assert (paths == paths[:, :1, :1, :1]).all(), "an image is dropped in part"
    assert np.allclose(np.unique(paths), [0, 1 / 0.6])
    assert np.allclose(np.unique(values), [0, 1 / 0.7])
    # Five deviations of the mean of so many draws.
    assert abs(paths.mean() - 1) < 5 * (0.4 / 0.6 / IMAGES) ** 0.5
    assert abs(values.mean() - 1) < 5 * (0.3 / 0.7 / values.size) ** 0.5


def test_no_layer_of_the_network_in_inference_drops_or_reads_what_does(tmp_path: Path) -> None:
    trained = inference(network(tmp_path))
    check(trained)
    undropped = network(tmp_path, SPEC, *UNDROPPED)
    assert tuple(trained.ops) == tuple(undropped.ops)


def test_graph_has_no_node_that_only_training_needs(tmp_path: Path) -> None:
    graphs = [
        emit(network(tmp_path, SPEC, *overrides), names=["onnx"], spec_yaml="", described=[])[
            "model.onnxtxt"
        ].decode()
        for overrides in ((), UNDROPPED)
    ]
    bodies = [graph.partition("<\n  ir_version")[2] for graph in graphs]
    assert bodies[0] == bodies[1]


def test_spec_that_drops_nothing_resolves_as_it_did_before_there_were_rates(tmp_path: Path) -> None:
    spec = load("resnet18").spec
    assert "drop" not in to_yaml(spec)
    assert sha256(spec).startswith("59da69c017db")
    for stated in ("drop_path", "block_dropout", "dropout"):
        dropping = load("resnet18", overrides=(f"{stated}=0.1",)).spec
        assert f"\n{stated}: 0.1\n" in to_yaml(dropping)
        assert sha256(dropping) != sha256(spec)


def test_only_block_and_blocks_without_shortcuts_drop_nothing(tmp_path: Path) -> None:
    plain = network(tmp_path, SPEC, "shortcut=none", "drop_path=0")
    path = tmp_path / "plain.yaml"
    path.write_text(to_yaml(load(str(tmp_path / "spec.yaml"), overrides=["shortcut=none"]).spec))
    assert tuple(lower(load(str(path)).spec).ops) == tuple(plain.ops)


def test_sources_state_rates_by_the_block_s_number(tmp_path: Path) -> None:
    lowered = network(tmp_path)
    in_torch, in_keras, in_flax = (source(lowered, name) for name in ("torch", "keras", "flax"))
    assert "*(BasicBlock(8, 8, drop_path=0.4 * index / 15) for index in range(6))" in in_torch
    assert "BasicBlock(8, 12, stride=2, drop_path=0.4 * 6 / 15, downsample=True)" in in_torch
    assert "BasicBlock(12, 12, drop_path=0.4 * index / 15) for index in range(7, 12)" in in_torch
    assert (
        'basic_block(x, 12, drop_path=0.4 * (index + 6) / 15, name=f"layer2_{index}")' in in_keras
    )
    assert "[BasicBlock(8, 8, drop_path=0.4 * index / 15, rngs=rngs) for index" in in_flax
    plain = in_torch.partition("class PlainBasicBlock")[2].partition("class ResNet")[0]
    assert plain
    assert "path" not in plain.lower()


def test_blocks_of_one_rate_have_no_parameter_for_it(tmp_path: Path) -> None:
    one_each = SPEC.replace("repeats: 6", "repeats: 1").replace("repeats: 3", "repeats: 1")
    one_each = one_each.replace("width: 16, stride: 2", "width: 16, stride: 2, block: bottleneck")
    written = source(network(tmp_path, one_each), "torch")
    assert "self.droppath = DropPath(0.4 * 3 / 3)" in written
    bottleneck = written.partition("class Bottleneck")[2].partition("class ResNet")[0]
    assert "drop_path:" not in bottleneck


def test_model_that_still_trains_is_known_by_what_it_drops() -> None:
    value = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    path = DropPath("path", ("x",), 0.5, index=1, last_index=2)
    for op, seen, cause in (
        (path, value * [[[[0.0]]], [[[1 / 0.75]]]], "drops values, as in training"),
        (path, 0.75 * value, "scales by what training keeps"),
        (Dropout("drop", ("x",), 0.5), 2 * value * (value > 0), "drops values, as in training"),
    ):
        tried = mistakes(op, (value,), tensors={}, right=value, seen=seen)
        assert next(each.cause for each in tried if np.allclose(each.value, seen)) == cause
