"""What goes wrong with what a file declares: where its data lie, what is trained, what is there."""

from mutations import graphs
from mutations.kind import Kind
from mutations.patches import flax_layer, flax_path, keras_layer, torch_layer
from mutations.selections import convolutions, last_name, like_the_last

KINDS = (
    Kind(
        "shifted-offset",
        convolutions,
        "has offset",
        onnx=graphs.external("weight", offset=lambda value: str(int(value) + 4)),
    ),
    Kind(
        "longer-data",
        convolutions,
        "has length",
        onnx=graphs.external("weight", length=lambda value: str(int(value) + 4)),
    ),
    Kind(
        "other-file",
        convolutions,
        "has location",
        onnx=graphs.external("weight", location=lambda value: f"other.{value}"),
    ),
    Kind(
        "frozen-parameter",
        convolutions,
        "is not trainable",
        torch=torch_layer("layer.requires_grad_(False)"),
        keras=keras_layer("layer.trainable = False"),
    ),
    Kind(
        "shared-layer",
        like_the_last,
        "has no",
        torch=torch_layer(
            lambda op: (
                f'first = model.get_submodule("{last_name(op)}")\n'
                f'model.set_submodule("{op.name}", first)'
            )
        ),
        flax=flax_layer(lambda op: f"{flax_path(op.name)} = {flax_path(last_name(op))}"),
    ),
)
