"""What goes wrong with additions and shortcuts, and with the gates of attention."""

import numpy as np

from mutations import graphs
from mutations.kind import Edit, Kind
from mutations.patches import keras_call, text
from mutations.selections import (
    channel_convolutions,
    channel_paddings,
    first_gate,
    first_gate_of_two_layers,
    first_scale,
    first_squeeze,
    first_sum,
    first_sum_activation_if_projected,
    squeezed_activation,
    subsamples,
)


def _sum(of: str, keras: str, onnx: Edit | None = None) -> dict[str, Edit]:
    """Something else in all blocks of what the main path and the shortcut come to."""
    in_text = text((r"\bx \+ shortcut\b", of))
    made = {"torch": in_text, "keras": keras_call(keras), "flax": in_text}
    return made if onnx is None else made | {"onnx": onnx}


def _gate(torch: str, keras: str, flax: str, onnx: Edit) -> dict[str, Edit]:
    return {
        "torch": text((r"^(.*)\.sigmoid\(\)", torch)),
        "keras": keras_call(keras),
        "flax": text((r"nnx\.sigmoid\(", flax)),
        "onnx": onnx,
    }


def _scale(of: str, keras: str, onnx: Edit | None = None) -> dict[str, Edit]:
    """Something else of a value and its gates, of which the text is `\\1`."""
    in_torch = text((r"\bx \* (gates\.sigmoid\(\)|gates.*$)", of))
    in_flax = text((r"\bx \* ((?:nnx\.sigmoid\(gates\)|gates).*$)", of))
    made = {"torch": in_torch, "keras": keras_call(keras), "flax": in_flax}
    return made if onnx is None else made | {"onnx": onnx}


