"""The paper's equation (1) in every framework: a block computes activation(F(x) + shortcut(x)).

The right-hand side is put together by hand from the framework's own layers, in float64.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resnetgen.emit import emit
from resnetgen.lower import lower
from resnetgen.spec.load import load
from resnetgen.weights.file import write
from resnetgen.weights.initial import initial, stream
from resnetgen.weights.layout import layout

pytestmark = pytest.mark.frameworks

# Each stage is a kind of block with each of its shortcuts; the first block of a stage changes the
# shape, so that identity, projected and padded ones all appear.
DOCUMENT = """
name: blocks
input: {channels: 3, size: 33}
classes: 5
stem: {width: 8, kernel: 3, stride: 1, pool: none}
conv_bias: true
stages:
  - {name: basic_b, repeats: 2, width: 12, stride: 2, block: basic, shortcut: projection}
  - {name: basic_a, repeats: 2, width: 20, stride: 2, block: basic, shortcut: zero_pad}
  - {name: bottleneck_b, repeats: 2, width: 6, stride: 2, block: bottleneck, shortcut: projection}
  - {name: bottleneck_a, repeats: 2, width: 7, stride: 1, block: bottleneck, shortcut: zero_pad}
  - {name: own_b, repeats: 2, width: 9, stride: 2, shortcut: projection_all,
     block: [{kernel: 3}, {kernel: 1}, {kernel: 5, expansion: 2}]}
  - {name: own_a, repeats: 2, width: 11, stride: 1, shortcut: zero_pad,
     block: [{kernel: 3}, {kernel: 1}, {kernel: 5, expansion: 2}]}
"""

# Runs in the folder of the generated files; prints what it compared.
COMMON = """
import json, numpy as np
blocks = json.load(open("blocks.json"))
x = np.load("image.npy")
def relu(value): return np.maximum(value, 0)
def shortcut_by_hand(block, x):
    s, extra = block["stride"], block["out_channels"] - x.shape[1]
    return np.pad(x[:, :, ::s, ::s], ((0, 0), (0, extra), (0, 0), (0, 0)))
def agree(block, found, main, shortcut):
    wanted = relu(main + shortcut)
    assert found.dtype == np.float64 and found.shape == wanted.shape
    assert np.abs(main).max() > 0 and np.abs(shortcut).max() > 0
    assert np.abs(found - wanted).max() <= 1e-13 * np.abs(wanted).max(), block
    print(block["name"], block["shortcut"])
"""

TORCH = """
import torch, model_torch
from safetensors.torch import load_file
model = model_torch.blocks()
model.load_state_dict(load_file("model.safetensors"))
model.double().eval()
seen = {}
for name, module in model.named_modules():
    def hook(module, arguments, result, name=name):
        seen[name] = arguments[0].clone().numpy(), result.clone().numpy()
    if name and name.count(".") == 1: module.register_forward_hook(hook)
with torch.no_grad():
    model(torch.from_numpy(x))
    for block in blocks:
        module = model.get_submodule(block["name"])
        before, after = seen[block["name"]]
        main = torch.from_numpy(before)
        for number in range(1, block["convolutions"] + 1):
            if number > 1: main = torch.clamp(main, min=0)
            convolution = getattr(module, f"conv{number}")
            main = torch.nn.functional.conv2d(
                main, convolution.weight, convolution.bias, convolution.stride,
                convolution.padding)
            norm = getattr(module, f"bn{number}")
            column = lambda tensor: tensor[:, None, None]
            main = (main - column(norm.running_mean)) / torch.sqrt(
                column(norm.running_var) + 1e-5) * column(norm.weight) + column(norm.bias)
        if block["shortcut"] == "projection":
            shortcut = module.downsample(torch.from_numpy(before)).numpy()
        else:
            shortcut = shortcut_by_hand(block, before)
        agree(block, after, main.numpy(), shortcut)
"""

KERAS = """
import keras
keras.config.set_floatx("float64")
import model_keras
model = model_keras.blocks()
model_keras.load_safetensors(model, "model.safetensors")
layer = model.get_layer
def nchw(value): return np.asarray(value).transpose(0, 3, 1, 2)
def nhwc(value): return value.transpose(0, 2, 3, 1)
outputs = {}
names = [block["name"].replace(".", "_") + "_act" for block in blocks]
for name, value in zip(["act1", *names], keras.Model(
        model.input, [layer("act1").output, *(layer(name).output for name in names)])(nhwc(x))):
    outputs[name] = nchw(value)
