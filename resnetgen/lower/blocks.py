"""Lowers stages to blocks: a main path of convolutions, and a shortcut added to its end."""

from resnetgen.ir.network import Block, ShortcutKind, Stage
from resnetgen.ir.ops import Add, AvgPool2d, Dropout, DropPath, Op, PadChannels, Padding, Subsample
from resnetgen.lower.attention import lower_attention
from resnetgen.lower.parts import activation, convolution, normalize, normalize_and_activate
from resnetgen.lower.pools import anti_alias
from resnetgen.spec import channels, strides
from resnetgen.spec.model import ModelSpec, StageSpec
from resnetgen.spec.shortcuts import may_drop_paths
from resnetgen.spec.strides import Reach


def lower_stages(spec: ModelSpec, *, source: str, in_channels: int) -> tuple[Stage, ...]:
    """All stages in order, named `layer1`, `layer2`, ... as torchvision does."""
    stages: list[Stage] = []
    first = 0
    pairs = zip(spec.stages, strides.reaches(spec), strict=True)
    for number, (stage_spec, reach) in enumerate(pairs, start=1):
        stage = _lower_stage(
            spec,
            stage_spec,
            reach,
            name=f"layer{number}",
            first=first,
            source=source,
            in_channels=in_channels,
            is_activated=number == 1 and spec.stem.norm,
        )
        source, in_channels = stage.blocks[-1].ops[-1].name, stage.blocks[-1].out_channels
        first += stage_spec.repeats
        stages.append(stage)
    return tuple(stages)


def _lower_stage(
    spec: ModelSpec,
    stage: StageSpec,
    reach: Reach,
    *,
    name: str,
    first: int,
    source: str,
    in_channels: int,
    is_activated: bool,
) -> Stage:
    """The stage, whose first block is the network's so many-th, counted from 0.

    `is_activated` says whether its input is what the stem normalized.
    """
    blocks: list[Block] = []
    strided = 0 if spec.stride_block == "first" else stage.repeats - 1
    for index in range(stage.repeats):
        block = _lower_block(
            spec,
            stage,
            name=f"{name}.{index}",
            index=index,
            number=first + index,
            source=source,
            in_channels=in_channels,
            reach=_block_reach(reach, index - strided),
            activates=spec.order == "pre" and not (index == 0 and is_activated),
        )
        source, in_channels = block.ops[-1].name, block.out_channels
        blocks.append(block)
    return Stage(name, stage.name, tuple(blocks))


def _block_reach(reach: Reach, distance: int) -> Reach:
    """That of a block which stands so many behind the one with the stride, or before it."""
    if distance == 0:
        return reach
    dilation = reach.before if distance < 0 else reach.behind
    return Reach(1, dilation, dilation)


def _lower_block(
    spec: ModelSpec,
    stage: StageSpec,
    *,
    name: str,
    index: int,
    number: int,
    source: str,
    in_channels: int,
    reach: Reach,
    activates: bool,
) -> Block:
    """The block, which is the `index`-th of its stage and the `number`-th of all."""
    stride = reach.stride
    out_channels = channels.out_channels(stage)
    shortcut = _shortcut_kind(spec, stage, strides=stride != 1, widens=in_channels != out_channels)
    before: tuple[Op, ...] = ()
    if activates:
        before = normalize_and_activate(
            spec, norm=f"{name}.bn1", act=f"{name}.act1", source=source, channels=in_channels
        )
    entry = before[-1].name if before else source
    widths = channels.main_path(spec, stage, block=index)
    main = _main_path(
        spec,
        stage,
        widths,
        name=name,
        source=entry,
        in_channels=in_channels,
        reach=reach,
    )
    if shortcut != "none":
        main += _drop_path(spec, f"{name}.droppath", source=main[-1].name, number=number)
    match shortcut:
        case "none" | "identity":
            side: tuple[Op, ...] = ()
        case "projection":
            side = _projection(
                spec,
                name,
                source=entry,
                in_channels=in_channels,
                out_channels=out_channels,
                kernel=spec.projection_kernel if stage.stride != 1 else 1,
                reach=reach,
            )
        case "zero_pad" | "subsample":
            side = _zero_padding(
                name, source=source, extra=out_channels - in_channels, stride=stride
            )
    tail: list[Op] = []
    if shortcut != "none":
        other = side[-1].name if side else source
        tail.append(Add(f"{name}.add", (main[-1].name, other)))
    if spec.order == "post":
        tail.append(activation(spec, f"{name}.act", source=(tail or main)[-1].name))
    return Block(
        name=name,
        title=stage.block.name or "custom",
        shortcut=shortcut,
        in_channels=in_channels,
        width=channels.inner_width(spec, stage),
        stride=stride,
        preactivation=before,
        main=main,
        side=side,
        tail=tuple(tail),
    )


def _shortcut_kind(
    spec: ModelSpec, stage: StageSpec, *, strides: bool, widens: bool
) -> ShortcutKind:
    match stage.shortcut:
        case "none":
            return "none"
        case "projection_all":
            return "projection"
        case "projection" if strides and not widens and spec.stride_block == "last":
            return "subsample"
        case "zero_pad" if strides and not widens:
            return "subsample"
        case "projection" | "zero_pad":
            return stage.shortcut if strides or widens else "identity"


