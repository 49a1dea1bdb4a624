"""What training leaves out at random: how much of it, at which rates, and nothing in inference."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from resnetgen.emit import emit, source
from resnetgen.ir.check import check
from resnetgen.ir.inference import inference
from resnetgen.ir.network import Network
from resnetgen.ir.ops import DropPath
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
stages:
  - {name: one, repeats: 6, width: 8, stride: 1}
  - {name: two, repeats: 6, width: 12, stride: 2}
  - {name: three, repeats: 1, width: 12, stride: 1, shortcut: none}
  - {name: four, repeats: 3, width: 16, stride: 2}
"""
RATES = {
    f"layer{stage}.{block}": 0.4 * index / 15
    for index, (stage, block) in enumerate(
        (stage, block)
        for stage, repeats in ((1, 6), (2, 6), (3, 1), (4, 3))
        for block in range(repeats)
    )
    if stage != 3
}
IMAGES = 20_000

# Each program prints the rates that the modules have, and saves what one of them makes of ones:
# of images of 2 x 2 pixels and 3 channels, channels first.
COMMON = f"""
import json
import numpy as np
def found(rates, trained, kept):
    print(json.dumps(rates))
    np.save("trained.npy", trained)
    assert (kept == 1).all()
images = np.ones(({IMAGES}, 3, 2, 2), np.float32)
"""
PROGRAMS = {
    "torch": """
import torch
from model_torch import dropping
torch.manual_seed(0)
modules = dict(dropping().named_modules())
dropped = {name: module for name, module in modules.items() if name.endswith(".droppath")}
last = dropped["layer4.2.droppath"]
x = torch.from_numpy(images)
found({name: module.p for name, module in dropped.items()}, last(x), last.eval()(x))
""",
    "keras": """
import keras
from model_keras import dropping
keras.utils.set_random_seed(0)
layers = {layer.name.replace("_", "."): layer for layer in dropping().layers}
dropped = {name: layer for name, layer in layers.items() if name.endswith(".droppath")}
last = dropped["layer4.2.droppath"]
x = keras.ops.convert_to_tensor(images.transpose(0, 2, 3, 1))
trained, kept = (keras.ops.convert_to_numpy(last(x, training=each)) for each in (True, False))
found({name: layer.rate for name, layer in dropped.items()}, trained.transpose(0, 3, 1, 2), kept)
""",
    "flax": """
from flax import nnx
from model_flax import dropping
model = dropping(rngs=nnx.Rngs(0))
modules = {".".join(map(str, path)): module for path, module in nnx.iter_modules(model)}
dropped = {name: module for name, module in modules.items() if name.endswith(".droppath")}
last = dropped["layer4.2.droppath"]
x = images.transpose(0, 2, 3, 1)
trained = np.array(last(x)).transpose(0, 3, 1, 2)
assert (np.array(last(x)).transpose(0, 3, 1, 2) != trained).any(), "every draw is the same"
model.eval()
found({name: module.rate for name, module in dropped.items()}, trained, np.array(last(x)))
""",
}


def network(folder: Path, document: str = SPEC, *overrides: str) -> Network:
    path = folder / "spec.yaml"
    path.write_text(document)
    lowered = lower(load(str(path), overrides=overrides).spec)
    check(lowered)
    return lowered


def run(folder: Path, program: str, *, backend: str | None = None) -> tuple[Any, NDArray[Any]]:
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
    return json.loads(done.stdout), np.load(folder / "trained.npy")


def skip_without(*modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


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
def test_training_drops_the_paths_of_whole_images_at_rates_that_grow(
    target: str, backend: str | None, tmp_path: Path
) -> None:
    skip_without(target, *([backend] if backend else []))
    lowered = network(tmp_path)
    (tmp_path / f"model_{target}.py").write_text(source(lowered, target))
    rates, trained = run(tmp_path, PROGRAMS[target], backend=backend)
    assert rates == {f"{block}.droppath": rate for block, rate in RATES.items()}
    assert (trained == trained[:, :1, :1, :1]).all(), "an image is dropped in part"
    assert np.allclose(np.unique(trained), [0, 1 / 0.6])
    # Five deviations of the mean of so many draws.
    assert abs(trained[:, 0, 0, 0].mean() - 1) < 5 * (0.4 / 0.6 / IMAGES) ** 0.5


def test_no_layer_of_the_network_in_inference_drops_or_reads_what_does(tmp_path: Path) -> None:
    trained = inference(network(tmp_path))
    check(trained)
    undropped = network(tmp_path, SPEC, "drop_path=0")
    assert tuple(trained.ops) == tuple(undropped.ops)


def test_graph_has_no_node_that_only_training_needs(tmp_path: Path) -> None:
    graphs = [
        emit(network(tmp_path, SPEC, f"drop_path={rate}"), names=["onnx"], spec_yaml="",
             described=[])["model.onnxtxt"].decode()
        for rate in ("0.4", "0")
    ]  # fmt: skip
    bodies = [graph.partition("<\n  ir_version")[2] for graph in graphs]
    assert bodies[0] == bodies[1]


def test_spec_that_drops_nothing_resolves_as_it_did_before_there_were_rates(tmp_path: Path) -> None:
    spec = load("resnet18").spec
    assert "drop" not in to_yaml(spec)
    assert sha256(spec).startswith("59da69c017db")
    dropping = load("resnet18", overrides=("drop_path=0.1",)).spec
    assert "drop_path: 0.1" in to_yaml(dropping)
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
    assert "drop" not in plain


def test_blocks_of_one_rate_have_no_parameter_for_it(tmp_path: Path) -> None:
    one_each = SPEC.replace("repeats: 6", "repeats: 1").replace("repeats: 3", "repeats: 1")
    one_each = one_each.replace("width: 16, stride: 2", "width: 16, stride: 2, block: bottleneck")
    written = source(network(tmp_path, one_each), "torch")
    assert "self.droppath = DropPath(0.4 * 3 / 3)" in written
    bottleneck = written.partition("class Bottleneck")[2].partition("class ResNet")[0]
    assert "drop_path:" not in bottleneck


def test_model_that_still_trains_is_known_by_the_images_it_drops() -> None:
    value = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    op = DropPath("drop", ("x",), 0.5, index=1, last_index=2)
    for seen, cause in (
        (value * [[[[0.0]]], [[[1 / 0.75]]]], "drops images, as in training"),
        (0.75 * value, "scales by what training keeps"),
    ):
        tried = mistakes(op, (value,), tensors={}, right=value, seen=seen)
        assert next(each.cause for each in tried if np.allclose(each.value, seen)) == cause
