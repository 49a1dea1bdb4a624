"""How large a network may be, by arithmetic on its spec: nothing is built to find out."""

from collections.abc import Iterator
from dataclasses import dataclass

from resnetgen.spec.model import BlockSpec, ModelSpec, StageSpec
from resnetgen.spec.nodes import Path
from resnetgen.spec.problems import Problem

MOST_BLOCKS = 100_000
MOST_PARAMETERS = 10**11


@dataclass(frozen=True, slots=True)
class _Part:
    """A part's trainable parameters, and the key that decides most about them."""

    path: Path
    parameters: int


def problems(spec: ModelSpec) -> Iterator[Problem]:
    """Shortcuts that cannot be, and numbers beyond the limits."""
    yield from _zero_padding(spec)
    blocks = sum(stage.repeats for stage in spec.stages)
    if blocks > MOST_BLOCKS:
        longest = max(range(len(spec.stages)), key=lambda index: spec.stages[index].repeats)
        message = f"the network has {blocks:,} blocks"
        expected = f"at most {MOST_BLOCKS:,} blocks"
        yield Problem("too-many-blocks", ("stages", longest, "repeats"), message, expected)
    parts = tuple(_parts(spec))
    total = sum(part.parameters for part in parts)
    if total > MOST_PARAMETERS:
        largest = max(parts, key=lambda part: part.parameters)
        message = f"the network has {total:,} parameters"
        expected = f"at most {MOST_PARAMETERS:,} parameters"
        yield Problem("too-many-parameters", largest.path, message, expected)


def parameters(spec: ModelSpec) -> int:
    """The trainable parameters of the network that `spec` means."""
    return sum(part.parameters for part in _parts(spec))


def _zero_padding(spec: ModelSpec) -> Iterator[Problem]:
    channels = spec.stem.width
    for index, stage in enumerate(spec.stages):
        out = _out_channels(stage)
        if stage.shortcut == "zero_pad" and out < channels:
            message = f"`zero_pad` cannot shrink {channels:,} channels to {out:,}"
            expected = f"at least {channels:,} output channels, or `shortcut: projection`"
            yield Problem("shrinking-shortcut", ("stages", index, "width"), message, expected)
        channels = out


def _parts(spec: ModelSpec) -> Iterator[_Part]:
    bias, stem = spec.convolution_bias, spec.stem
    size = _convolution(spec.input.channels, stem.width, stem.kernel, bias=bias)
    yield _Part(("stem", "width"), size)
    channels = stem.width
    for index, stage in enumerate(spec.stages):
        out = _out_channels(stage)
        first = _block(stage, channels, first=True, bias=bias)
        others = (stage.repeats - 1) * _block(stage, out, first=False, bias=bias)
        yield _Part(("stages", index, "width"), first + others)
        channels = out
    yield _Part(("classes",), channels * spec.classes + spec.classes)


def _block(stage: StageSpec, in_channels: int, *, first: bool, bias: bool) -> int:
    total = _main_path(stage.block, in_channels, stage.width, bias=bias)
    out = _out_channels(stage)
    changes = in_channels != out or (first and stage.stride > 1)
    if stage.shortcut == "projection_all" or (stage.shortcut == "projection" and changes):
        total += _convolution(in_channels, out, 1, bias=bias)
    return total


def _main_path(block: BlockSpec, in_channels: int, width: int, *, bias: bool) -> int:
    total, channels = 0, in_channels
    for convolution in block.convolutions:
        out = width * convolution.expansion
        total += _convolution(channels, out, convolution.kernel, bias=bias)
        channels = out
    return total


def _convolution(in_channels: int, out_channels: int, kernel: int, *, bias: bool) -> int:
    """A convolution and the batch normalization behind it."""
    return out_channels * (in_channels * kernel**2 + bias + 2)


def _out_channels(stage: StageSpec) -> int:
    return stage.width * stage.block.convolutions[-1].expansion
