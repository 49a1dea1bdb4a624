"""What the fields of a document must be to one another before it means a network."""

from collections.abc import Iterator
from pathlib import PurePath

from resnetgen.diagnostics import quote
from resnetgen.spec import depth
from resnetgen.spec.blocks import document_blocks
from resnetgen.spec.limits import MOST_BLOCKS
from resnetgen.spec.model import BlockSpec
from resnetgen.spec.overlay import Repeats
from resnetgen.spec.problems import Problem
from resnetgen.spec.schema import Document

_OTHER_ROWS = frozenset({"stem", "conv1", "head"})
"""By these `show --block` finds what is no stage, and by `layer1` the first of the stages."""


def problems(document: Document, replaced: Repeats | None) -> Iterator[Problem]:
    """Everything that is wrong between the fields of a document.

    `replaced` are the repeats that it would have if it stated no depth.
    """
    yield from _stage_names(document)
    yield from _one_stride(document)
    yield from _epsilon(document)
    blocks = document_blocks(document)
    known = tuple(block for block in blocks if block is not None)
    if len(known) < len(blocks):
        yield from _missing_blocks(blocks)
    elif document.repeats is not None:
        yield _repeats_per_stage(len(document.repeats), len(document.stages))
    elif all(stage.repeats is None for stage in document.stages) and document.depth is not None:
        yield from _solved_depth(document.depth, known, replaced)
    else:
        yield from _stated_repeats(document, known)


def _stage_names(document: Document) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, stage in enumerate(document.stages):
        modules = {
            f"layer{number + 1}" for number in range(len(document.stages)) if number != index
        }
        if stage.name in _OTHER_ROWS | modules:
            message = f"`{stage.name}` is what another row of the table is called"
            yield Problem("same-name", ("stages", index, "name"), message, "a name of its own")
        if stage.name in seen:
            message = f"another stage has the name `{stage.name}`"
            yield Problem("same-name", ("stages", index, "name"), message, "a name of its own")
        seen.add(stage.name)


def _one_stride(document: Document) -> Iterator[Problem]:
    stages = [
        (("stages", index, "block"), stage.block) for index, stage in enumerate(document.stages)
    ]
    for path, block in [(("block",), document.block), *stages]:
        if block is None or isinstance(block, str):
            continue
        strided = [index for index, item in enumerate(block) if item.strided]
        for index in strided[1:]:
            message = "a block has one stride, and an earlier convolution has it"
            expected = "`strided: true` on one convolution at most"
            yield Problem("two-strides", (*path, index, "strided"), message, expected)


def _epsilon(document: Document) -> Iterator[Problem]:
    """An ONNX graph holds float32, which keeps every number of six digits, and few of more."""
    if document.epsilon is None:
        return
    held = f"{document.epsilon:.6g}"
    if float(held) != document.epsilon:
        message = f"`epsilon` is {document.epsilon!r}, which has more than six significant digits"
        expected = "a number of at most six significant digits, which every target keeps"
        yield Problem("too-fine", ("epsilon",), message, expected, f"write {held}")


def _missing_blocks(blocks: tuple[BlockSpec | None, ...]) -> Iterator[Problem]:
    expected = "`block: basic`, `block: bottleneck` or a list, for the network or in every stage"
    if not any(blocks):
        yield Problem("missing-key", (), "`block` is missing", expected)
        return
    for index, block in enumerate(blocks):
        if block is None:
            message = f"`block` is missing in `stages.{index}`, and the network has none"
            yield Problem("missing-key", ("stages", index), message, expected)


def _repeats_per_stage(repeats: int, stages: int) -> Problem:
    message = f"`repeats` has {_plural(repeats, 'number')} for {_plural(stages, 'stage')}"
    return Problem("misfit", ("repeats",), message, "a list with one integer for each stage")


def _solved_depth(
    wanted: int, blocks: tuple[BlockSpec, ...], replaced: Repeats | None
) -> Iterator[Problem]:
    step = depth.family_step(blocks)
    if step is None:
        message = f"`depth` alone does not say how often each of {_plural(len(blocks), 'stage')}"
        message += " repeats its blocks"
        if replaced is not None:
            file = PurePath(replaced.file).name
            message += f", and it replaces the repeats {list(replaced.counts)} of {quote(file)}"
        expected = "three stages of equal blocks; for others state `repeats` instead of `depth`"
        hint = None
        if replaced is not None and len(replaced.counts) == len(blocks):
            hint = _lengthened(wanted, blocks, replaced.counts)
        yield Problem("unsolvable-depth", ("depth",), message, expected, hint)
        return
    solved = depth.solve(wanted, step=step)
    if solved is None:
        message = f"no network of this family has depth {wanted:,}"
        expected = f"{step}n + 2, with n blocks in each of the three stages"
        hint = _nearest(wanted, step)
        yield Problem("unsolvable-depth", ("depth",), message, expected, hint)
    elif solved * depth.FAMILY_STAGES > MOST_BLOCKS:
        message = f"depth {wanted:,} takes {solved * depth.FAMILY_STAGES:,} blocks"
        expected = f"at most {MOST_BLOCKS:,} blocks"
        yield Problem("too-many-blocks", ("depth",), message, expected)


def _lengthened(wanted: int, blocks: tuple[BlockSpec, ...], repeats: tuple[int, ...]) -> str:
    """The repeats with more blocks in the longest stage, or fewer in whichever is, that are nearest
    to the depth."""
    counts = list(repeats)
    while (missing := wanted - depth.depth(counts, blocks)) < 0 and max(counts) > 1:
        counts[counts.index(max(counts))] -= 1
    longest = counts.index(max(counts))
    counts[longest] += max(0, round(missing / len(blocks[longest].convolutions)))
    return f"`repeats: {counts}` gives {depth.depth(counts, blocks):,}"


def _stated_repeats(document: Document, blocks: tuple[BlockSpec, ...]) -> Iterator[Problem]:
    missing = [index for index, stage in enumerate(document.stages) if stage.repeats is None]
    expected = "`repeats` in every stage, a list `repeats` for the network, or `depth`"
    for index in missing:
        message = f"`repeats` is missing in `stages.{index}`"
        yield Problem("missing-key", ("stages", index), message, expected)
    if missing or document.depth is None:
        return
    repeats = tuple(stage.repeats or 0 for stage in document.stages)
    given = depth.depth(repeats, blocks)
    if given != document.depth:
        step = depth.family_step(blocks)
        expected = f"`depth: {given}`, or repeats that give {document.depth}"
        hint = None if step is None else _family(document.depth, step)
        if document.regnet is not None:
            expected, hint = f"`depth: {given}`, or none: the rule of `regnet` gives it", None
        message = f"`depth` is {document.depth}, but the repeats {list(repeats)} give {given}"
        yield Problem("depth-mismatch", ("depth",), message, expected, hint)


def _family(wanted: int, step: int) -> str:
    solved = depth.solve(wanted, step=step)
    if solved is None:
        return _nearest(wanted, step)
    return f"`repeats: {[solved] * depth.FAMILY_STAGES}` gives {wanted}"


def _nearest(wanted: int, step: int) -> str:
    depths = depth.nearest_depths(wanted, step=step)
    verb = "depths are" if len(depths) > 1 else "depth is"
    return f"the nearest {verb} {' and '.join(f'{number:,}' for number in depths)}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
