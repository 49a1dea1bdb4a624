"""Faults to put into generated files: what to edit, and which layer is then to blame."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx


@dataclass(frozen=True)
class Fault:
    """An edit of one file, the layer to blame for it, and words of the cause that is found, or of
    the reason for the verdict.

    No layer is to blame where a run breaks off and all that it showed is right.
    """

    name: str
    edit: Callable[[str], str] | Callable[[Any], None]
    layer: str | None
    cause: str | None = None
    reason: str | None = None


def replace(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """Replaces each text by another, at the first place where it stands."""

    def edit(source: str) -> str:
        for old, new in pairs:
            assert old in source, old
            source = source.replace(old, new, 1)
        return source

    return edit


TORCH = (
    Fault(
        "stride-on-the-1x1",
        replace(
            ("conv1x1(in_channels, width)", "conv1x1(in_channels, width, stride)"),
            ("conv3x3(width, width, stride)", "conv3x3(width, width)"),
        ),
        "layer2.0.conv1",
        "its stride is 2, not 1",
    ),
    Fault(
        "stem-padding",
        replace(("stride=2, padding=3", "stride=2, padding=2")),
        "conv1",
        "its padding is",
    ),
    Fault(
        "reflected-padding",
        replace(("padding=1, bias=False", "padding=1, padding_mode='reflect', bias=False")),
        "layer1.0.conv2",
    ),
    Fault(
        "shifted-input",
        replace(
            (
                "x = self.relu(self.bn1(self.conv1(x)))\n        x = self.bn2",
                "x = torch.roll(x, 1, 3)\n"
                "        x = self.relu(self.bn1(self.conv1(x)))\n        x = self.bn2",
            )
        ),
        "layer3.0.conv1",
    ),
    Fault(
        "epsilon",
        replace(("self.bn2 = nn.BatchNorm2d(width)", "self.bn2 = nn.BatchNorm2d(width, 1.5e-5)")),
        "layer1.0.bn2",
        "epsilon is 1.5e-05 instead of 1e-05",
    ),
    Fault("average-pool", replace(("nn.MaxPool2d", "nn.AvgPool2d")), "maxpool", "averages"),
    Fault(
        "pool-kernel",
        replace(("nn.MaxPool2d(kernel_size=3", "nn.MaxPool2d(kernel_size=2")),
        "maxpool",
        "its kernel is 2, not 3",
    ),
    Fault(
        "no-inner-activation",
        replace(("self.relu(self.bn2(self.conv2(x)))", "self.bn2(self.conv2(x))")),
        "layer1.0.act2",
        "is missing",
    ),
    Fault(
        "no-activation-behind-the-sum",
        replace(("self.relu(x + shortcut)", "x + shortcut")),
        "layer1.0.act",
        "is missing",
    ),
    Fault(
        "no-shortcut",
        replace(("self.relu(x + shortcut)", "self.relu(x)")),
        "layer1.0.add",
        "leaves out the shortcut",
    ),
    Fault(
        "other-activation",
        replace(("nn.ReLU(inplace=True)", "nn.GELU()")),
        "layer1.0.act1",
        "is GELU",
    ),
    Fault(
        "approximate-activation",
        replace(("nn.ReLU(inplace=True)", 'nn.GELU(approximate="tanh")')),
        "layer1.0.act1",
        "is GELU's approximation by a tanh",
    ),
    Fault(
        "dilation",
        replace(("stride=stride, padding=1", "stride=stride, padding=2, dilation=2")),
        "layer1.0.conv2",
        "its dilation is 2, not 1 (padding 2)",
    ),
    Fault(
        "zero-channels-in-front",
        replace(("0, 0, self.extra_channels)", "0, self.extra_channels, 0)")),
        "layer3.0.shortcut",
        "in front",
    ),
    Fault(
        "maximum-at-the-end",
        replace(("self.avgpool(x), 1", "x.amax((2, 3), keepdim=True), 1")),
        "avgpool",
        "takes the maximum",
    ),
    Fault(
        "softmax-on-the-logits",
        replace(("return self.fc(x)", "return self.fc(x).softmax(1)")),
        "fc",
        "followed by a softmax",
    ),
    Fault("no-bias", replace(("(24, num_classes)", "(24, num_classes, bias=False)")), "fc"),
    Fault(
        "frozen-parameter",
        replace(("return ResNet(num_classes)", "return ResNet(num_classes).requires_grad_(False)")),
        "conv1",
    ),
    Fault(
        "not-a-number",
        replace(("self.relu(x + shortcut)", "self.relu(x + shortcut) / 0 * 0")),
        "layer1.0.act",
        "not finite",
    ),
    Fault(
        "raises",
        replace(("x = self.layer2(x)", "raise RuntimeError")),
        None,
        reason="RuntimeError: (shipped weights, input 2x3x32x32)",
    ),
    Fault(
        "block-that-is-not-called",
        replace(("x = self.layer1(x)", "x = self.layer1[0](x)")),
        "layer1.1.act",
        reason="nor of any other layer of layer1.1: is it called, once, and by its name?",
    ),
    Fault(
        "block-that-is-called-twice",
        replace(("x = self.layer1(x)", "x = self.layer1[1](self.layer1(x))")),
        "layer1.1.act",
        reason="nor of any other layer of layer1.1: is it called, once, and by its name?",
    ),
    Fault(
        "dropout",
        replace(("return self.fc(x)", "return self.fc(nn.functional.dropout(x, 0.5))")),
        "flatten",
        "is followed by dropout: some values are 0, the others 2 times theirs",
    ),
    Fault(
        "number-of-classes",
        replace(("nn.Linear(24, num_classes)", "nn.Linear(24, 10)")),
        "fc",
    ),
)

TORCH_SQUEEZING = (
    Fault(
        "subsampled-image",
        replace(("x = self.layer1(x)", "x = self.layer1(x[:, :, ::2, ::2])")),
        "act1",
        reason="act1, as layer1.0 receives it, has shape",
    ),
    Fault(
        "no-gates",
        replace(("return x * gates.sigmoid()", "return x")),
        "layer1.0.se.scale",
        "leaves out the gates",
    ),
    Fault(
        "no-activation-of-the-squeezed",
        replace(("self.relu(self.fc1(means))", "self.fc1(means)")),
        "layer1.0.se.act",
        "is missing",
    ),
    Fault(
        "maximum-of-the-means",
        replace(("x.mean((2, 3)", "x.amax((2, 3)")),
        "layer1.0.se.pool",
        "takes the maximum",
    ),
    Fault(
        "zeros-around-the-blur", replace((', mode="reflect"', "")), "layer2.0.aa", "pads with zeros"
    ),
    Fault(
        "stride-before-the-blur",
        replace(("(x, 2, 1), 2, self.stride)", "(x, 2, self.stride), 2, 1)")),
        "layer2.0.aa",
    ),
)

TORCH_CHANNELING = (
    Fault(
        "no-sigmoid",
        replace(("self.conv(means).sigmoid()", "self.conv(means)")),
        "layer1.0.se.gate",
        "is missing",
    ),
    Fault(
        "means-turned-round", replace(("unsqueeze(1)", "unsqueeze(1).flip(2)")), "layer1.0.se.pool"
    ),
    Fault(
        "max-pool",
        replace(("nn.AvgPool2d(stride)", "nn.MaxPool2d(stride)")),
        "layer2.0.aa",
        "takes the maximum",
    ),
)

TORCH_DILATING = (
    Fault(
        "no-dilation",
        replace(("padding=2, dilation=2", "padding=1")),
        "layer2.0.conv2",
        "its dilation is 1, not 2 (padding 1)",
    ),
    Fault(
        "dilation-too-early",
        replace(("BasicBlock2(8, 12, downsample", "BasicBlock2(8, 12, dilation=2, downsample")),
        "layer2.0.conv1",
        "its dilation is 2, not 1 (padding 2)",
    ),
    Fault(
        "edges-repeated",
        replace(("nn.ZeroPad2d", "nn.ReplicationPad2d")),
        "layer2.0.downsample.0",
    ),
)

TORCH_SAME = (
    Fault(
        "symmetric-padding",
        replace(
            ("-> SameConv2d:", "-> nn.Conv2d:"),
            ("return SameConv2d(", "return nn.Conv2d("),
            ("stride=stride, bias=False)", "stride=stride, padding=1, bias=False)"),
        ),
        "layer2.0.conv1",
        "its padding is 1, not (0, 0, 1, 1) (top, left, bottom, right): symmetric, not SAME",
    ),
    Fault(
        "more-at-the-top",
        replace(("height // 2, width // 2", "height - height // 2, width - width // 2")),
        "maxpool",
        "symmetric, not SAME",
    ),
)

KERAS = (
    Fault(
        "stride-on-the-1x1",
        replace(
            ("conv_bn(x, width, 1, conv", "conv_bn(x, width, 1, stride=stride, conv"),
            ("conv_bn(x, width, 3, stride=stride, conv", "conv_bn(x, width, 3, conv"),
        ),
        "layer2.0.conv1",
        "its stride is 2, not 1",
    ),
    Fault(
        "same-padding",
        replace(
            ("kernel_size > 1:", "kernel_size > 9:"),
            ("use_bias=False", "use_bias=False, padding='same'"),
        ),
        "conv1",
        "as SAME padding makes",
    ),
    Fault("epsilon", replace(("BN_EPSILON = 1e-05", "BN_EPSILON = 1.5e-05")), "bn1", "1.5e-05"),
    Fault(
        "no-inner-activation",
        replace(('        x = layers.ReLU(name=f"{name}_act1")(x)\n'[4:], "")),
        "layer1.0.act1",
        "is missing",
    ),
    Fault(
        "no-activation-behind-the-sum",
        replace(('return layers.ReLU(name=f"{name}_act")(x)', "return x")),
        "layer1.0.act",
    ),
    Fault(
        "clipped-activation",
        replace(('layers.ReLU(name=f"{name}_act2")', 'layers.ReLU(6.0, name=f"{name}_act2")')),
        "layer1.0.act2",
        "is ReLU6",
    ),
    Fault("average-pool", replace(("MaxPooling2D(3", "AveragePooling2D(3")), "maxpool", "averages"),
    Fault(
        "no-pool-padding", replace(("ZeroPadding2D(1, name", "ZeroPadding2D(0, name")), "maxpool"
    ),
    Fault("other-sum", replace(("layers.Add", "layers.Maximum")), "layer1.0.add"),
    Fault(
        "swapped-gamma-and-beta",
        replace(('("weight", "bias", "running_mean"', '("bias", "weight", "running_mean"')),
        "bn1",
        "gamma and beta are swapped",
    ),
    Fault(
        "transposed-kernel",
        replace(("transpose(2, 3, 1, 0)", "transpose(3, 2, 1, 0)")),
        "conv1",
        "its kernel is transposed",
    ),
    Fault(
        "maximum-at-the-end",
        replace(("GlobalAveragePooling2D", "GlobalMaxPooling2D")),
        "avgpool",
        "takes the maximum",
    ),
    Fault(
        "zero-channels-in-front",
        replace(("(0, filters - x.shape[-1])", "(filters - x.shape[-1], 0)")),
        "layer3.0.shortcut",
        "in front",
    ),
    Fault(
        "softmax-on-the-logits",
        replace(
            ("        num_classes,\n", '        num_classes,\n        activation="softmax",\n')
        ),
        "fc",
        "followed by a softmax",
    ),
    Fault(
        "number-of-classes",
        replace(("        num_classes,\n", "        10,\n")),
        "fc",
    ),
    Fault("default-image", replace(("= (32, 32, 3)", "= (32, 16, 3)")), "input"),
    Fault(
        "doubled-shortcut",
        replace(("([x, shortcut])", "([x, shortcut, shortcut])")),
        "layer1.0.add",
        "adds the shortcut twice",
    ),
)

KERAS_SQUEEZING = (
    Fault("tanh", replace(('"sigmoid"', '"tanh"')), "layer1.0.se.gate", "is tanh"),
    Fault(
        "sum-with-gates",
        replace(("layers.Multiply", "layers.Add")),
        "layer1.0.se.scale",
        "adds the gates",
    ),
    Fault(
        "symmetric-blur",
        replace(('mode="reflect"', 'mode="symmetric"')),
        "layer2.0.aa",
        "repeats its edges",
    ),
)

KERAS_CHANNELING = (
    Fault("causal", replace(('padding="same"', 'padding="causal"')), "layer1.0.se.conv"),
    Fault(
        "max-pool",
        replace(("layers.AveragePooling2D", "layers.MaxPooling2D")),
        "layer2.0.aa",
        "takes the maximum",
    ),
)

KERAS_DILATING = (
    Fault(
        "no-dilation",
        replace(("filters, 3, dilation=2, conv", "filters, 3, conv")),
        "layer2.0.conv2",
        "its dilation is 1, not 2 (padding 1)",
    ),
    Fault(
        "uncounted-padding",
        replace(
            ("ZeroPadding2D(((0, 1), (0, 1))", "ZeroPadding2D(((0, 0), (0, 0))"),
            ("(2, strides=1, ", '(2, strides=1, padding="same", '),
        ),
        "layer2.0.downsample.0",
        "does not count its padding",
    ),
)

KERAS_SAME = (
    Fault(
        "symmetric-padding",
        replace(
            (
                "x = conv_bn(x, filters, 3, stride",
                "y = layers.ZeroPadding2D(1)(x)\n    x = conv_bn(y, filters, 3, stride",
            ),
            (
                'filters, 3, stride=stride, conv=f"{name}_conv1"',
                'filters, 3, stride=stride, padding="valid", conv=f"{name}_conv1"',
            ),
        ),
        "layer2.0.conv1",
        "symmetric, not SAME",
    ),
    Fault(
        "same-padding-of-the-stem",
        replace(
            ('x = layers.ZeroPadding2D(3, name="conv1_pad")(image)', "x = image"),
            ('padding="valid", ', ""),
        ),
        "conv1",
        "as SAME padding makes",
    ),
)

FLAX = (
    Fault("number-of-classes", replace(("nnx.Linear(24, num_classes", "nnx.Linear(24, 10")), "fc"),
    Fault(
        "stride-on-the-1x1",
        replace(
            (
                "conv1x1(in_channels, width, rngs",
                "conv1x1(in_channels, width, strides=stride, rngs",
            ),
            ("conv3x3(width, width, strides=stride", "conv3x3(width, width"),
        ),
        "layer2.0.conv1",
        "its stride is 2, not 1",
    ),
    Fault(
        "same-padding",
        replace(("strides=2, padding=3", 'strides=2, padding="SAME"')),
        "conv1",
        "as SAME padding makes",
    ),
    Fault("epsilon", replace(("epsilon=1e-05", "epsilon=1.5e-05")), "bn1", "1.5e-05"),
    Fault(
        "no-inner-activation",
        replace(("nnx.relu(self.bn2(self.conv2(x)))", "self.bn2(self.conv2(x))")),
        "layer1.0.act2",
        "is missing",
    ),
    Fault(
        "other-activation",
        replace(("return nnx.relu(x + shortcut)", "return nnx.silu(x + shortcut)")),
        "layer1.0.act",
        "is SiLU",
    ),
    Fault(
        "no-activation-of-the-stem",
        replace(
            (
                "nnx.relu(self.bn1(self.conv1(x)))\n        x = max_pool",
                "self.bn1(self.conv1(x))\n        x = max_pool",
            )
        ),
        "act1",
        "is missing",
    ),
    Fault(
        "average-pool",
        replace(("nnx.max_pool", "nnx.avg_pool"), ("-jnp.inf", "0.0")),
        "maxpool",
        "averages",
    ),
    Fault("pool-padding", replace(("edge = (1, 1)", "edge = (0, 2)")), "maxpool", "its padding is"),
    Fault(
        "doubled-shortcut",
        replace(("x + shortcut", "x + 2 * shortcut")),
        "layer1.0.add",
        "adds the shortcut twice",
    ),
    Fault(
        "swapped-gamma-and-beta",
        replace(
            ('load(module.scale, f"{name}.weight")', 'load(module.scale, f"{name}.bias")'),
            (
                'load(module.bias, f"{name}.bias")\n                load(module.mean',
                'load(module.bias, f"{name}.weight")\n                load(module.mean',
            ),
        ),
        "bn1",
    ),
    Fault(
        "transposed-kernel",
        replace(("(2, 3, 1, 0)", "(3, 2, 1, 0)")),
        "conv1",
        "its kernel is transposed",
    ),
    Fault(
        "zero-channels-in-front",
        replace(("(0, self.extra_channels)", "(self.extra_channels, 0)")),
        "layer3.0.shortcut",
        "in front",
    ),
    Fault(
        "maximum-at-the-end",
        replace(("x.mean(axis=(1, 2))", "x.max(axis=(1, 2))")),
        "avgpool",
        "takes the maximum",
    ),
    Fault(
        "softmax-on-the-logits",
        replace(
            (
                "return self.fc(x.mean(axis=(1, 2)))",
                "return nnx.softmax(self.fc(x.mean(axis=(1, 2))))",
            )
        ),
        "fc",
        "followed by a softmax",
    ),
)


FLAX_SQUEEZING = (
    Fault(
        "no-activation-of-the-squeezed",
        replace(("nnx.relu(self.fc1(means))", "self.fc1(means)")),
        "layer1.0.se.act",
        "is missing",
    ),
    Fault(
        "hard-sigmoid",
        replace(("nnx.sigmoid(gates)", "nnx.hard_sigmoid(gates)")),
        "layer1.0.se.gate",
        "is a hard sigmoid",
    ),
    Fault(
        "edges-repeated",
        replace(('mode="reflect"', 'mode="edge"')),
        "layer2.0.aa",
        "repeats its edges",
    ),
)

FLAX_CHANNELING = (
    Fault(
        "no-sigmoid",
        replace(("nnx.sigmoid(self.conv(means))", "self.conv(means)")),
        "layer1.0.se.gate",
        "is missing",
    ),
    Fault(
        "max-pool", replace(("nnx.avg_pool", "nnx.max_pool")), "layer2.0.aa", "takes the maximum"
    ),
)


FLAX_DILATING = (
    Fault(
        "no-dilation",
        replace(("padding=2, kernel_dilation=2", "padding=1")),
        "layer2.0.conv2",
        "its dilation is 1, not 2 (padding 1)",
    ),
    Fault(
        "uncounted-padding",
        replace(
            (
                'window_shape=(2, 2), padding="SAME"',
                'window_shape=(2, 2), padding="SAME", count_include_pad=False',
            )
        ),
        "layer2.0.downsample.0",
        "does not count its padding",
    ),
)

FLAX_SAME = (
    Fault(
        "symmetric-padding",
        replace(('(3, 3), padding="SAME"', "(3, 3), padding=1")),
        "layer2.0.conv1",
        "symmetric, not SAME",
    ),
    Fault(
        "symmetric-pool",
        replace(('strides=(2, 2), padding="SAME"', "strides=(2, 2), padding=((1, 1), (1, 1))")),
        "maxpool",
        "symmetric, not SAME",
    ),
)


def node(model: Any, name: str) -> Any:
    return next(each for each in model.graph.node if each.name == name)


def attribute(model: Any, name: str, key: str) -> Any:
    return next(each for each in node(model, name).attribute if each.name == key)


def set_ints(name: str, key: str, *values: int) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        attribute(model, name, key).ints[:] = values

    return edit


def set_int(name: str, key: str, value: int) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        attribute(model, name, key).i = value

    return edit


def set_float(name: str, key: str, value: float) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        attribute(model, name, key).f = value

    return edit


def set_type(name: str, type_: str) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        node(model, name).op_type = type_

    return edit


def swap_inputs(name: str, first: int, second: int) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        inputs = node(model, name).input
        inputs[first], inputs[second] = inputs[second], inputs[first]

    return edit


def bypass(name: str) -> Callable[[Any], None]:
    """Removes a node of one input; those that read it read its input instead."""

    def edit(model: Any) -> None:
        removed = node(model, name)
        for each in model.graph.node:
            each.input[:] = [
                removed.input[0] if source == removed.output[0] else source for source in each.input
            ]
        model.graph.node.remove(removed)

    return edit


def shift_offset(name: str) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        entry = next(each for each in tensor.external_data if each.key == "offset")
        entry.value = str(int(entry.value) + 4)

    return edit


def pad_alike(name: str) -> Callable[[Any], None]:
    """One pixel on all sides, instead of what the image's size calls for."""

    def edit(model: Any) -> None:
        padded = node(model, name)
        padded.attribute.remove(attribute(model, name, "auto_pad"))
        padded.attribute.append(onnx.helper.make_attribute("pads", [1, 1, 1, 1]))

    return edit