def _main_path(
    spec: ModelSpec,
    stage: StageSpec,
    widths: tuple[int, ...],
    *,
    name: str,
    source: str,
    in_channels: int,
    reach: Reach,
) -> tuple[Op, ...]:
    ops: list[Op] = []
    stride, dilation = reach.stride, reach.before
    last = len(stage.block.convolutions)
    # In a plain net the last gamma scales no branch, and zero would silence the whole network.
    zero_last_gamma = spec.init.zero_last_gamma and stage.shortcut != "none"
    unpruned = channels.unpruned_path(spec, stage)
    squeezed = in_channels if spec.se_of == "input" else unpruned[-1]
    pairs = zip(stage.block.convolutions, widths, strict=True)
    for number, (layer, width) in enumerate(pairs, start=1):
        if spec.order == "pre" and number > 1:
            ops += normalize_and_activate(
                spec,
                norm=f"{name}.bn{number}",
                act=f"{name}.act{number}",
                source=source,
                channels=in_channels,
                zero_gamma=zero_last_gamma and number == last,
            )
            source = ops[-1].name
        if number == last and spec.attention_at == "middle":
            gates = lower_attention(
                spec,
                name,
                source=source,
                channels=in_channels,
                unpruned=unpruned[number - 2],
                squeezed=squeezed,
            )
            ops += gates
            source = gates[-1].name if gates else source
        if number == last and spec.block_dropout > 0:
            ops.append(Dropout(f"{name}.dropout", (source,), spec.block_dropout))
            source = ops[-1].name
        conv = convolution(
            spec,
            f"{name}.conv{number}",
            source=source,
            in_channels=in_channels,
            out_channels=width,
            kernel=layer.kernel,
            stride=stride if layer.strided and spec.anti_alias == "none" else 1,
            dilation=dilation,
            groups=channels.groups(stage, layer.kernel),
            normalized=spec.order == "post" or number != last,
            padding=spec.conv_padding,
        )
        ops.append(conv)
        if spec.order == "post" and number != last:
            ops += normalize_and_activate(
                spec,
                norm=f"{name}.bn{number}",
                act=f"{name}.act{number}",
                source=conv.name,
                channels=width,
            )
        elif spec.order == "post":
            ops += normalize(
                spec,
                f"{name}.bn{number}",
                source=conv.name,
                channels=width,
                zero_gamma=zero_last_gamma,
            )
        if layer.strided:
            ops += anti_alias(
                spec,
                f"{name}.aa",
                source=ops[-1].name,
                stride=stride,
                dilates=reach.before != reach.behind,
            )
            dilation = reach.behind
        source, in_channels = ops[-1].name, width
    if spec.attention_at == "end":
        ops += lower_attention(
            spec,
            name,
            source=source,
            channels=in_channels,
            unpruned=unpruned[-1],
            squeezed=squeezed,
        )
    return tuple(ops)


def _drop_path(spec: ModelSpec, name: str, *, source: str, number: int) -> tuple[Op, ...]:
    """Stochastic depth at the end of a main path; nothing where the spec has none."""
    if spec.drop_path == 0 or not may_drop_paths(spec):
        return ()
    last = sum(stage.repeats for stage in spec.stages) - 1
    return (DropPath(name, (source,), spec.drop_path, index=number, last_index=last),)


def _projection(
    spec: ModelSpec,
    name: str,
    *,
    source: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    reach: Reach,
) -> tuple[Op, ...]:
    """Options B and C: a strided convolution and, in the order `post`, its norm.

    With `downsample: avg` an average pool strides in front of it, and it is `downsample.1` even in
    blocks without a stride, as in timm.
    """
    ops: list[Op] = []
    first, stride = 0, reach.stride
    if spec.downsample == "avg":
        first = 1
        pools = _average_pool(f"{name}.downsample.0", source=source, reach=reach)
        if pools:
            ops += pools
            source, stride = ops[-1].name, 1
        kernel = 1
    conv = convolution(
        spec,
        f"{name}.downsample.{first}",
        source=source,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel=kernel,
        stride=stride,
        dilation=reach.before,
        normalized=spec.order == "post",
        padding=spec.conv_padding,
    )
    ops.append(conv)
    if spec.order == "post":
        norm = f"{name}.downsample.{first + 1}"
        ops += normalize(spec, norm, source=conv.name, channels=out_channels)
    return tuple(ops)


def _average_pool(name: str, *, source: str, reach: Reach) -> tuple[Op, ...]:
    """The pool that strides; where what comes behind dilates instead, one without a stride."""
    if reach.stride != 1:
        # What is missing in the last window of an odd size is not counted.
        size, stride = reach.stride, reach.stride
        padding = Padding(0, 0, size - 1, size - 1)
    elif reach.before != reach.behind:
        # As timm's AvgPool2dSame, which pads with zeros and counts them.
        size, stride = reach.behind // reach.before, 1
        before, behind = (size - 1) // 2, size // 2
        padding = Padding(before, before, behind, behind)
    else:
        return ()
    return (AvgPool2d(name, (source,), size, stride, padding, counts_padding=stride == 1),)


def _zero_padding(name: str, *, source: str, extra: int, stride: int) -> tuple[Op, ...]:
    """Option A: every stride-th pixel, and channels of zeros behind the existing ones."""
    assert extra >= 0, f"{name}: zero padding cannot remove {-extra} channels"
    ops: list[Op] = []
    if stride != 1:
        ops.append(Subsample(f"{name}.subsample", (source,), stride))
        source = ops[-1].name
    if extra:
        ops.append(PadChannels(f"{name}.shortcut", (source,), extra))
    return tuple(ops)
