"""What goes wrong with norms, other than their tensors."""

from mutations import graphs
from mutations.kind import Edit, Kind
from mutations.patches import (
    flax_call,
    flax_layer,
    keras_call,
    keras_layer,
    text,
    torch_call,
    torch_layer,
)
from mutations.selections import (
    batch_norms,
    batch_norms_of_torchvision,
    first_batch_norm,
    group_norms,
    norms,
    projection_norms,
)


def _epsilon(value: float) -> dict[str, Edit]:
    return {
        "torch": torch_layer(f"layer.eps = {value!r}"),
        "keras": keras_layer(f"layer.epsilon = {value!r}"),
        "flax": flax_layer(f"layer.epsilon = {value!r}"),
        "onnx": graphs.epsilon(value),
    }


_MISSING = {
    "torch": torch_call("x.clone()"),
    "keras": keras_call("x"),
    "flax": flax_call("x"),
    "onnx": graphs.replaced("Identity"),
}


def _groups(groups: int) -> dict[str, Edit]:
    return {
        "torch": torch_layer(f"layer.num_groups = {groups}"),
        "keras": keras_layer(f"layer.groups = {groups}"),
        "flax": flax_layer(
            lambda op: f"layer.num_groups, layer.group_size = {groups}, {op.channels // groups}"
        ),
    }


KINDS = (
    Kind("epsilon-of-keras", norms, "epsilon is 0.001 instead of", **_epsilon(1e-3)),
    Kind(
        "epsilon-of-applications",
        batch_norms_of_torchvision,
        "epsilon is 1.001e-05 instead of",
        **_epsilon(1.001e-5),
    ),
    Kind("missing-norm", norms, "is missing | has no", **_MISSING),
    Kind("projection-without-norm", projection_norms, "is missing | has no", **_MISSING),
    Kind("one-group", group_norms, "takes 1 groups, not 4", **_groups(1)),
    Kind("more-groups", group_norms, "takes 8 groups, not 4", **_groups(8)),
    Kind(
        "statistics-of-the-batch",
        batch_norms,
        "uses the batch's statistics, not the running ones",
        torch=torch_layer(
            "layer.train = lambda mode=True: layer\nlayer.training, layer.momentum = True, 0.0"
        ),
        keras=keras_call("call(x, training=True)"),
        flax=flax_call("call(layer, x, use_running_average=False)"),
    ),
    Kind(
        "training-unless-told",
        first_batch_norm,
        "uses the batch's statistics, not the running ones",
        keras=text((r"(layers\.BatchNormalization\([^()]*\))\(x\)", r"\1(x, training=True)")),
    ),
    Kind(
        "statistics-of-each-image",
        batch_norms,
        "normalizes each image by itself",
        torch=torch_call(
            "nn.functional.instance_norm(x, weight=layer.weight, bias=layer.bias, eps=layer.eps)"
        ),
    ),
    Kind(
        "epsilon-behind-the-root",
        batch_norms,
        "adds epsilon behind the root",
        torch=torch_call(
            "(x - layer.running_mean[:, None, None])"
            " / (layer.running_var[:, None, None].sqrt() + layer.eps)"
            " * layer.weight[:, None, None] + layer.bias[:, None, None]"
        ),
        keras=keras_call(
            "(x - layer.moving_mean) / (ops.sqrt(layer.moving_variance) + layer.epsilon)"
            " * layer.gamma + layer.beta"
        ),
        flax=flax_call(
            "(x - layer.mean[...]) / (jnp.sqrt(layer.var[...]) + layer.epsilon)"
            " * layer.scale[...] + layer.bias[...]"
        ),
    ),
    Kind(
        "divided-by-the-variance",
        batch_norms,
        "divides by the variance, not its root",
        torch=torch_call(
            "nn.functional.batch_norm(x, layer.running_mean, layer.running_var.square(),"
            " layer.weight, layer.bias, False, 0, layer.eps)"
        ),
    ),
    Kind(
        "no-epsilon",
        batch_norms,
        "has no epsilon",
        **_epsilon(0.0),
    ),
    Kind(
        "activation-behind-a-norm",
        projection_norms,
        "is followed by an activation (ReLU)",
        torch=torch_call("given(x).relu()"),
        keras=keras_call("ops.relu(given(x))"),
        flax=flax_call("nnx.relu(given(x))"),
        onnx=graphs.then("Relu"),
    ),
)
