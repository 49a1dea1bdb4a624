"""Decides what a spec says of convolutions' biases, from which of them have one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product

from resnetgen.spec.model import Bias, ModelSpec
from resnetgen.weights.infer.trace import Convolution, Trace

_CHOICES: tuple[Bias, ...] = (False, True, "without_norm")


@dataclass(frozen=True, slots=True)
class Biases:
    """`conv_bias`, and the stem's own `bias`."""

    network: Bias
    stem: Bias


@dataclass(frozen=True, slots=True)
class _Seen:
    """A convolution: whether a norm stands right behind it, and whether it has a bias."""

    normalized: bool
    biased: bool


def biases(trace: Trace, base: ModelSpec | None) -> Biases:
    """The first choice that explains all biases: the base's, one for all, or two.

    Where none does, it is as the first convolutions are, and the proof names one that is not.
    """
    blocks, stem = list(_blocks(trace)), list(_stem(trace))
    for choice in _candidates(base):
        if _explains(choice.network, blocks) and _explains(choice.stem, stem):
            return choice
    return Biases(blocks[0].biased, stem[0].biased)


def _candidates(base: ModelSpec | None) -> Iterator[Biases]:
    if base is not None:
        yield Biases(base.convolution_bias, base.stem.bias)
    yield from (Biases(choice, choice) for choice in _CHOICES)
    yield from (Biases(*pair) for pair in product(_CHOICES, repeat=2))


def _explains(choice: Bias, seen: Sequence[_Seen]) -> bool:
    if choice == "without_norm":
        return all(each.biased != each.normalized for each in seen)
    return all(each.biased == choice for each in seen)


def _blocks(trace: Trace) -> Iterator[_Seen]:
    """In the order `pre` nothing stands behind a block's last convolution and its projection."""
    normalized, behind = trace.norm.kind != "none", trace.norm.order == "post"
    for block in chain.from_iterable(trace.stages):
        *before, last = block.main
        yield from (_Seen(normalized, each.bias) for each in before)
        ends = (last,) if block.projection is None else (last, block.projection)
        yield from (_Seen(normalized and behind, each.bias) for each in ends)


def _stem(trace: Trace) -> Iterator[_Seen]:
    normalized = trace.norm.kind != "none"
    *hidden, last = trace.stem
    pool: tuple[Convolution, ...] = () if trace.pool is None else (trace.pool,)
    yield from (_Seen(normalized, each.bias) for each in (*hidden, *pool))
    yield _Seen(normalized and trace.norm.behind_stem, last.bias)
