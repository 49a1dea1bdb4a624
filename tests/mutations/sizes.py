"""What goes wrong where Keras's model is built for images of one size, or of any, or is told that
it does not train."""

from mutations.kind import Kind
from mutations.patches import keras_call, keras_layer
from mutations.selections import batch_norms, first_norm_activations, symmetric

_IS_FIXED = "image.shape[1] is not None"

KINDS = (
    Kind(
        "fixed-size-pads-behind",
        symmetric,
        "its padding is",
        keras=keras_layer(
            f"if {_IS_FIXED}:\n"
            "    pad.padding = tuple((first - 1, last + 1) for first, last in pad.padding)"
        ),
    ),
    Kind(
        "fixed-size-is-tanh",
        first_norm_activations,
        "is tanh",
        keras=keras_call(f"ops.tanh(x) if {_IS_FIXED} else given(x)"),
    ),
    Kind(
        "any-size-is-tanh",
        first_norm_activations,
        "is tanh",
        keras=keras_call(f"given(x) if {_IS_FIXED} else ops.tanh(x)"),
    ),
    Kind(
        "stated-inference-is-halved",
        batch_norms,
        "is multiplied by 0.5",
        keras=keras_call('given(x) / (2 if options.get("training") is False else 1)'),
    ),
    Kind(
        "fixed-size-swaps-the-momentum",
        batch_norms,
        "momentum is 0.9 instead of 0.1",
        keras=keras_layer(f"if {_IS_FIXED}:\n    layer.momentum = 1 - layer.momentum"),
        level="train",
    ),
)
