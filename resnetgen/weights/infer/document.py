"""Writes what a trace tells as a document of the language, over one that says the rest."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product

from resnetgen.lower.attention import eca_kernel
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.model import AttentionAt, HeadPool, ModelSpec, SqueezeOf, StageSpec
from resnetgen.spec.nodes import Entry, MappingNode, SequenceNode, find
from resnetgen.spec.overlay import merge
from resnetgen.spec.source import parse
from resnetgen.weights.infer.biases import Biases, biases
from resnetgen.weights.infer.not_inferred import not_inferred
from resnetgen.weights.infer.places import Places, places
from resnetgen.weights.infer.pruning import Whole
from resnetgen.weights.infer.ratio import squeeze_ratio
from resnetgen.weights.infer.trace import BlockTrace, Convolution, Trace
from resnetgen.weights.infer.widths import StageWidth

READ = frozenset(
    {
        *("name", "license", "input", "classes", "stem", "conv_bias", "order", "norm"),
        *("block", "expansion", "groups", "width_per_group", "reduce_first", "stages"),
        *("shortcut", "downsample", "projection_kernel"),
        *("attention", "se_ratio", "se_of", "se_divisor", "head_pool"),
    }
)
"""The keys of a document that names and shapes decide, at least in part."""

_Stated = Mapping[str, object]


def document(whole: Whole, *, name: str, base: ModelSpec | None) -> MappingNode:
    """The document that a trace means; what it leaves open is as in `base`, if there is one."""
    trace, widths = whole.found, whole.widths
    place = places(trace, base)
    bias = biases(trace, base)
    stages = [
        {
            "name": f"conv{index + 2}_x" if base is None else base.stages[index].name,
            "repeats": len(stage),
            "width": width.width,
            "stride": place.stages[index].stride,
            "shortcut": place.stages[index].shortcut,
            "groups": whole.groups[index],
            **_block(
                stage[0], width, widths.expansion, None if base is None else base.stages[index]
            ),
            **({} if pruned is None else {"pruned": pruned}),
        }
        for index, (stage, width, pruned) in enumerate(
            zip(trace.stages, widths.stages, whole.pruned, strict=True)
        )
    ]
    stated: dict[str, object] = {
        "name": name,
        "input": {"channels": trace.stem[0].in_channels, "size": place.size},
        "classes": trace.classes,
        "stem": _stem(trace, place, bias),
        "width_per_group": widths.width_per_group,
        "reduce_first": widths.reduce_first,
        "expansion": widths.expansion,
        "conv_bias": bias.network,
        "stride_block": place.stride_block,
        **_norm(trace, base),
        **_projections(trace),
        **_attention(whole.restored, base),
        "head_pool": _head_pool(trace, base),
    }
    layer = _parsed({key: value for key, value in stated.items() if value is not None})
    rows = SequenceNode(layer.span, tuple(_parsed(stage) for stage in stages))
    if base is not None:
        inherited = parse(to_yaml(base), file=base.name)
        rows = _over(inherited, rows)
        kept = {key: entry for key, entry in inherited.entries.items() if key not in _REPLACED}
        layer = merge(MappingNode(inherited.span, kept), layer)
    entries = {**layer.entries, "stages": Entry(rows.span, rows)}
    return MappingNode(layer.span, entries)


_USUAL_GROUPS = 32
"""Wu and He, "Group Normalization", 2018, and the language's default."""
_REPLACED = ("groups", "width_per_group", "block", "shortcut", "stages")
"""What of a base goes where the trace has it no more, or has it in each stage."""


def _over(inherited: MappingNode, rows: SequenceNode) -> SequenceNode:
    """The stages with what else the inherited ones say, but how they were pruned."""
    merged: list[MappingNode] = []
    for index, row in enumerate(rows.items):
        before = find(inherited, ("stages", index))
        assert isinstance(before, MappingNode), f"no stage {index} to inherit from"
        assert isinstance(row, MappingNode), f"stage {index} is no mapping"
        kept = {key: entry for key, entry in before.entries.items() if key != "pruned"}
        merged.append(merge(MappingNode(before.span, kept), row))
    return SequenceNode(rows.span, tuple(merged))


def _parsed(stated: _Stated) -> MappingNode:
    # JSON is YAML.
    return parse(json.dumps(stated), file="inferred")


def _norm(trace: Trace, base: ModelSpec | None) -> _Stated:
    """The norm and its place; of groups the usual number, or what of it the channels allow."""
    norm = trace.norm
    groups = _USUAL_GROUPS if base is None else base.norm.groups
    return {
        "norm": norm.kind,
        "norm_groups": math.gcd(groups, norm.divisor) if norm.kind == "group" else None,
        "order": norm.order,
    }


def _stem(trace: Trace, place: Places, bias: Biases) -> _Stated:
    *hidden, last = (convolution.out_channels for convolution in trace.stem)
    return {
        # Without norms it would only say where an activation stands, which leaves no trace.
        **({} if trace.norm.kind == "none" else {"norm": trace.norm.behind_stem}),
        "bias": bias.stem,
        "hidden": hidden,
        "width": last,
        "kernel": trace.stem[0].kernel,
        "stride": place.stem_stride,
        "pool": place.pool,
    }


