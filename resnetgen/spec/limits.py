"""What a spec's numbers cannot be together, and how many blocks there may be: arithmetic alone."""

from collections.abc import Iterator

from resnetgen.spec import channels
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.problems import Problem

MOST_BLOCKS = 100_000


def problems(spec: ModelSpec) -> Iterator[Problem]:
    """Shortcuts and groups that cannot be, and more blocks than the limit."""
    yield from _zero_padding(spec)
    yield from _inner_widths(spec)
    yield from _groups(spec)
    blocks = sum(stage.repeats for stage in spec.stages)
    if blocks > MOST_BLOCKS:
        longest = max(range(len(spec.stages)), key=lambda index: spec.stages[index].repeats)
        message = f"the network has {blocks:,} blocks"
        expected = f"at most {MOST_BLOCKS:,} blocks"
        yield Problem("too-many-blocks", ("stages", longest, "repeats"), message, expected)


def _inner_widths(spec: ModelSpec) -> Iterator[Problem]:
    """A width per group or a reduction that leaves a convolution without channels."""
    for index, stage in enumerate(spec.stages):
        if min(channels.main_path(spec, stage)) > 0:
            continue
        inner = channels.inner_width(spec, stage)
        key = "reduce_first" if inner else "width_per_group"
        message = f"`{key}` leaves a convolution of `stages.{index}` without channels"
        yield Problem("no-channels", (key,), message, "a value that leaves at least one")
        return


def _groups(spec: ModelSpec) -> Iterator[Problem]:
    before = spec.stem.width
    for index, stage in enumerate(spec.stages):
        widths = channels.main_path(spec, stage)
        # The first block has another input than those behind it.
        inputs = [(before, *widths[:-1]), (widths[-1], *widths[:-1])]
        uneven = {
            channel
            for row in inputs[: stage.repeats]
            for layer, *pair in zip(stage.block.convolutions, row, widths, strict=True)
            for channel in pair
            if channel % channels.groups(spec, layer.kernel)
        }
        if uneven:
            message = f"{spec.groups} groups cannot share the {min(uneven):,} channels of a"
            message += f" convolution in `stages.{index}`"
            expected = "a number that divides the channels of every convolution but the 1x1"
            yield Problem("uneven-groups", ("groups",), message, expected)
            return
        before = widths[-1]


def _zero_padding(spec: ModelSpec) -> Iterator[Problem]:
    before = spec.stem.width
    for index, stage in enumerate(spec.stages):
        out = channels.out_channels(stage)
        if stage.shortcut == "zero_pad" and out < before:
            message = f"`zero_pad` cannot shrink {before:,} channels to {out:,}"
            expected = f"at least {before:,} output channels, or `shortcut: projection`"
            yield Problem("shrinking-shortcut", ("stages", index, "width"), message, expected)
        before = out
