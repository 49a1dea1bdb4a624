"""What goes wrong in training alone: inference computes the same with each of these."""

from mutations.kind import Kind
from mutations.patches import (
    flax_call,
    flax_layer,
    keras_call,
    keras_layer,
    torch_call,
    torch_layer,
)
from mutations.selections import batch_norms, convolutions, first_sum

_DETACHED = "passes no gradient back to"

KINDS = (
    Kind(
        "momentum",
        batch_norms,
        "momentum is 0.25 instead of",
        torch=torch_layer("layer.momentum = 0.25"),
        keras=keras_layer("layer.momentum = 0.75"),
        flax=flax_layer("layer.momentum = 0.75"),
        level="train",
    ),
    Kind(
        "momentum-of-the-other-framework",
        batch_norms,
        "momentum is 0.9 instead of 0.1",
        torch=torch_layer("layer.momentum = 1 - layer.momentum"),
        keras=keras_layer("layer.momentum = 1 - layer.momentum"),
        flax=flax_layer("layer.momentum = 1 - layer.momentum"),
        level="train",
    ),
    Kind(
        "no-momentum",
        batch_norms,
        "does not move its running statistics",
        torch=torch_layer("layer.momentum = 0.0"),
        keras=keras_layer("layer.momentum = 1.0"),
        flax=flax_layer("layer.momentum = 1.0"),
        level="train",
    ),
    Kind(
        "running-statistics-in-training",
        batch_norms,
        "uses the running statistics, not the batch's",
        torch=torch_layer("layer.train = lambda mode=True: layer\nlayer.training = False"),
        keras=keras_call("call(x, training=False)"),
        flax=flax_call("call(layer, x, use_running_average=True)"),
        level="train",
    ),
    Kind(
        "detached-shortcut",
        first_sum,
        _DETACHED,
        keras=keras_call("x[0] + ops.stop_gradient(x[1])"),
        level="train",
    ),
    Kind(
        "detached-convolution",
        convolutions,
        _DETACHED,
        torch=torch_call("given(x.detach())"),
        keras=keras_call("given(ops.stop_gradient(x))"),
        flax=flax_call("given(jax.lax.stop_gradient(x))"),
        level="train",
    ),
    Kind(
        "detached-norm",
        batch_norms,
        _DETACHED,
        torch=torch_call("given(x.detach())"),
        keras=keras_call("given(ops.stop_gradient(x))"),
        flax=flax_call("given(jax.lax.stop_gradient(x))"),
        level="train",
    ),
    Kind(
        "halved-gradient",
        batch_norms,
        "passes 0.5 times the gradient back to",
        torch=torch_call("given(x / 2 + x.detach() / 2)"),
        keras=keras_call("given(x / 2 + ops.stop_gradient(x) / 2)"),
        flax=flax_call("given(x / 2 + jax.lax.stop_gradient(x) / 2)"),
        level="train",
    ),
    Kind(
        "detached-statistics",
        batch_norms,
        "takes its statistics for constants",
        torch=torch_call(
            "given(x) if not layer.training else nn.functional.batch_norm("
            "x, x.mean((0, 2, 3)).detach(), x.var((0, 2, 3), correction=0).detach(), "
            "layer.weight, layer.bias, False, 0, layer.eps) + 0 * given(x).detach()"
        ),
        level="train",
    ),
)
