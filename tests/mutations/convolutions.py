"""What goes wrong with where a convolution looks, and with how it computes."""

import numpy as np

from mutations import graphs
from mutations.kind import Edit, Kind
from mutations.patches import (
    flax_call,
    flax_layer,
    flax_path,
    keras_call,
    keras_layer,
    loading,
    torch_call,
    torch_layer,
)
from mutations.selections import (
    biased,
    convolutions,
    dilated,
    grouped,
    leading,
    next_name,
    strided,
    strided_spatial,
    symmetric,
    unbiased,
    unstrided,
    unstrided_spatial,
)
from resnetgen.ir.ops import Conv2d


def _shifted(by: int) -> dict[str, Edit]:
    """One pixel less in front and one more behind, or the other way round."""

    def sides(op: Conv2d) -> tuple[int, int]:
        return (op.padding.top - by, op.padding.top + by)

    return {
        "torch": torch_layer(
            lambda op: (
                "given, layer.padding = layer.forward, (0, 0)\n"
                f"layer.forward = lambda x: given(nn.functional.pad(x, {sides(op) * 2}))"
            )
        ),
        "keras": keras_layer(lambda op: f"pad.padding = ({sides(op)}, {sides(op)})"),
        "flax": flax_layer(lambda op: f"layer.padding = ({sides(op)}, {sides(op)})"),
        "onnx": graphs.ints(
            "pads", lambda op: (sides(op)[0], sides(op)[0], sides(op)[1], sides(op)[1])
        ),
    }


def _padded(torch: str, numpy: str) -> dict[str, Edit]:
    """Edges that are made from the image, not of zeros: PyTorch's word for it, and NumPy's."""
    return {
        "torch": torch_layer(f'layer.padding_mode = "{torch}"'),
        "onnx": graphs.padded(numpy),
    }


def _strides(stride: int) -> dict[str, Edit]:
    return {
        "torch": torch_layer(f"layer.stride = ({stride}, {stride})"),
        "keras": keras_layer(f"layer.strides = ({stride}, {stride})"),
        "flax": flax_layer(f"layer.strides = {stride}"),
        "onnx": graphs.ints("strides", lambda _: (stride, stride)),
    }


def _dilated(dilation: int) -> dict[str, Edit]:
    def pixels(op: Conv2d) -> int:
        return dilation * (op.kernel // 2)

    return {
        "torch": torch_layer(
            lambda op: (
                f"layer.dilation = ({dilation}, {dilation})\n"
                f"layer.padding = ({pixels(op)}, {pixels(op)})"
            )
        ),
        "keras": keras_layer(
            lambda op: (
                f"layer.dilation_rate = ({dilation}, {dilation})\n"
                f"pad.padding = (({pixels(op)},) * 2,) * 2"
            )
        ),
        "flax": flax_layer(
            lambda op: f"layer.kernel_dilation, layer.padding = {dilation}, {pixels(op)}"
        ),
        "onnx": graphs.both(
            graphs.ints("dilations", lambda _: (dilation, dilation)),
            graphs.ints("pads", lambda op: (pixels(op),) * 4),
        ),
    }


def _alternate(op: Conv2d) -> list[int]:
    """The channels of all groups in turn."""
    each = op.in_channels // op.groups
    return [group * each + place for place in range(each) for group in range(op.groups)]


def _rounded(dtype: str, onnx: int) -> dict[str, Edit]:
    """Casts what it gives, and back."""
    return {
        "torch": torch_call(f"given(x).to(torch.{dtype}).to(x.dtype)"),
        "keras": keras_call(f'ops.cast(ops.cast(given(x), "{dtype}"), x.dtype)'),
        "flax": flax_call(f"given(x).astype(jnp.{dtype}).astype(x.dtype)"),
        "onnx": graphs.rounded(onnx),
    }


KINDS = (
    Kind("padding-behind", symmetric, "its padding is", **_shifted(1)),
    Kind("padding-in-front", symmetric, "its padding is", **_shifted(-1)),
    Kind(
        "same-padding",
        strided_spatial,
        "as SAME padding makes",
        keras=keras_layer('pad.padding, layer.padding = ((0, 0), (0, 0)), "same"'),
        flax=flax_layer('layer.padding = "SAME"'),
        onnx=graphs.same_padding,
    ),
    Kind(
        "no-padding",
        symmetric,
        "its padding is 0",
        torch=torch_layer("layer.padding = (0, 0)"),
        keras=keras_layer("pad.padding = ((0, 0), (0, 0))"),
        flax=flax_layer("layer.padding = 0"),
        onnx=graphs.ints("pads", lambda _: (0, 0, 0, 0)),
    ),
    Kind(
        "reflected-padding",
        symmetric,
        "pads with reflected edges",
        **_padded("reflect", "reflect"),
        flax=flax_layer('layer.padding = "REFLECT"'),
    ),
    Kind(
        "wrapped-padding",
        symmetric,
        "pads with the opposite edges",
        **_padded("circular", "wrap"),
        flax=flax_layer('layer.padding = "CIRCULAR"'),
    ),
    Kind("repeated-padding", symmetric, "pads with repeated edges", **_padded("replicate", "edge")),
    Kind("lost-stride", strided, "its stride is 1, not 2", **_strides(1)),
    Kind("further-stride", unstrided, "its stride is 2, not 1", **_strides(2)),
    Kind(
        "exchanged-strides",
        leading,
        "its stride is 2, not 1",
        torch=torch_layer(
            lambda op: (
                f'layer.stride = (2, 2)\nmodel.get_submodule("{next_name(op)}").stride = (1, 1)'
            )
        ),
        keras=keras_layer(
            lambda op: (
                "layer.strides = (2, 2)\n"
                f'model.get_layer("{next_name(op).replace(".", "_")}").strides = (1, 1)'
            )
        ),
        flax=flax_layer(lambda op: f"layer.strides, {flax_path(next_name(op))}.strides = 2, 1"),
        onnx=graphs.exchanged_strides,
    ),
    Kind("dilated", unstrided_spatial, "its dilation is 2, not 1", **_dilated(2)),
    Kind("lost-dilation", dilated, "its dilation is 1, not 2", **_dilated(1)),
    Kind(
        "alternate-groups",
        grouped,
        "takes its groups' channels alternately",
        torch=torch_call(lambda op: f"given(x[:, {_alternate(op)}])"),
        keras=keras_call(lambda op: f"given(ops.take(x, {_alternate(op)}, axis=3))"),
        flax=flax_call(lambda op: f"given(x[..., jnp.array({_alternate(op)})])"),
    ),
    Kind("no-bias", biased, "has no bias", **loading(bias='0 * own["bias"]')),
    Kind(
        "further-bias",
        unbiased,
        "adds a bias that the spec does not have",
        torch=torch_call("given(x) + 0.1"),
        keras=keras_call("given(x) + 0.1"),
        flax=flax_call("given(x) + 0.1"),
        onnx=graphs.then("Add", np.float32(0.1)),
    ),
    Kind(
        "half-precision", convolutions, "is rounded to float16", **_rounded("float16", graphs.HALF)
    ),
    Kind(
        "brain-floats", convolutions, "is rounded to bfloat16", **_rounded("bfloat16", graphs.BRAIN)
    ),
    Kind(
        "single-precision",
        convolutions,
        "is rounded to float32",
        torch=torch_call("given(x).float().to(x.dtype)"),
        keras=keras_call('ops.cast(ops.cast(given(x), "float32"), x.dtype)'),
        flax=flax_call("given(x).astype(jnp.float32).astype(x.dtype)"),
    ),
)
