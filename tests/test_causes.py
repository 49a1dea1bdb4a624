"""Causes are found from numbers alone: each known mistake explains the value that it gives."""

from collections.abc import Callable

import numpy as np
import pytest

from resnetgen.ir.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool,
    GroupNorm,
    MaxPool2d,
    Op,
    Padding,
    Scale,
)
from resnetgen.ir.rules import parameters
from resnetgen.verify.causes import Explanation, Span, explain, explain_aftermath, explain_misread
from resnetgen.verify.mistakes import aftermaths
from resnetgen.verify.reference import Array, Tensors, activate, convolve, evaluate, normalize

CONV = Conv2d("conv", ("x",), 4, 4, 3, 1, 1, Padding.symmetric(1), 1, False, "he_fan_in")
GROUPED = Conv2d("conv", ("x",), 4, 4, 3, 1, 1, Padding.symmetric(1), 2, False, "he_fan_in")
NORM = BatchNorm2d("norm", ("x",), 4, 1e-5, 0.1, False)
GROUP_NORM = GroupNorm("norm", ("x",), 4, 2, 1e-5, False)
RELU = Activation("act", ("x",), "relu")
POOL = MaxPool2d("pool", ("x",), 3, 2, Padding.symmetric(1), pads_zeros=False)
MEAN = GlobalAvgPool("pool", ("x",))
ADD = Add("add", ("x", "y"))
SCALE = Scale("scale", ("x", "gates"))

_DRAW = np.random.default_rng(0)
VALUES = {
    "x": _DRAW.standard_normal((2, 4, 6, 6)),
    "y": _DRAW.standard_normal((2, 4, 6, 6)),
    "gates": _DRAW.uniform(0.5, 1.0, (2, 4, 1, 1)),
}


def tensors_of(op: Op) -> dict[str, Array]:
    """Drawn, and positive where they have to be."""
    own = {
        each.kind: np.random.default_rng(len(each.name)).uniform(0.5, 1.5, each.shape)
        * np.random.default_rng(each.shape[0]).choice((-1, 1), each.shape)
        for each in parameters(op)
    }
    return own | {kind: np.abs(own[kind]) for kind in own.keys() & {"running_var"}}


def explained(*ops: Op, seen: Array, around: tuple[Op, ...] = ()) -> Explanation | None:
    span = Span(ops, VALUES, lambda op, _: tensors_of(op), around or ops)
    return explain(span, seen, dtype="float64")


def convolved(image: Array, weight: Array, *, padding: int = 1, groups: int = 1) -> Array:
    return convolve(
        image, weight, stride=1, padding=Padding.symmetric(padding), dilation=1, groups=groups
    )


def normalized(**changed: Array | float) -> Array:
    own = tensors_of(NORM)
    given: dict[str, Array | float] = {
        "mean": own["running_mean"],
        "variance": own["running_var"],
        "gamma": own["weight"],
        "beta": own["bias"],
        "epsilon": NORM.epsilon,
    }
    with np.errstate(invalid="ignore"):
        return normalize(VALUES["x"], **(given | changed))  # type: ignore[arg-type]


def padded(mode: str) -> Array:
    edges: Array = np.pad(VALUES["x"], ((0, 0), (0, 0), (1, 1), (1, 1)), mode=mode)  # type: ignore[call-overload]
    return convolved(edges, tensors_of(CONV)["weight"], padding=0)


def half(value: Array) -> Array:
    return value.astype(np.float16).astype(np.float64)


