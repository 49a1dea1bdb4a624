"""The resolved spec: from a checked document, to YAML that shows every default, and to its hash."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from resnetgen import digests
from resnetgen.spec import depth, idle
from resnetgen.spec.blocks import document_blocks
from resnetgen.spec.dialects import DIALECTS, fill_in
from resnetgen.spec.model import (
    BlockSpec,
    ConvolutionSpec,
    InputSpec,
    ModelSpec,
    StageSpec,
    StemSpec,
)
from resnetgen.spec.nodes import plain_scalar

if TYPE_CHECKING:
    from resnetgen.spec.schema import Document

_Scalar = bool | int | float | str
_Row = Mapping[str, str]
"""A flow mapping: keys and their values as YAML."""
_LATER_DEFAULTS: Mapping[str, _Scalar | None] = {
    "output_stride": None,
    "drop_path": 0.0,
    "block_dropout": 0.0,
    "head_pool": "avg",
    "dropout": 0.0,
    "conv_padding": "symmetric",
}
"""What is in no hash and no resolved spec, so that specs from before these keys keep theirs."""


def resolve(document: "Document") -> ModelSpec:
    """The spec that a document means; the rules must have found nothing wrong with it.

    A key that has no effect, one that is inherited for example, has its default there.
    """
    spec = _resolve(document)
    defaults = {key: type(document).model_fields[key].default for key in idle.keys(spec)}
    if all(getattr(document, key) == default for key, default in defaults.items()):
        return spec
    return _resolve(document.model_copy(update=defaults))


def to_yaml(spec: ModelSpec, *, stated: Collection[str] = ()) -> str:
    """The spec as a document with nothing left open; loading it gives an equal spec.

    `stated` are keys that it says also where specs do not say their defaults.
    """
    size = spec.input
    pixels = str(size.height) if size.height == size.width else _numbers((size.height, size.width))
    stem = {
        **({"hidden": _numbers(spec.stem.hidden)} if spec.stem.hidden else {}),
        "width": str(spec.stem.width),
        "kernel": str(spec.stem.kernel),
        "stride": str(spec.stem.stride),
        "bias": _scalar(spec.stem.bias),
        "norm": _scalar(spec.stem.norm),
        "pool": spec.stem.pool,
    }
    blocks = {stage.block for stage in spec.stages}
    shortcuts = {stage.shortcut for stage in spec.stages}
    groups = {stage.groups for stage in spec.stages}
    lines = [
        f"name: {_scalar(spec.name)}",
        *([] if spec.license is None else [f"license: {_scalar(spec.license)}"]),
        f"dialect: {spec.dialect}",
        f"input: {_flow({'channels': str(size.channels), 'size': pixels})}",
        f"classes: {spec.classes}",
        f"stem: {_flow(stem)}",
        *(_network_block(spec.stages[0].block) if len(blocks) == 1 else []),
        *(_expansion(blocks)),
        *([f"shortcut: {spec.stages[0].shortcut}"] if len(shortcuts) == 1 else []),
        f"order: {spec.order}",
        f"stride_on: {spec.stride_on}",
        f"stride_block: {spec.stride_block}",
        *(f"{key}: {_scalar(value)}" for key, value in _later(spec, stated).items()),
        *([f"groups: {spec.stages[0].groups}"] if len(groups) == 1 else []),
        *([f"width_per_group: {spec.width_per_group}"] if spec.width_per_group else []),
        f"reduce_first: {spec.reduce_first}",
        f"downsample: {spec.downsample}",
        f"projection_kernel: {spec.projection_kernel}",
        f"attention: {spec.attention}",
        f"attention_at: {spec.attention_at}",
        f"se_ratio: {_scalar(spec.se_ratio)}",
        f"se_of: {spec.se_of}",
        f"se_divisor: {spec.se_divisor}",
        f"anti_alias: {spec.anti_alias}",
        f"activation: {spec.activation}",
        f"norm: {spec.norm.kind}",
        f"norm_groups: {spec.norm.groups}",
        f"epsilon: {_scalar(spec.norm.epsilon)}",
        f"momentum: {_scalar(spec.norm.momentum)}",
        f"conv_bias: {_scalar(spec.convolution_bias)}",
        f"pool_padding: {spec.stem.pool_padding}",
        f"conv_init: {spec.init.convolution}",
        f"linear_init: {spec.init.linear}",
        f"zero_init_last: {_scalar(spec.init.zero_last_gamma)}",
        f"output: {spec.output}",
        "stages:",
    ]
    rows = [
        _stage_row(
            stage,
            with_block=len(blocks) > 1,
            with_shortcut=len(shortcuts) > 1,
            with_groups=len(groups) > 1,
        )
        for stage in spec.stages
    ]
    return "\n".join([*lines, *(f"  - {row}" for row in aligned(rows))]) + "\n"


def sha256(spec: ModelSpec) -> str:
    """The hash of all that a spec decides, however its document was written."""
    decided = {key: value for key, value in asdict(spec).items() if key not in _LATER_DEFAULTS}
    decided |= _later(spec)
    text = json.dumps(decided, sort_keys=True, separators=(",", ":"))
    return digests.sha256(text.encode("utf-8"))


def _later(spec: ModelSpec, stated: Collection[str] = ()) -> dict[str, _Scalar]:
    """What the spec has of the later keys besides their defaults, and of those that are `stated`
    or that its dialect would fill in otherwise."""
    conventions = DIALECTS[spec.dialect]
    return {
        key: getattr(spec, key)
        for key, default in _LATER_DEFAULTS.items()
        if key in stated or not getattr(spec, key) == default == getattr(conventions, key, default)
    }


def aligned(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Flow mappings of keys to values in YAML, with equal keys below one another."""
    widths: dict[str, int] = {}
    for row in rows:
        for key, value in row.items():
            widths[key] = max(len(value), widths.get(key, 0))
    lines: list[str] = []
    for row in rows:
        *before, last = row
        cells = [f"{key}: {row[key]},".ljust(len(key) + widths[key] + 3) for key in before]
        lines.append("{" + " ".join([*cells, f"{last}: {row[last]}"]) + "}")
    return lines


