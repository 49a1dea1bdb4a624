"""The runs that a target has to survive: which weights, which image, at which scale, and whether
it is a step of training."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Activation, BatchNorm2d
from resnetgen.ir.rules import largest_dilation, shapes, total_stride, unfit_op
from resnetgen.verify.document import Weights
from resnetgen.verify.dtypes import Dtype
from resnetgen.verify.reference import Array
from resnetgen.verify.result import CaseFacts
from resnetgen.weights.initial import stream

_SMALLEST_SIZE = 16
"""In pixels: below this the small networks' windows would hardly lie inside the image."""
_SMALLEST_SINGLE_SCALE = 1e-30
"""Below this, float32 would hold an image with fewer digits, or not at all; so would bfloat16."""
_SMALLEST_HALF_SCALE = 1e-4
"""Below this float16 would."""
_ODD = 3
"""In pixels beyond an even size. Halved again and again, one pixel more would be odd each time, so
that no layer would see another parity than the image has."""
_FEWEST_NORMALIZED = 8
"""How many values of each channel a batch norm has to see in training, at the least: of fewer, what
is normalized is mostly signs."""
_SMALLEST_BATCH = 2
_OTHER_SCALES = (1e-3, 1e3)


@dataclass(frozen=True, slots=True)
class Case:
    """One run: NCHW `image` is already multiplied by `scale`, and holds float32 values where their
    range allows."""

    weights: Weights
    scale: float
    image: Array
    labels: NDArray[np.int64] | None = None
    """Each image's class, where the run is a step of training."""

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The dtypes in whose range the image lies with all its digits, in the order of runs.

        A step of training has float64 alone: in another, some value among thousands is rounded to
        the other side of a ReLU's kink, and gradients then differ by far more than by rounding.
        """
        if self.labels is not None or self.scale < _SMALLEST_SINGLE_SCALE:
            return ("float64",)
        if self.scale < _SMALLEST_HALF_SCALE:
            return ("float32", "float64", "bfloat16")
        return ("float32", "float64", "float16", "bfloat16")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.image.shape[2], self.image.shape[3])

    @property
    def facts(self) -> CaseFacts:
        """What a verdict says of it."""
        return CaseFacts(self.weights, self.shape, self.scale, training=self.labels is not None)

    def times(self, factor: float) -> "Case":
        """The case on its image times `factor`."""
        scale, image = self.scale * factor, self.image * factor
        if scale >= _SMALLEST_SINGLE_SCALE:
            image = image.astype(np.float32).astype(np.float64)
        return replace(self, scale=scale, image=image)

    def __str__(self) -> str:
        return str(self.facts)


@dataclass(frozen=True, slots=True)
class KnownCase:
    """A case, the reference's values at the network's boundaries, and how rounding grows up to
    each."""

    case: Case
    values: Mapping[str, Array]
    growths: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A case that is not run."""

    case: Case
    reason: str


def drawn_cases(network: Network, *, seed: int) -> tuple[Case, ...]:
    """Even, odd and wide images in batches of two and one, then a high one without negative
    pixels, as those are that nobody has normalized, at a small and at a large scale.

    Where the network's shortcuts take no such size, it is the next that they take. The first
    case's image is the one that the drawn weights are made for.
    """
    even = _base_size(network)
    odd = _fitting(network, even + _ODD, _square)
    # The last stage is wider than a window of 7 pixels.
    least = max(even + even // 2, 9 * total_stride(network)) + 1
    wide = _fitting(network, least, lambda width: (even, width))
    high = _fitting(network, even + 2 * _ODD, lambda height: (height, even))
    pair = _image(network, seed, "even", shape=(2, even, even))
    pixels = Case("drawn", 1.0, np.abs(_image(network, seed, "high", shape=(1, high, even))))
    return (
        Case("drawn", 1.0, pair),
        Case("drawn", 1.0, _image(network, seed, "odd", shape=(1, odd, odd))),
        Case("drawn", 1.0, _image(network, seed, "wide", shape=(1, even, wide))),
        *map(pixels.times, _OTHER_SCALES),
    )


def training_cases(network: Network, *, seed: int) -> tuple[Case, ...]:
    """Steps of training, on a batch in which every batch norm sees 8 values per channel or more,
    and on the same batch at a small scale, if that may be with `silent` weights, and a large one.

    The image has at least one pixel everywhere, so a batch of 8 always does; most need 2.
    """
    size = _base_size(network)
    known = shapes(network, (size, size))
    pixels = [math.prod(known[op.name][1:]) for op in network.ops if isinstance(op, BatchNorm2d)]
    fewest = min(pixels, default=_FEWEST_NORMALIZED)
    batch = max(_SMALLEST_BATCH, -(-_FEWEST_NORMALIZED // fewest))
    image = _image(network, seed, "training", shape=(batch, size, size))
    labels = stream(seed, "labels").integers(network.classes, size=batch)
    step = Case("drawn", 1.0, image, labels)
    small, large = map(step.times, _OTHER_SCALES)
    return (step, replace(small, weights="silent") if silences(network) else small, large)


def silences(network: Network) -> bool:
    """Whether `silent` weights leave each gradient one value.

    Behind another activation than a ReLU, a max pool would choose among equal numbers, as each
    framework does in its own way.
    """
    return all(op.function == "relu" for op in network.ops if isinstance(op, Activation))


def sizes_only(network: Network, *, seed: int) -> tuple[Case, ...]:
    """Images of the same sizes for the shipped weights, to look at shapes alone."""
    return tuple(
        Case("shipped", case.scale, case.image)
        for case in drawn_cases(network, seed=seed)
        if case.scale == 1.0
    )


def shipped_image(network: Network, *, seed: int) -> Array:
    """The image on which the shipped weights are run."""
    size = _base_size(network)
    return _image(network, seed, "even", shape=(2, size, size))


def _base_size(network: Network) -> int:
    """Even where that fits, and such that the last stage sees at least two by two pixels, and what
    a dilated kernel reads beside its middle lies inside."""
    least = 2 * total_stride(network) * largest_dilation(network)
    return _fitting(network, max(least, _SMALLEST_SIZE), _square)


def _fitting(network: Network, least: int, image: Callable[[int], tuple[int, int]]) -> int:
    """The least extent from this one on with which the image's shortcuts fit their branches.

    What fits does so again a total stride later, and the size that the spec states does.
    """
    for extent in range(least, least + total_stride(network)):
        if unfit_op(network, image(extent)) is None:
            return extent
    raise AssertionError(f"{network.name}: no image of {least} pixels or more fits")


def _square(extent: int) -> tuple[int, int]:
    return (extent, extent)


def _image(network: Network, seed: int, label: str, *, shape: tuple[int, int, int]) -> Array:
    batch, height, width = shape
    single: NDArray[np.float32] = stream(seed, f"input.{label}").standard_normal(
        (batch, network.input_channels, height, width), dtype=np.float32
    )
    return single.astype(np.float64)
