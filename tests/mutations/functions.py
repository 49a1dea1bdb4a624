"""What goes wrong with what has no weights: activations, pools, filters, and the output."""

from dataclasses import replace

import numpy as np

from mutations import graphs
from mutations.kind import Edit, Kind
from mutations.patches import (
    flax_call,
    keras_call,
    keras_layer,
    text,
    torch_call,
    torch_layer,
)
from mutations.selections import (
    average_pools,
    blurs,
    classes,
    counting_pools,
    drops,
    first_norm_activations,
    first_norm_activations_but,
    first_sum_activation,
    head_means,
    last_linear,
    last_norm_activation_of_relus,
    linear,
    max_pools,
    max_pools_behind_relu,
    max_pools_without_zeros,
    softmaxes,
)
from resnetgen.ir.ops import Activation


def _behind_norm(torch: str, keras: str, flax: str, onnx: Edit | None = None) -> dict[str, Edit]:
    """Another function, or none, in the place of an activation behind a norm."""

    def applied(to: str) -> Edit:
        return text(
            (
                lambda op: rf"\b(self\.|nnx\.|){op.function}\(self\.{_norm(op)}\(",
                lambda op: f"{to}(self.{_norm(op)}(",
            )
        )

    made = {"torch": applied(torch), "keras": keras_call(keras), "flax": applied(flax)}
    return made if onnx is None else made | {"onnx": onnx}


def _norm(op: Activation) -> str:
    """What the source calls the norm in front of it."""
    return op.inputs[0].rpartition(".")[2]


def _behind_sum(torch: str, keras: str, flax: str, onnx: Edit | None = None) -> dict[str, Edit]:
    def applied(to: str) -> Edit:
        return text(
            (lambda op: rf"\b(self\.|nnx\.|){op.function}\(x \+ shortcut\)", f"{to}(x + shortcut)")
        )

    made = {"torch": applied(torch), "keras": keras_call(keras), "flax": applied(flax)}
    return made if onnx is None else made | {"onnx": onnx}


_GELU = "nn.functional.gelu"

