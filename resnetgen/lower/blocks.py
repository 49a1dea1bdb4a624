"""Lowers stages to blocks: a main path of convolutions, and a shortcut added to its end."""

from resnetgen.ir.network import Block, BlockKind, Convolution, ShortcutKind, Stage
from resnetgen.ir.ops import Add, Op, PadChannels, Relu, Subsample
from resnetgen.lower.layers import batch_norm, convolution
from resnetgen.spec.model import ModelSpec, StageSpec


def lower_stages(spec: ModelSpec, *, source: str, in_channels: int) -> tuple[Stage, ...]:
    """All stages in order, named `layer1`, `layer2`, ... as torchvision does."""
    stages: list[Stage] = []
    for number, stage_spec in enumerate(spec.stages, start=1):
        stage = _lower_stage(
            spec, stage_spec, name=f"layer{number}", source=source, in_channels=in_channels
        )
        source, in_channels = stage.blocks[-1].ops[-1].name, stage.blocks[-1].out_channels
        stages.append(stage)
    return tuple(stages)


def _lower_stage(
    spec: ModelSpec, stage: StageSpec, *, name: str, source: str, in_channels: int
) -> Stage:
    kind = _block_kind(stage)
    blocks: list[Block] = []
    for index in range(stage.repeats):
        block = _lower_block(
            spec,
            kind,
            name=f"{name}.{index}",
            source=source,
            in_channels=in_channels,
            width=stage.width,
            stride=stage.stride if index == 0 else 1,
        )
        source, in_channels = block.ops[-1].name, block.out_channels
        blocks.append(block)
    return Stage(name, stage.name, tuple(blocks))


def _block_kind(stage: StageSpec) -> BlockKind:
    match stage.shortcut:
        case "projection":
            shortcut, projects_all = "projection", False
        case "projection_all":
            shortcut, projects_all = "projection", True
        case "zero_pad":
            shortcut, projects_all = "zero_pad", False
        case "none":
            shortcut, projects_all = "none", False
    return BlockKind(
        title=stage.block.name or "custom",
        convolutions=tuple(
            Convolution(layer.kernel, layer.expansion, layer.strided)
            for layer in stage.block.convolutions
        ),
        shortcut=shortcut,
        projects_all=projects_all,
    )


def _lower_block(
    spec: ModelSpec,
    kind: BlockKind,
    *,
    name: str,
    source: str,
    in_channels: int,
    width: int,
    stride: int,
) -> Block:
    out_channels = width * kind.expansion
    shortcut = _shortcut(kind, reshapes=stride != 1 or in_channels != out_channels)
    main = _main_path(
        spec, kind, name=name, source=source, in_channels=in_channels, width=width, stride=stride
    )
    match shortcut:
        case "none":
            side: tuple[Op, ...] = ()
        case "identity":
            side = ()
        case "projection":
            side = _projection(
                spec,
                name,
                source=source,
                in_channels=in_channels,
                out_channels=out_channels,
                stride=stride,
            )
        case "zero_pad":
            side = _zero_padding(
                name, source=source, extra=out_channels - in_channels, stride=stride
            )
    ops = (*main, *side)
    if shortcut != "none":
        other = side[-1].name if side else source
        ops = (*ops, Add(f"{name}.add", (main[-1].name, other)))
    return Block(
        name=name,
        kind=kind,
        shortcut=shortcut,
        in_channels=in_channels,
        width=width,
        stride=stride,
        ops=(*ops, Relu(f"{name}.act", (ops[-1].name,))),
    )


def _shortcut(kind: BlockKind, *, reshapes: bool) -> ShortcutKind:
    if kind.shortcut == "none" or reshapes or kind.projects_all:
        return kind.shortcut
    return "identity"


def _main_path(
    spec: ModelSpec,
    kind: BlockKind,
    *,
    name: str,
    source: str,
    in_channels: int,
    width: int,
    stride: int,
) -> tuple[Op, ...]:
    ops: list[Op] = []
    last = len(kind.convolutions)
    # In a plain net the last gamma scales no branch, and zero would silence the whole network.
    zero_last_gamma = spec.init.zero_last_gamma and kind.shortcut != "none"
    for number, layer in enumerate(kind.convolutions, start=1):
        channels = width * layer.expansion
        ops.append(
            convolution(
                spec,
                f"{name}.conv{number}",
                source=source,
                in_channels=in_channels,
                out_channels=channels,
                kernel=layer.kernel,
                stride=stride if layer.strided else 1,
            )
        )
        norm = batch_norm(
            spec,
            f"{name}.bn{number}",
            source=ops[-1].name,
            channels=channels,
            zero_gamma=zero_last_gamma and number == last,
        )
        ops.append(norm)
        if number != last:
            ops.append(Relu(f"{name}.act{number}", (norm.name,)))
        source, in_channels = ops[-1].name, channels
    return tuple(ops)


def _projection(
    spec: ModelSpec, name: str, *, source: str, in_channels: int, out_channels: int, stride: int
) -> tuple[Op, ...]:
    """Options B and C: a strided 1x1 convolution and its norm."""
    conv = convolution(
        spec,
        f"{name}.downsample.0",
        source=source,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel=1,
        stride=stride,
    )
    norm = batch_norm(spec, f"{name}.downsample.1", source=conv.name, channels=out_channels)
    return (conv, norm)


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
