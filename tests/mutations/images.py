"""What goes wrong with the image, before the first convolution or in it."""

import numpy as np

from mutations import graphs
from mutations.kind import Edit, Kind
from mutations.patches import flax_call, keras_call, torch_call
from mutations.selections import stem


def _image(torch: str, channels_last: str, onnx: Edit) -> dict[str, Edit]:
    """Reads the image in another way, and pads it as always."""
    return {
        "torch": torch_call(f"given({torch})"),
        "keras": keras_call(f"given({channels_last.replace('jnp', 'ops')})", of="pad or layer"),
        "flax": flax_call(f"given({channels_last})"),
        "onnx": onnx,
    }


KINDS = (
    Kind(
        "reversed-colors",
        stem,
        "takes its channels in reverse",
        **_image("x.flip(1)", "x[..., ::-1]", graphs.first("Gather", np.array([2, 1, 0]), axis=1)),
    ),
    Kind(
        "transposed-image",
        stem,
        "takes its input transposed",
        **_image(
            "x.swapaxes(2, 3)",
            "jnp.swapaxes(x, 1, 2)",
            graphs.first("Transpose", perm=[0, 1, 3, 2]),
        ),
    ),
    Kind(
        "mirrored-image",
        stem,
        "takes its input mirrored",
        **_image("x.flip(3)", "x[:, :, ::-1]", graphs.reversed_(3)),
    ),
    Kind(
        "upturned-image",
        stem,
        "takes its input upside down",
        **_image("x.flip(2)", "x[:, ::-1]", graphs.reversed_(2)),
    ),
    Kind(
        "scaled-image",
        stem,
        "takes its input times 0.003922",
        **_image("x / 255", "x / 255", graphs.first("Div", np.float32(255))),
    ),
    Kind(
        "normalized-if-it-is-not",
        stem,
        "takes its input times 2 and plus -1",
        torch=torch_call("given(2 * x - 1 if x.min() >= 0 else x)"),
        keras=keras_call("given(2 * x - 1 if ops.min(x) >= 0 else x)", of="pad or layer"),
        flax=flax_call("given(jnp.where(x.min() >= 0, 2 * x - 1, x))"),
    ),
    Kind(
        "normalized-image",
        stem,
        "takes its input times 2 and plus -1",
        **_image("2 * x - 1", "2 * x - 1", graphs.doubled_less_one),
    ),
)
