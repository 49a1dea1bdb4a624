"""What goes wrong where weights are loaded: turned, mixed up, or left out."""

from mutations import graphs
from mutations.kind import Edit, Kind
from mutations.patches import loading, loading_exchanged
from mutations.selections import (
    batch_norms,
    channel_convolutions,
    grouped,
    like_the_next,
    linear,
    norms,
    spatial,
    square,
    stem,
    ungrouped,
)
from resnetgen.ir.ops import Conv2d

_KERNEL = 'own["weight"]'


def _groups_in_reverse(op: Conv2d) -> str:
    return (
        f"{_KERNEL}.reshape({op.groups}, -1, *{_KERNEL}.shape[1:])[::-1].reshape({_KERNEL}.shape)"
    )


def _swapped(first: str, second: str) -> dict[str, Edit]:
    return loading(**{first: f'own["{second}"]', second: f'own["{first}"]'})


KINDS = (
    Kind(
        "transposed-kernel",
        spatial,
        "its kernel is transposed",
        **loading(weight=f"{_KERNEL}.swapaxes(2, 3)"),
    ),
    Kind(
        "flipped-kernel",
        spatial,
        "its kernel is flipped",
        **loading(weight=f"{_KERNEL}[:, :, ::-1, ::-1]"),
    ),
    Kind(
        "mirrored-kernel",
        spatial,
        "its kernel is mirrored",
        **loading(weight=f"{_KERNEL}[:, :, :, ::-1]"),
    ),
    Kind(
        "swapped-channels",
        square,
        "input and output channels are swapped",
        **loading(weight=f"{_KERNEL}.swapaxes(0, 1)"),
    ),
    Kind(
        "reversed-filters",
        ungrouped,
        "gives its channels in reverse",
        **loading(weight=f"{_KERNEL}[::-1]"),
    ),
    Kind(
        "reversed-inputs",
        stem,
        "takes its channels in reverse",
        **loading(weight=f"{_KERNEL}[:, ::-1]"),
    ),
    Kind(
        "reversed-groups",
        grouped,
        "takes its groups' kernels in reverse",
        **loading(weight=_groups_in_reverse),
    ),
    Kind(
        "turned-row",
        channel_convolutions,
        "its kernel is flipped",
        **loading(weight=f"{_KERNEL}[:, :, ::-1]"),
    ),
    Kind(
        "other-layers-weights",
        like_the_next,
        "computes with the tensors of",
        **loading_exchanged(),
        onnx=graphs.exchanged,
    ),
    Kind(
        "no-linear-bias",
        linear,
        "has no bias",
        **loading(bias='0 * own["bias"]'),
    ),
    Kind(
        "reversed-classes",
        linear,
        "gives its channels in reverse",
        **loading(weight=f"{_KERNEL}[::-1]", bias='own["bias"][::-1]'),
    ),
    Kind(
        "swapped-gamma-and-beta",
        norms,
        "gamma and beta are swapped",
        **_swapped("weight", "bias"),
        onnx=graphs.swapped_gamma_and_beta,
    ),
    Kind(
        "swapped-mean-and-variance",
        batch_norms,
        "mean and variance are swapped",
        **_swapped("running_mean", "running_var"),
        onnx=graphs.swapped(3, 4),
    ),
    Kind(
        "mean-for-variance",
        batch_norms,
        "takes the mean for the variance",
        **loading(running_var='own["running_mean"]'),
    ),
    Kind("no-gamma", norms, "does not scale by gamma", **loading(weight='own["weight"] ** 0')),
    Kind("no-beta", norms, "does not add beta", **loading(bias='0 * own["bias"]')),
    Kind(
        "neither-gamma-nor-beta",
        norms,
        "has neither gamma nor beta",
        **loading(weight='own["weight"] ** 0', bias='0 * own["bias"]'),
    ),
    Kind(
        "no-mean",
        batch_norms,
        "does not subtract the mean",
        **loading(running_mean='0 * own["running_mean"]'),
    ),
    Kind(
        "unit-variance",
        batch_norms,
        "has running statistics of 0 and 1",
        **loading(running_mean='0 * own["running_mean"]', running_var='own["running_var"] ** 0'),
    ),
)