def undilate(model: Any) -> None:
    set_ints("layer2.0.conv2", "dilations", 1, 1)(model)
    set_ints("layer2.0.conv2", "pads", 1, 1, 1, 1)(model)


def average_pool(model: Any) -> None:
    node(model, "maxpool").op_type = "AveragePool"


def pad_in_front(model: Any) -> None:
    tensor = next(each for each in model.graph.initializer if each.name.startswith("shortcut.pads"))
    pads = onnx.numpy_helper.to_array(tensor)[[0, 5, 2, 3, 4, 1, 6, 7]]
    tensor.CopyFrom(onnx.numpy_helper.from_array(pads.copy(), tensor.name))


ONNX = (
    Fault("stride", set_ints("layer2.0.conv2", "strides", 1, 1), "layer2.0.conv2"),
    Fault(
        "padding",
        set_ints("layer1.0.conv2", "pads", 0, 0, 2, 2),
        "layer1.0.conv2",
        "its padding is (0, 0, 2, 2) (top, left, bottom, right), not 1",
    ),
    Fault(
        "epsilon",
        set_float("layer2.0.bn3", "epsilon", 1.5e-5),
        "layer2.0.bn3",
        "epsilon is 1.5e-05",
    ),
    Fault("average-pool", average_pool, "maxpool", "averages"),
    Fault("pool-padding", set_ints("maxpool", "pads", 0, 0, 2, 2), "maxpool", "its padding is"),
    Fault("identity", set_type("layer1.1.act", "Identity"), "layer1.1.act", "is missing"),
    Fault("no-activation", bypass("layer1.0.act2"), "layer1.0.act2", "is missing"),
    Fault(
        "swapped-gamma-and-beta",
        swap_inputs("layer1.0.bn1", 1, 2),
        "layer1.0.bn1",
        "gamma and beta are swapped",
    ),
    Fault("product", set_type("layer1.0.add", "Mul"), "layer1.0.add", "multiplies"),
    Fault(
        "maximum-at-the-end",
        set_type("avgpool", "GlobalMaxPool"),
        "avgpool",
        "takes the maximum",
    ),
    Fault("zero-channels-in-front", pad_in_front, "layer3.0.shortcut", "in front"),
    Fault("shifted-offset", shift_offset("layer2.0.conv1.weight"), "layer2.0.conv1"),
)