KINDS = (
    Kind(
        "missing-activation",
        first_norm_activations,
        "is missing",
        **_behind_norm("", "x", "", graphs.replaced("Identity")),
    ),
    Kind(
        "leaky-activation",
        first_norm_activations,
        "is leaky, with a slope of 0.01",
        **_behind_norm(
            "nn.functional.leaky_relu",
            "ops.leaky_relu(x, 0.01)",
            "nnx.leaky_relu",
            graphs.replaced("LeakyRelu", alpha=0.01),
        ),
    ),
    Kind(
        "slope-at-zero",
        last_norm_activation_of_relus,
        "has the slope 1 at 0, not 0 | has the slope 0.5 at 0, not 0",
        **_behind_norm(
            "(lambda x: x.clamp(min=0))", "ops.maximum(x, 0.0)", "(lambda x: jnp.maximum(x, 0))"
        ),
        level="train",
    ),
    Kind(
        "elu",
        first_norm_activations,
        "is ELU",
        **_behind_norm("nn.functional.elu", "ops.elu(x)", "nnx.elu", graphs.replaced("Elu")),
    ),
    Kind(
        "tanh",
        first_norm_activations,
        "is tanh",
        **_behind_norm("torch.tanh", "ops.tanh(x)", "nnx.tanh", graphs.replaced("Tanh")),
    ),
    Kind(
        "softplus",
        first_norm_activations,
        "is softplus",
        **_behind_norm(
            "nn.functional.softplus", "ops.softplus(x)", "nnx.softplus", graphs.replaced("Softplus")
        ),
    ),
    Kind(
        "hard-swish",
        first_norm_activations,
        "is a hard swish",
        **_behind_norm(
            "nn.functional.hardswish",
            "ops.hard_silu(x)",
            "nnx.hard_swish",
            graphs.replaced("HardSwish"),
        ),
    ),
    Kind(
        "absolute-value",
        first_norm_activations,
        "is the absolute value",
        **_behind_norm("torch.abs", "ops.absolute(x)", "jax.numpy.abs", graphs.replaced("Abs")),
    ),
    Kind(
        "negative-part",
        first_norm_activations,
        "keeps the negative part",
        **_behind_norm(
            "(lambda value: value.clamp(max=0))",
            "ops.minimum(x, 0)",
            "(lambda value: jax.numpy.minimum(value, 0))",
        ),
    ),
    Kind(
        "approximate-gelu",
        first_norm_activations,
        "is GELU's approximation by a tanh",
        keras=keras_call(
            "x / 2 * (1 + ops.tanh((2 / 3.141592653589793) ** 0.5 * (x + 0.044715 * x**3)))"
        ),
        flax=text(
            (
                lambda op: rf"\b(nnx\.|){op.function}\(self\.{_norm(op)}\(",
                lambda op: f"nnx.gelu(self.{_norm(op)}(",
            )
        ),
    ),
    Kind(
        "exact-gelu",
        first_norm_activations_but("gelu"),
        "is GELU",
        **_behind_norm(_GELU, "x / 2 * (1 + ops.erf(x / 2**0.5))", "jax.nn.gelu"),
    ),
    Kind(
        "silu",
        first_norm_activations_but("silu"),
        "is SiLU",
        **_behind_norm("nn.functional.silu", "ops.silu(x)", "nnx.silu"),
    ),
    Kind(
        "no-activation-behind-the-sum",
        first_sum_activation,
        "is missing",
        **_behind_sum("", "x", "", graphs.replaced("Identity")),
    ),
    Kind(
        "averaging-pool",
        max_pools,
        "averages",
        torch=torch_call("nn.functional.avg_pool2d(x, 3, 2, 1)"),
        onnx=graphs.replaced("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    ),
    Kind(
        "smaller-pool",
        max_pools,
        "its kernel is 2, not 3",
        torch=torch_call("nn.functional.max_pool2d(x, 2, 2)"),
        keras=keras_call("ops.max_pool(x[:, 1:-1, 1:-1], 2, 2)"),
        flax=text((r"nnx\.max_pool\(x, \(3, 3\)", "nnx.max_pool(x[:, 1:-1, 1:-1], (2, 2)")),
        onnx=graphs.replaced("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    ),
    Kind(
        "shifted-pool",
        max_pools_behind_relu,
        "its padding is",
        keras=keras_layer("pad.padding = ((0, 2), (0, 2))"),
        flax=text((r"edge = \(1, 1\)", "edge = (0, 2)")),
        onnx=graphs.shifted_pool,
    ),
    Kind(
        "zeros-around-the-pool",
        max_pools_without_zeros,
        "pads with zeros, not with minus infinity",
        torch=torch_call("nn.functional.max_pool2d(nn.functional.pad(x, (1, 1, 1, 1)), 3, 2)"),
        flax=text(
            (
                r"(?:, constant_values=-jnp\.inf)?\)\n    return nnx\.max_pool",
                r")\n    return nnx.max_pool",
            )
        ),
        onnx=graphs.zero_padded_pool,
        becomes=lambda op: replace(op, pads_zeros=True),
    ),
    Kind(
        "no-pool",
        max_pools,
        "is missing",
        torch=torch_call("x.clone()"),
        keras=keras_call("x[:, 1:-1, 1:-1]"),
    ),
    Kind(
        "maximum-of-a-mean",
        average_pools,
        "takes the maximum, not the mean",
        torch=torch_call(lambda op: f"nn.functional.max_pool2d(x, {op.kernel}, ceil_mode=True)"),
        keras=keras_call(lambda op: f'ops.max_pool(x, {op.kernel}, padding="same")'),
    ),
    Kind(
        "every-other-pixel",
        average_pools,
        "takes every stride-th pixel",
        torch=torch_call("x[:, :, ::2, ::2]"),
        keras=keras_call("x[:, ::2, ::2]"),
        onnx=graphs.replaced("MaxPool", kernel_shape=[1, 1], strides=[2, 2]),
    ),
    Kind(
        "uncounted-padding",
        counting_pools,
        "does not count its padding",
        onnx=graphs.integer("count_include_pad", 0),
    ),
    Kind(
        "no-filter",
        blurs,
        "takes every stride-th pixel without a filter",
        torch=torch_call("x[:, :, ::2, ::2]"),
        flax=text((r"return nnx\.avg_pool\(nnx.*$", "return x[:, 1:-1:stride, 1:-1:stride]")),
    ),
    Kind(
        "zeros-around-the-blur",
        blurs,
        "pads with zeros",
        torch=text((r', mode="reflect"', "")),
        keras=text((r', mode="reflect"', "")),
        flax=text((r', mode="reflect"', "")),
        onnx=graphs.mode("constant"),
    ),
    Kind(
        "edges-around-the-blur",
        blurs,
        "repeats its edges",
        torch=text((r'mode="reflect"', 'mode="replicate"')),
        keras=text((r'mode="reflect"', 'mode="symmetric"')),
        flax=text((r'mode="reflect"', 'mode="edge"')),
        onnx=graphs.mode("edge"),
    ),
    Kind(
        "box-filter",
        blurs,
        "is a 3x3 mean",
        torch=torch_call("nn.functional.avg_pool2d(x, 3, 2, 1)"),
    ),
    Kind(
        "maximum-at-the-end",
        head_means,
        "takes the maximum, not the mean",
        torch=torch_call("x.amax((2, 3), keepdim=True)"),
        keras=keras_call("ops.max(x, (1, 2))"),
        flax=text((r"x\.mean\(axis=\(1, 2\)\)(?!\[)", "x.max(axis=(1, 2))")),
        onnx=graphs.type_("GlobalMaxPool"),
    ),
    Kind(
        "sum-at-the-end",
        head_means,
        "takes the sum, not the mean",
        torch=torch_call("x.sum((2, 3), keepdim=True)"),
        keras=keras_call("ops.sum(x, (1, 2))"),
        flax=text((r"x\.mean\(axis=\(1, 2\)\)(?!\[)", "x.sum(axis=(1, 2))")),
        onnx=graphs.summed,
    ),
    Kind(
        "center-at-the-end",
        head_means,
        "takes the first pixel",
        torch=torch_call("x[:, :, :1, :1]"),
        keras=keras_call("x[:, 0, 0]"),
        flax=text((r"x\.mean\(axis=\(1, 2\)\)(?!\[)", "x[:, 0, 0]")),
    ),
    Kind(
        "window-of-seven",
        head_means,
        "takes the mean of the first 7x7 pixels",
        torch=torch_call("x[:, :, :7, :7].mean((2, 3), keepdim=True)"),
        keras=keras_call("ops.mean(x[:, :7, :7], (1, 2))"),
        flax=text((r"x\.mean\(axis=\(1, 2\)\)(?!\[)", "x[:, :7, :7].mean(axis=(1, 2))")),
    ),
    Kind(
        "fixed-number-of-classes",
        last_linear,
        "for one image",
        torch=torch_call(lambda op: f"given(x)[:, : {classes(op)}]"),
        keras=text(
            (
                r"keras\.Model\(image, logits",
                lambda op: f"keras.Model(image, logits[:, :{classes(op)}]",
            )
        ),
        flax=flax_call(lambda op: f"given(x)[:, :{classes(op)}]"),
    ),
    Kind(
        "softmax-on-the-logits",
        linear,
        "is followed by a softmax",
        torch=torch_call("given(x).softmax(1)"),
        keras=keras_call("ops.softmax(given(x))"),
        flax=flax_call("nnx.softmax(given(x))"),
        onnx=graphs.then("Softmax", axis=-1),
    ),
    Kind(
        "softmax-without-a-name",
        last_linear,
        "is followed by a softmax",
        onnx=graphs.then("Softmax", axis=-1, is_named=False),
    ),
    Kind(
        "negative-without-a-name",
        last_linear,
        "is multiplied by -1",
        onnx=graphs.then("Neg", is_named=False),
    ),
    Kind(
        "sigmoid-on-the-logits",
        linear,
        "is followed by a sigmoid",
        torch=torch_call("given(x).sigmoid()"),
        keras=keras_call("ops.sigmoid(given(x))"),
        flax=flax_call("nnx.sigmoid(given(x))"),
        onnx=graphs.then("Sigmoid"),
    ),
    Kind(
        "held-in-double",
        linear,
        "is held in float64, not in float32",
        keras=text(('name="fc"', 'name="fc", dtype="float64"')),
    ),
    Kind(
        "tempered-logits",
        linear,
        "is multiplied by 0.5",
        torch=torch_call("given(x) / 2"),
        keras=keras_call("given(x) / 2"),
        flax=flax_call("given(x) / 2"),
        onnx=graphs.then("Div", np.float32(2)),
    ),
    Kind(
        "no-softmax",
        softmaxes,
        "is missing",
        torch=torch_call("x"),
        keras=keras_call("x"),
        flax=text((r"nnx\.softmax\(", "(")),
        onnx=graphs.replaced("Identity"),
    ),
    Kind(
        "logarithms",
        softmaxes,
        "gives logarithms",
        torch=torch_call("x.log_softmax(1)"),
        keras=keras_call("ops.log_softmax(x)"),
        flax=text((r"nnx\.softmax\(", "nnx.log_softmax(")),
        onnx=graphs.type_("LogSoftmax"),
    ),
    Kind(
        "sigmoids",
        softmaxes,
        "is a sigmoid",
        torch=torch_call("x.sigmoid()"),
        keras=keras_call("ops.sigmoid(x)"),
        flax=text((r"nnx\.softmax\(", "nnx.sigmoid(")),
        onnx=graphs.replaced("Sigmoid"),
    ),
    Kind(
        "dropping-in-inference",
        drops,
        "drops values, as in training",
        torch=torch_layer("layer.train = lambda mode=True: layer"),
        keras=keras_call("call(x, training=True)"),
    ),
    Kind(
        "scaled-by-what-is-kept",
        drops,
        "scales by what training keeps",
        torch=torch_call(lambda op: f"x * {1 - op.rate}"),
        keras=keras_call(lambda op: f"x * {1 - op.rate}"),
        flax=flax_call(lambda op: f"x * {1 - op.rate}"),
    ),
)
