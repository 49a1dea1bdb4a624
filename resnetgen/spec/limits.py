"""What a spec's numbers cannot be together, and how many blocks there may be: arithmetic alone."""

from collections.abc import Iterator

from resnetgen.spec import channels, strides
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.problems import Problem

MOST_BLOCKS = 100_000


def problems(spec: ModelSpec) -> Iterator[Problem]:
    """Shortcuts, groups and strides that cannot be, and more blocks than the limit."""
    if misfits := list(_pruned(spec)):
        yield from misfits
        return
    yield from _input_size(spec)
    yield from _zero_padding(spec)
    yield from _inner_widths(spec)
    yield from _groups(spec)
    yield from _attention(spec)
    yield from _output_stride(spec)
    yield from _pool_padding(spec)
    blocks = sum(stage.repeats for stage in spec.stages)
    if blocks > MOST_BLOCKS:
        longest = max(range(len(spec.stages)), key=lambda index: spec.stages[index].repeats)
        message = f"the network has {blocks:,} blocks"
        expected = f"at most {MOST_BLOCKS:,} blocks"
        yield Problem("too-many-blocks", ("stages", longest, "repeats"), message, expected)


def _pruned(spec: ModelSpec) -> Iterator[Problem]:
    for index, stage in enumerate(spec.stages):
        path = ("stages", index, "pruned")
        layers = len(stage.block.convolutions)
        if stage.pruned is None:
            continue
        if len(stage.pruned) != stage.repeats:
            message = f"`pruned` is of length {len(stage.pruned)}, not {stage.repeats}"
            yield Problem("misfit", path, message, "a list for each block")
        elif any(len(row) != layers for row in stage.pruned):
            message = f"`pruned` has a list of other than {layers} integers"
            yield Problem("misfit", path, message, "an integer for each convolution of a block")
        elif len({row[-1] for row in stage.pruned}) > 1:
            message = "`pruned` gives blocks of one stage different output channels"
            expected = "equal last integers, since shortcuts join all blocks of a stage"
            yield Problem("misfit", path, message, expected)


def _input_size(spec: ModelSpec) -> Iterator[Problem]:
    factor = strides.reached(spec)[-1]
    factor = min(factor, spec.output_stride or factor)
    smallest = min(spec.input.height, spec.input.width)
    if smallest < factor:
        pixels = "1 pixel" if smallest == 1 else f"{smallest} pixels"
        message = f"an input of {pixels} is too small: the strides multiply to {factor:,}"
        expected = f"at least {factor:,} pixels in height and width"
        yield Problem("small-input", ("input", "size"), message, expected)


def _inner_widths(spec: ModelSpec) -> Iterator[Problem]:
    """A width per group or a reduction that leaves a convolution without channels."""
    for index, stage in enumerate(spec.stages):
        if min(channels.unpruned_path(spec, stage)) > 0:
            continue
        inner = channels.inner_width(spec, stage)
        key = "reduce_first" if inner else "width_per_group"
        message = f"`{key}` leaves a convolution of `stages.{index}` without channels"
        yield Problem("no-channels", (key,), message, "a value that leaves at least one")
        return


def _groups(spec: ModelSpec) -> Iterator[Problem]:
    before = spec.stem.width
    for index, stage in enumerate(spec.stages):
        # The first block has another input than those behind it, which are equal if not pruned.
        blocks = range(stage.repeats if stage.pruned else min(stage.repeats, 2))
        paths = [channels.main_path(spec, stage, block=block) for block in blocks]
        inputs = [before, *(path[-1] for path in paths)]
        uneven = {
            channel
            for first, path in zip(inputs, paths, strict=False)
            for layer, *pair in zip(
                stage.block.convolutions, (first, *path[:-1]), path, strict=True
            )
            for channel in pair
            if channel % channels.groups(stage, layer.kernel)
        }
        if uneven:
            message = f"{stage.groups} groups cannot share the {min(uneven):,} channels of a"
            message += f" convolution in `stages.{index}`"
            expected = "a number that divides the channels of every convolution but the 1x1"
            shared = all(each.groups == stage.groups for each in spec.stages)
            path = ("groups",) if shared else ("stages", index, "groups")
            yield Problem("uneven-groups", path, message, expected)
            return
        before = inputs[-1]


def _attention(spec: ModelSpec) -> Iterator[Problem]:
    if spec.attention == "none" or spec.attention_at == "end":
        return
    for index, stage in enumerate(spec.stages):
        if len(stage.block.convolutions) == 1:
            message = f"the blocks of `stages.{index}` have one convolution, and so no middle"
            expected = "`attention_at: end`, or blocks of several convolutions"
            yield Problem("no-middle", ("attention_at",), message, expected)
            return


def _output_stride(spec: ModelSpec) -> Iterator[Problem]:
    reached = strides.reached(spec)
    if spec.output_stride is None or spec.output_stride in reached:
        return
    stem, *stages = (f"{stride:,}" for stride in reached)
    message = f"no stage ends at a stride of {spec.output_stride}: the stem ends at {stem},"
    message += f" the stages at {', '.join(stages)}"
    possible = " or ".join(map(str, strides.possible(spec)))
    expected = possible or "no `output_stride` in this network"
    yield Problem("unreached-stride", ("output_stride",), message, expected)


def _pool_padding(spec: ModelSpec) -> Iterator[Problem]:
    if spec.stem.pool == "max" and spec.anti_alias == "blur" and spec.stem.pool_padding == "ceil":
        message = "with `anti_alias: blur` the stem's max pool has no stride, and so no last window"
        message += " that reaches beyond the image: `pool_padding: ceil`"
        expected = "`pool_padding: symmetric`, `same` or `zeros`"
        yield Problem("no-last-window", ("anti_alias",), message, expected)


def _zero_padding(spec: ModelSpec) -> Iterator[Problem]:
    before = spec.stem.width
    for index, stage in enumerate(spec.stages):
        out = channels.out_channels(stage)
        if stage.shortcut == "zero_pad" and out < before:
            message = f"`zero_pad` cannot shrink {before:,} channels to {out:,}"
            expected = f"at least {before:,} output channels, or `shortcut: projection`"
            yield Problem("shrinking-shortcut", ("stages", index, "width"), message, expected)
        before = out