KINDS = (
    Kind(
        "no-shortcut",
        first_sum,
        "leaves out the shortcut",
        **_sum("x", "x[0]", graphs.passes(0)),
    ),
    Kind(
        "no-main-path",
        first_sum,
        "leaves out the main path",
        **_sum("shortcut", "x[1]", graphs.passes(1)),
    ),
    Kind(
        "doubled-shortcut",
        first_sum,
        "adds the shortcut twice",
        **_sum("x + 2 * shortcut", "x[0] + 2 * x[1]"),
    ),
    Kind(
        "subtracted-shortcut",
        first_sum,
        "subtracts the shortcut",
        **_sum("x - shortcut", "x[0] - x[1]", graphs.type_("Sub")),
    ),
    Kind(
        "multiplied-shortcut",
        first_sum,
        "multiplies instead of adding",
        **_sum("x * shortcut", "x[0] * x[1]", graphs.type_("Mul")),
    ),
    Kind(
        "averaged-sum",
        first_sum,
        "averages instead of adding",
        **_sum("(x + shortcut) / 2", "(x[0] + x[1]) / 2", graphs.type_("Mean")),
    ),
    Kind(
        "larger-of-both",
        first_sum,
        "takes the larger of both",
        keras=keras_call("ops.maximum(x[0], x[1])"),
        flax=text((r"\bx \+ shortcut\b", "jax.numpy.maximum(x, shortcut)")),
        torch=text((r"\bx \+ shortcut\b", "torch.maximum(x, shortcut)")),
        onnx=graphs.type_("Max"),
    ),
    Kind(
        "scaled-main-path",
        first_sum,
        "takes 0.1 times the main path",
        **_sum("0.1 * x + shortcut", "0.1 * x[0] + x[1]"),
    ),
    Kind(
        "activated-main-path",
        first_sum,
        "comes behind the activation of the main path",
        torch=text((r"\bx \+ shortcut\b", "x.relu() + shortcut")),
        keras=keras_call("ops.relu(x[0]) + x[1]"),
        flax=text((r"\bx \+ shortcut\b", "nnx.relu(x) + shortcut")),
        onnx=graphs.first("Relu"),
    ),
    Kind(
        "zero-channels-in-front",
        channel_paddings,
        "in front, not behind",
        torch=text((r"0, 0, self\.extra_channels\)", "0, self.extra_channels, 0)")),
        keras=text((r"\(0, filters - x\.shape\[-1\]\)", "(filters - x.shape[-1], 0)")),
        flax=text((r"\(0, self\.extra_channels\)", "(self.extra_channels, 0)")),
        onnx=graphs.constant("shortcut.pads", lambda _, pads: pads[[0, 5, 2, 3, 4, 1, 6, 7]]),
    ),
    Kind(
        "zero-channels-on-both-sides",
        channel_paddings,
        "on both sides, not behind",
        torch=text((r"0, 0, self\.extra_channels\)", "0, *(self.extra_channels // 2,) * 2)")),
        keras=text((r"\(0, filters - x\.shape\[-1\]\)", "((filters - x.shape[-1]) // 2,) * 2")),
        flax=text((r"\(0, self\.extra_channels\)", "(self.extra_channels // 2,) * 2")),
        onnx=graphs.constant("shortcut.pads", lambda op, _: np.array([0, op.extra // 2, 0, 0] * 2)),
    ),
    Kind(
        "other-pixels",
        subsamples,
        "starts at pixel 1, not 0",
        torch=text((r":: self\.stride, :: self\.stride", "1 :: self.stride, 1 :: self.stride")),
        keras=keras_call("x[:, 1::2, 1::2]"),
        flax=text((r":: self\.stride, :: self\.stride", "1 :: self.stride, 1 :: self.stride")),
        onnx=graphs.constant("subsample.starts", lambda _, starts: starts + 1),
    ),
    Kind(
        "averaging-shortcut",
        subsamples,
        "averages over its stride",
        torch=text((r"x = x\[:, :, :: .*\]", "x = functional.avg_pool2d(x, 2, ceil_mode=True)")),
        keras=keras_call('ops.average_pool(x, 2, padding="same")'),
        flax=text(
            (
                r"x = x\[:, :: .*\]",
                'x = nnx.avg_pool(x, (2, 2), (2, 2), "SAME", count_include_pad=False)',
            )
        ),
        onnx=graphs.replaced("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    ),
    Kind(
        "no-sigmoid",
        first_gate,
        "is missing",
        **_gate(r"\1", "x", "(", graphs.type_("Identity")),
    ),
    Kind(
        "hard-sigmoid",
        first_gate,
        "is a hard sigmoid",
        **_gate(
            r"\1.mul(1 / 6).add(0.5).clamp(0, 1)",
            "ops.hard_sigmoid(x)",
            "nnx.hard_sigmoid(",
            graphs.replaced("HardSigmoid", alpha=1 / 6),
        ),
    ),
    Kind(
        "tanh-for-the-sigmoid",
        first_gate,
        "is tanh",
        **_gate(r"\1.tanh()", "ops.tanh(x)", "nnx.tanh(", graphs.type_("Tanh")),
    ),
    Kind(
        "softmax-for-the-sigmoid",
        first_gate_of_two_layers,
        "is a softmax",
        torch=text((r"\.sigmoid\(\)", ".softmax(1)")),
        keras=keras_call("ops.softmax(x)"),
        onnx=graphs.replaced("Softmax", axis=1),
    ),
    Kind(
        "no-gates",
        first_scale,
        "leaves out the gates",
        **_scale("x", "x[0]", graphs.passes(0)),
    ),
    Kind(
        "added-gates",
        first_scale,
        "adds the gates instead of multiplying",
        **_scale(r"x + \1", "x[0] + x[1]", graphs.type_("Add")),
    ),
    Kind(
        "divided-by-gates",
        first_scale,
        "divides by the gates",
        **_scale(r"x / \1", "x[0] / x[1]", graphs.type_("Div")),
    ),
    Kind(
        "gates-and-the-value",
        first_scale,
        "adds what it scales once more",
        **_scale(r"x + x * \1", "x[0] + x[0] * x[1]"),
    ),
    Kind(
        "maximum-of-the-squeezed",
        first_squeeze,
        "takes the maximum, not the mean",
        torch=text((r"x\.mean\(\(2, 3\)", "x.amax((2, 3)")),
        keras=keras_call("ops.max(x, (1, 2), keepdims=len(given(x).shape) == 4)"),
        flax=text((r"means = x\.mean\(", "means = x.max(")),
        onnx=graphs.type_("GlobalMaxPool"),
    ),
    Kind(
        "no-activation-of-the-squeezed",
        squeezed_activation,
        "is missing",
        torch=text((r"self\.relu\(self\.fc1\(means\)\)", "self.fc1(means)")),
        keras=keras_call("x"),
        flax=text((r"nnx\.relu\(self\.fc1\(means\)\)", "self.fc1(means)")),
        onnx=graphs.type_("Identity"),
    ),
    Kind(
        "shifted-row",
        channel_convolutions,
        "its channels are shifted by one",
        onnx=graphs.shifted_row,
    ),
    Kind(
        "activation-before-the-sum",
        first_sum_activation_if_projected,
        "comes in front of the addition",
        torch=text((r"self\.(\w+)\(x \+ shortcut\)", r"self.\1(x) + shortcut")),
        flax=text((r"\b((?:nnx\.)?\w+)\(x \+ shortcut\)", r"\1(x) + shortcut")),
    ),
)