before = outputs["act1"]
for block in blocks:
    prefix = block["name"].replace(".", "_")
    main = nhwc(before)
    for number in range(1, block["convolutions"] + 1):
        if number > 1: main = relu(np.asarray(main))
        convolution = layer(f"{prefix}_conv{number}")
        pad = convolution.kernel_size[0] // 2
        main = convolution(np.pad(main, ((0, 0), (pad, pad), (pad, pad), (0, 0))))
        main = layer(f"{prefix}_bn{number}")(main, training=False)
    if block["shortcut"] == "projection":
        projected = layer(f"{prefix}_downsample_0")(nhwc(before))
        shortcut = nchw(layer(f"{prefix}_downsample_1")(projected, training=False))
    else:
        shortcut = shortcut_by_hand(block, before)
    agree(block, outputs[prefix + "_act"], nchw(main), shortcut)
    before = outputs[prefix + "_act"]
"""

FLAX = """
import jax
jax.config.update("jax_enable_x64", True)
from flax import nnx
import model_flax
model = model_flax.blocks(rngs=nnx.Rngs(0))
model_flax.load_safetensors(model, "model.safetensors")
model.eval()
nnx.update(model, jax.tree.map(
    lambda leaf: leaf.astype("float64") if leaf.dtype == "float32" else leaf, nnx.state(model)))
def nchw(value): return np.asarray(value).transpose(0, 3, 1, 2)
def nhwc(value): return value.transpose(0, 2, 3, 1)
modules = {".".join(map(str, path)): module for path, module in nnx.iter_modules(model)}
before = relu(nchw(model.bn1(model.conv1(nhwc(x)))))
for block in blocks:
    module = modules[block["name"]]
    after = nchw(module(nhwc(before)))
    main = nhwc(before)
    for number in range(1, block["convolutions"] + 1):
        if number > 1: main = relu(np.asarray(main))
        main = getattr(module, f"bn{number}")(getattr(module, f"conv{number}")(main))
    if block["shortcut"] == "projection":
        convolution, norm = module.downsample
        shortcut = nchw(norm(convolution(nhwc(before))))
    else:
        shortcut = shortcut_by_hand(block, before)
    agree(block, after, nchw(main), shortcut)
    before = after
"""

ONNX = """
import onnx, onnx.reference
from onnx import numpy_helper
model = onnx.load("model.onnx")
for tensor in model.graph.initializer:
    if tensor.data_type == onnx.TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(
            numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
for value in [*model.graph.input, *model.graph.output]:
    value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
made = {node.output[0]: node for node in model.graph.node}
for block in blocks:
    last = f"{block['name']}.bn{block['convolutions']}"
    for name in (last, block["name"] + ".act", block["name"] + ".downsample.1"):
        if name in made:
            model.graph.output.add(name=name).type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
model.graph.output.add(name="act1").type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
names = [value.name for value in model.graph.output]
values = dict(zip(names, onnx.reference.ReferenceEvaluator(model).run(None, {"input": x})))
before = values["act1"]
for block in blocks:
    name = block["name"]
    if block["shortcut"] == "projection":
        shortcut = values[name + ".downsample.1"]
    else:
        shortcut = shortcut_by_hand(block, before)
    after = values[name + ".act"]
    agree(block, after, values[f"{name}.bn{block['convolutions']}"], shortcut)
    before = after
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import json

    folder = tmp_path_factory.mktemp("blocks")
    (folder / "spec.yaml").write_text(DOCUMENT)
    network = lower(load(str(folder / "spec.yaml")).spec)
    names = ["torch", "keras", "flax", "onnx"]
    for name, content in emit(network, names=names, spec_yaml="", described=names).items():
        (folder / name).write_bytes(content)
    write(folder / "model.safetensors", layout(network), tensors=initial(network, seed=1))
    blocks = [
        {
            "name": block.name,
            "shortcut": block.shortcut,
            "stride": block.stride,
            "convolutions": len(block.convolutions),
            "out_channels": block.out_channels,
        }
        for block in network.blocks
    ]
    (folder / "blocks.json").write_text(json.dumps(blocks))
    np.save(folder / "image.npy", stream(1, "image").standard_normal((2, 3, 33, 33)))
    return folder


@pytest.mark.parametrize(
    ("framework", "script"), [("torch", TORCH), ("keras", KERAS), ("flax", FLAX), ("onnx", ONNX)]
)
def test_block_output_is_activation_of_branch_plus_shortcut(
    framework: str, script: str, directory: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMON + script], cwd=directory, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    compared = dict(line.split() for line in done.stdout.splitlines())
    assert len(compared) == 12
    assert set(compared.values()) == {"identity", "projection", "zero_pad"}