Wrong = Callable[[Array, Tensors], Array]
"""The wrong value, of x and the op's tensors."""
MISTAKES: list[tuple[Op, str, Wrong]] = [
    (CONV, "pads with reflected edges, not with zeros", lambda x, own: padded("reflect")),
    (CONV, "pads with repeated edges, not with zeros", lambda x, own: padded("edge")),
    (CONV, "pads with the opposite edges, not with zeros", lambda x, own: padded("wrap")),
    (CONV, "its kernel is mirrored", lambda x, own: convolved(x, own["weight"][..., ::-1])),
    (CONV, "takes its channels in reverse", lambda x, own: convolved(x[:, ::-1], own["weight"])),
    (CONV, "takes its input mirrored", lambda x, own: convolved(x[..., ::-1], own["weight"])),
    (CONV, "takes its input upside down", lambda x, own: convolved(x[:, :, ::-1], own["weight"])),
    (
        CONV,
        "takes its input transposed",
        lambda x, own: convolved(x.swapaxes(2, 3), own["weight"]),
    ),
    (
        CONV,
        "takes its input times 2 and plus -1",
        lambda x, own: convolved(2 * x - 1, own["weight"]),
    ),
    (CONV, "gives its channels in reverse", lambda x, own: convolved(x, own["weight"][::-1])),
    (CONV, "is rounded to float16", lambda x, own: half(convolved(x, own["weight"]))),
    (
        GROUPED,
        "takes its groups' kernels in reverse",
        lambda x, own: convolved(x, own["weight"][[2, 3, 0, 1]], groups=2),
    ),
    (NORM, "has no epsilon", lambda x, own: normalized(epsilon=0.0)),
    (
        NORM,
        "mean and variance are swapped",
        lambda x, own: normalized(mean=own["running_var"], variance=own["running_mean"]),
    ),
    (
        NORM,
        "takes the mean for the variance",
        lambda x, own: normalized(variance=own["running_mean"]),
    ),
    (
        NORM,
        "has running statistics of 0 and 1",
        lambda x, own: normalized(mean=np.zeros(4), variance=np.ones(4)),
    ),
    (
        NORM,
        "adds epsilon behind the root",
        lambda x, own: normalized(
            variance=np.square(np.sqrt(own["running_var"]) + NORM.epsilon), epsilon=0.0
        ),
    ),
    (
        NORM,
        "normalizes each image by itself",
        lambda x, own: evaluate(
            GroupNorm("norm", ("x",), 4, 4, NORM.epsilon, False), (x,), tensors=own
        ),
    ),
    (
        GROUP_NORM,
        "epsilon is 0.001 instead of 1e-05",
        lambda x, own: evaluate(GroupNorm("norm", ("x",), 4, 2, 1e-3, False), (x,), tensors=own),
    ),
    (RELU, "is softplus", lambda x, own: np.log1p(np.exp(x))),
    (RELU, "is a hard swish", lambda x, own: x * np.clip(x + 3, 0, 6) / 6),
    (RELU, "is the absolute value", lambda x, own: np.abs(x)),
    (RELU, "keeps the negative part", lambda x, own: np.minimum(x, 0)),
    (
        POOL,
        "its kernel is 2, not 3; its padding is 0, not 1",
        lambda x, own: x.reshape(2, 4, 3, 2, 3, 2).max((3, 5)),
    ),
    (
        MEAN,
        "is followed by dropout: some values are 0, the others 2 times theirs",
        lambda x, own: 2 * x.mean((2, 3), keepdims=True) * (VALUES["gates"] > 0.75),
    ),
    (
        MEAN,
        "loses some of its values: they are 0",
        lambda x, own: x.mean((2, 3), keepdims=True) * (VALUES["gates"] > 0.75),
    ),
    (MEAN, "takes the first pixel, not the mean", lambda x, own: x[:, :, :1, :1]),
    (MEAN, "gives its channels in reverse", lambda x, own: x.mean((2, 3), keepdims=True)[:, ::-1]),
    (ADD, "averages instead of adding", lambda x, own: (x + VALUES["y"]) / 2),
    (ADD, "takes the larger of both", lambda x, own: np.maximum(x, VALUES["y"])),
    (ADD, "takes 0.25 times the main path", lambda x, own: 0.25 * x + VALUES["y"]),
    (SCALE, "divides by the gates", lambda x, own: x / VALUES["gates"]),
]


@pytest.mark.parametrize(("op", "cause", "wrong"), MISTAKES, ids=[each[1] for each in MISTAKES])
def test_a_mistake_is_known_by_its_value(op: Op, cause: str, wrong: Wrong) -> None:
    seen = wrong(VALUES["x"], tensors_of(op))
    assert explained(op, seen=seen) == Explanation(op.name, cause)


def test_numbers_below_a_types_range_are_not_rounded_to_it() -> None:
    """They have float16's digits, but it has no number with as many so close to 0."""
    right = VALUES["x"] * 2.0**-30
    seen = half(VALUES["x"]) * 2.0**-30
    assert not [each.cause for each in aftermaths(right, seen) if "rounded" in each.cause]


def test_tensors_of_another_layer_are_known() -> None:
    other = Conv2d("other", ("y",), 4, 4, 3, 1, 1, Padding.symmetric(1), 1, False, "he_fan_in")
    seen = convolved(VALUES["x"], tensors_of(other)["weight"])
    found = explained(CONV, seen=seen, around=(CONV, other))
    assert found == Explanation("conv", "computes with the tensors of other")


def test_an_activation_in_front_of_its_addition_is_known() -> None:
    act = Activation("act", ("add",), "silu")
    seen = activate("silu", VALUES["x"]) + VALUES["y"]
    found = explained(ADD, act, seen=seen)
    assert found == Explanation("act", "comes in front of the addition, not behind")


def test_what_is_not_finite_is_explained_without_a_warning() -> None:
    infinite = np.full((2, 3), np.inf)
    assert explain_aftermath(np.ones((2, 3)), infinite, dtype="float64")
    assert explain_misread("x", infinite, {"y": np.ones((2, 3))}, dtype="float64")


def test_what_nothing_explains_is_at_least_known_not_to_be_finite() -> None:
    seen = np.full_like(VALUES["x"], np.nan)
    assert explained(NORM, seen=seen) == Explanation("norm", "the output is not finite")
