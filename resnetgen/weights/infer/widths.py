"""Finds widths, blocks and what widens or narrows them, from the channels of their convolutions.

Several answers may give the same channels. The first is taken of: a named block with nothing but
its width; with `reduce_first`; with `width_per_group`; with both; all that with an expansion other
than a bottleneck's own; and at last a list of convolutions for each stage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from resnetgen.spec.blocks import BOTTLENECK_EXPANSION, block_spec
from resnetgen.spec.channels import BASE_WIDTH, widened
from resnetgen.spec.fields import LARGEST_EXPANSION
from resnetgen.spec.model import BlockName


@dataclass(frozen=True, slots=True)
class MainPath:
    """Kernel and output channels of each convolution in a stage's first block."""

    kernels: tuple[int, ...]
    channels: tuple[int, ...]

    @property
    def name(self) -> BlockName | None:
        """The named block that has these kernels."""
        match self.kernels:
            case (3, 3):
                return "basic"
            case (1, 3, 1):
                return "bottleneck"
            case _:
                return None


@dataclass(frozen=True, slots=True)
class StageWidth:
    """A stage's width and block: a name, or expansions for the kernels of a list."""

    width: int
    block: BlockName | tuple[int, ...]

    def expansions(self, bottleneck: int) -> tuple[int, ...]:
        """Of each convolution; `bottleneck` is that of the last one in a block so called."""
        if not isinstance(self.block, str):
            return self.block
        block = block_spec(self.block, stride_on="1x1", expansion=bottleneck)
        return tuple(convolution.expansion for convolution in block.convolutions)


@dataclass(frozen=True, slots=True)
class Widths:
    """What gives all stages their channels."""

    expansion: int
    """Of the bottlenecks."""
    reduce_first: int
    width_per_group: int | None
    stages: tuple[StageWidth, ...]


@dataclass(frozen=True, slots=True)
class _Knobs:
    """What is the same in all stages."""

    groups: int | None
    """None where stages have different ones."""
    expansion: int = BOTTLENECK_EXPANSION
    reduce_first: int = 1
    width_per_group: int | None = None

    def inner(self, width: int) -> int:
        """Channels of the convolutions before a block's last, in a stage of this width."""
        if self.width_per_group is None or self.groups is None:
            return width
        return widened(width, width_per_group=self.width_per_group, groups=self.groups)


def solve(paths: Sequence[MainPath], *, groups: int | None) -> Widths | None:
    """The first answer, or None where a stage's channels have no common width at all.

    `groups` are what all stages have; None where they differ.
    """
    for knobs in _candidates(paths, groups):
        stages = tuple(_named(path, knobs) or _listed(path, knobs) for path in paths)
        named = all(
            path.name is None or (stage is not None and isinstance(stage.block, str))
            for path, stage in zip(paths, stages, strict=True)
        )
        if named and (found := _widths(knobs, stages)):
            return found
    plain = _Knobs(groups)
    return _widths(plain, [_listed(path, plain) for path in paths])


def _widths(knobs: _Knobs, stages: Sequence[StageWidth | None]) -> Widths | None:
    known = tuple(stage for stage in stages if stage is not None)
    if len(known) < len(stages):
        return None
    return Widths(knobs.expansion, knobs.reduce_first, knobs.width_per_group, known)


def _candidates(paths: Sequence[MainPath], groups: int | None) -> Iterator[_Knobs]:
    others = (each for each in range(1, LARGEST_EXPANSION + 1) if each != BOTTLENECK_EXPANSION)
    bottlenecks = any(path.name == "bottleneck" for path in paths)
    reductions = list(_reductions(paths))
    for expansion in (BOTTLENECK_EXPANSION, *(others if bottlenecks else ())):
        for per_groups, reduction in product((False, True), reductions):
            if not per_groups:
                yield _Knobs(groups, expansion, reduction)
            elif (per_group := _width_per_group(paths, groups, expansion, reduction)) is not None:
                yield _Knobs(groups, expansion, reduction, per_group)


def _reductions(paths: Sequence[MainPath]) -> Iterator[int]:
    """1, and what divides each named block's second convolution's channels to its first's."""
    yield 1
    pairs = [path.channels[:2] for path in paths if path.name is not None]
    lowest = max((second // (first + 1) + 1 for first, second in pairs), default=2)
    highest = min((second // first for first, second in pairs), default=1)
    if max(lowest, 2) <= highest:
        yield max(lowest, 2)


def _width_per_group(
    paths: Sequence[MainPath], groups: int | None, expansion: int, reduction: int
) -> int | None:
    """The least that gives each named block its inner channels."""
    if groups is None:
        return None
    lowest, highest = 1, 2**16
    for path in paths:
        match path.name, path.channels:
            case "bottleneck", (_, inner, out):
                width = out // expansion
            case "basic", (inner, width) if reduction == 1:
                pass
            case _:
                continue
        if inner % groups or width == 0:
            return None
        share = inner // groups
        lowest = max(lowest, -(-BASE_WIDTH * share // width))
        highest = min(highest, -(-BASE_WIDTH * (share + 1) // width) - 1)
    return lowest if lowest <= highest else None


def _named(path: MainPath, knobs: _Knobs) -> StageWidth | None:
    """The named block, if with these knobs it has these channels."""
    if path.name is None:
        return None
    expansion = knobs.expansion if path.name == "bottleneck" else 1
    width, rest = divmod(path.channels[-1], expansion)
    inner = knobs.inner(width)
    first, *middle = path.channels[:-1]
    fits = first == inner // knobs.reduce_first and all(each == inner for each in middle)
    return StageWidth(width, path.name) if fits and not rest else None


def _listed(path: MainPath, knobs: _Knobs) -> StageWidth | None:
    """A list of convolutions with the least last expansion, and so the greatest width."""
    *before, last = path.channels
    for expansion in range(1, LARGEST_EXPANSION + 1):
        width, rest = divmod(last, expansion)
        inner = knobs.inner(width)
        if rest or inner == 0:
            continue
        found: list[int] = []
        for index, channels in enumerate(before):
            divisor = knobs.reduce_first if index == 0 else 1
            multiple = -(-channels * divisor // inner)
            if inner * multiple // divisor != channels or multiple > LARGEST_EXPANSION:
                break
            found.append(multiple)
        else:
            return StageWidth(width, (*found, expansion))
    return None