ONNX_SQUEEZING = (
    Fault("tanh", set_type("layer1.0.se.gate", "Tanh"), "layer1.0.se.gate", "is tanh"),
    Fault("no-activation", bypass("layer2.0.se.act"), "layer2.0.se.act", "is missing"),
    Fault(
        "maximum-of-the-means",
        set_type("layer1.0.se.pool", "GlobalMaxPool"),
        "layer1.0.se.pool",
        "takes the maximum",
    ),
    Fault("max-pool", set_type("layer2.0.aa", "MaxPool"), "layer2.0.aa"),
)

ONNX_CHANNELING = (
    Fault("no-gates", bypass("layer1.0.se.gate"), "layer1.0.se.gate", "is missing"),
    Fault("shifted", set_ints("layer2.0.se.conv.rows", "pads", 2, 0), "layer2.0.se.conv"),
    Fault("max-pool", set_type("layer2.0.aa", "MaxPool"), "layer2.0.aa", "takes the maximum"),
)

ONNX_DILATING = (
    Fault("no-dilation", undilate, "layer2.0.conv2", "its dilation is 1, not 2 (padding 1)"),
    Fault(
        "uncounted-padding",
        set_int("layer2.0.downsample.0", "count_include_pad", 0),
        "layer2.0.downsample.0",
        "does not count its padding",
    ),
)

ONNX_SAME = (
    Fault("symmetric", pad_alike("layer2.0.conv1"), "layer2.0.conv1", "symmetric, not SAME"),
    Fault("symmetric-pool", pad_alike("maxpool"), "maxpool", "symmetric, not SAME"),
)