def _resolve(document: "Document") -> ModelSpec:
    conventions = fill_in(document)
    blocks = tuple(block for block in document_blocks(document) if block is not None)
    repeats = _repeats(document, blocks)
    size = document.input.size
    height, width = (size, size) if isinstance(size, int) else size
    stem = document.stem
    return ModelSpec(
        name=document.name,
        dialect=document.dialect,
        license=document.license,
        input=InputSpec(document.input.channels, height, width),
        classes=document.classes,
        stem=StemSpec(
            stem.hidden,
            stem.width,
            stem.kernel,
            stem.stride,
            bias=conventions.conv_bias if stem.bias is None else stem.bias,
            norm=document.order == "post" if stem.norm is None else stem.norm,
            pool=stem.pool,
            pool_padding=conventions.pool_padding,
        ),
        order=document.order,
        stride_on=conventions.stride_on,
        stride_block=conventions.stride_block,
        output_stride=document.output_stride,
        drop_path=document.drop_path,
        block_dropout=document.block_dropout,
        head_pool=document.head_pool,
        dropout=document.dropout,
        width_per_group=document.width_per_group,
        reduce_first=document.reduce_first,
        downsample=document.downsample,
        projection_kernel=document.projection_kernel,
        attention=document.attention,
        attention_at=document.attention_at,
        se_ratio=document.se_ratio,
        se_of=document.se_of,
        se_divisor=document.se_divisor,
        anti_alias=document.anti_alias,
        activation=document.activation,
        convolution_bias=conventions.conv_bias,
        conv_padding=conventions.conv_padding,
        norm=conventions.normalization(document.norm, document.norm_groups),
        init=conventions.init,
        output=conventions.output,
        stages=tuple(
            StageSpec(
                name=stage.name,
                repeats=count,
                width=stage.width,
                stride=stage.stride,
                block=block,
                shortcut=stage.shortcut or document.shortcut,
                groups=stage.groups or document.groups,
                pruned=stage.pruned,
            )
            for stage, block, count in zip(document.stages, blocks, repeats, strict=True)
        ),
    )


def _repeats(document: "Document", blocks: Sequence[BlockSpec]) -> tuple[int, ...]:
    stated = tuple(stage.repeats for stage in document.stages if stage.repeats is not None)
    if len(stated) == len(document.stages):
        return stated
    step = depth.family_step(blocks)
    solved = depth.solve(document.depth or 0, step=step) if step else None
    assert solved is not None, "rules let a depth pass that has no solution"
    return (solved,) * len(document.stages)


def _network_block(block: BlockSpec) -> list[str]:
    if block.name is not None:
        return [f"block: {block.name}"]
    return ["block:", *(f"  - {_flow(_convolution(item))}" for item in block.convolutions)]


def _expansion(blocks: Iterable[BlockSpec]) -> list[str]:
    """That of the bottlenecks, which all have the same."""
    found = {block.convolutions[-1].expansion for block in blocks if block.name == "bottleneck"}
    return [f"expansion: {expansion}" for expansion in found]


def _numbers(numbers: Iterable[int]) -> str:
    return f"[{', '.join(map(str, numbers))}]"


def _stage_row(
    stage: StageSpec, *, with_block: bool, with_shortcut: bool, with_groups: bool
) -> _Row:
    row = {
        "name": _scalar(stage.name),
        "repeats": str(stage.repeats),
        "width": str(stage.width),
        "stride": str(stage.stride),
    }
    if with_block:
        convolutions = ", ".join(_flow(_convolution(item)) for item in stage.block.convolutions)
        row["block"] = stage.block.name or f"[{convolutions}]"
    if with_shortcut:
        row["shortcut"] = stage.shortcut
    if with_groups:
        row["groups"] = str(stage.groups)
    if stage.pruned is not None:
        row["pruned"] = f"[{', '.join(map(_numbers, stage.pruned))}]"
    return row


def _convolution(convolution: ConvolutionSpec) -> _Row:
    row = {"kernel": str(convolution.kernel), "expansion": str(convolution.expansion)}
    # At most one may be marked, so the others are not marked false.
    return {**row, "strided": "true"} if convolution.strided else row


def _flow(row: _Row) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in row.items()) + "}"


def _scalar(value: _Scalar) -> str:
    """A value in YAML that reads back as itself."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = value[0].isalnum() and isinstance(plain_scalar(value), str)
    return value if plain else json.dumps(value)