def _block(
    block: BlockTrace, width: StageWidth, expansion: int, inherited: StageSpec | None
) -> _Stated:
    """The stage's block; a list where the inherited one is a list of such kernels, which alone
    says where it strides."""
    convolutions = () if inherited is None else inherited.block.convolutions
    kernels = [convolution.kernel for convolution in block.main]
    alike = [convolution.kernel for convolution in convolutions] == kernels
    listed = alike and inherited is not None and inherited.block.name is None
    if isinstance(width.block, str) and not listed:
        return {"block": width.block}
    marks = (
        [convolution.strided for convolution in convolutions] if alike else [False] * len(kernels)
    )
    rows = zip(kernels, width.expansions(expansion), marks, strict=True)
    return {
        "block": [
            {"kernel": kernel, "expansion": multiple, "strided": strided}
            for kernel, multiple, strided in rows
        ]
    }


def _projections(trace: Trace) -> _Stated:
    """How projections stride, and their kernel; nothing where there are none."""
    blocks = list(chain.from_iterable(trace.stages))
    kinds = {block.downsample for block in blocks if block.downsample is not None}
    kernels = [block.projection.kernel for block in blocks if block.projection is not None]
    if not kinds:
        return {}
    if "avg" in kinds:
        return {"downsample": "avg"}
    return {"downsample": "conv", "projection_kernel": max(kernels)}


def pools_both(trace: Trace) -> bool:
    """Whether the last layer reads of each channel both its mean and its maximum."""
    return trace.features == 2 * trace.stages[-1][-1].main[-1].out_channels


def _head_pool(trace: Trace, base: ModelSpec | None) -> HeadPool:
    """How the head pools; where it does not read both, as in `base`, or means."""
    if pools_both(trace):
        return "catavgmax"
    return "avg" if base is None or base.head_pool == "catavgmax" else base.head_pool


def _attention(trace: Trace, base: ModelSpec | None) -> _Stated:
    attention = trace.stages[0][0].attention
    if attention == "none":
        return {"attention": attention}
    if attention == "eca":
        place = _attention_at(trace, base, squeezes_input=False)
        return {"attention": attention, "attention_at": place}
    blocks = list(chain.from_iterable(trace.stages))
    outputs = [block.main[-1].out_channels for block in blocks]
    inputs = [trace.stem[-1].out_channels, *outputs]
    for of, divisor in _squeeze_rules(blocks, base):
        whole = outputs if of == "output" else inputs
        pairs = zip(whole, (block.squeezed for block in blocks), strict=False)
        squeezes = [(channels, inside) for channels, inside in pairs if inside is not None]
        ratio = squeeze_ratio(squeezes, divisor=divisor)
        if ratio is not None:
            place = _attention_at(trace, base, squeezes_input=of == "input")
            said = {"attention": "se", "attention_at": place, "se_ratio": ratio}
            return {**said, "se_of": of, "se_divisor": divisor}
    message = "the channels inside squeeze-and-excitation follow no ratio: "
    message += ", ".join(
        f"{block.name} has {block.squeezed} of {channels}"
        for block, channels in zip(blocks, outputs, strict=True)
        if block.squeezed is not None
    )
    raise not_inferred(message, "one ratio of the channels of each block's output, or of its input")


def _squeeze_rules(
    blocks: Sequence[BlockTrace], base: ModelSpec | None
) -> Iterator[tuple[SqueezeOf, int]]:
    """What may be squeezed and the divisor of what is left: the known networks' first."""
    if base is not None and base.attention == "se":
        yield base.se_of, base.se_divisor
    yield "output", 8
    yield "input", 1
    common = math.gcd(*(block.squeezed for block in blocks if block.squeezed is not None))
    sides: tuple[SqueezeOf, ...] = ("output", "input")
    yield from product(sides, [each for each in range(1, common + 1) if common % each == 0])


def _attention_at(trace: Trace, base: ModelSpec | None, *, squeezes_input: bool) -> AttentionAt:
    """Where attention stands; what channels leave open is as in `base`, or as in RegNet."""
    possible = attention_places(trace)
    if len(possible) == 1:
        return possible[0]
    if base is not None:
        return base.attention_at
    return "middle" if squeezes_input else "end"


def attention_places(trace: Trace) -> tuple[AttentionAt, ...]:
    """Where attention may stand by the channels that it weighs, if there is any."""
    blocks = [block for block in chain.from_iterable(trace.stages) if block.attention != "none"]
    if not blocks:
        return ()
    ends = all(_weighs(block, block.main[-1:]) for block in blocks)
    middles = all(_weighs(block, block.main[-2:-1]) for block in blocks)
    places: dict[AttentionAt, bool] = {"end": ends, "middle": middles}
    return tuple(place for place, fits in places.items() if fits)


def _weighs(block: BlockTrace, behind: Sequence[Convolution]) -> bool:
    """Whether attention may stand behind this convolution; ECA leaves a kernel, which several
    numbers of channels have."""
    return any(
        block.weighed in (None, convolution.out_channels)
        and block.eca_kernel in (None, eca_kernel(convolution.out_channels))
        for convolution in behind
    )
