"""How many channels the convolutions of a block have: arithmetic on the spec, shared by passes."""

from resnetgen.spec.model import ModelSpec, StageSpec

BASE_WIDTH = 64
"""The stage width at which `width_per_group` is stated, in torchvision and timm alike."""


def inner_width(spec: ModelSpec, stage: StageSpec) -> int:
    """Output channels of a block's convolutions but the last, in a stage of this width."""
    if spec.width_per_group is None or len(stage.block.convolutions) == 1:
        return stage.width
    return widened(stage.width, width_per_group=spec.width_per_group, groups=stage.groups)


def widened(width: int, *, width_per_group: int, groups: int) -> int:
    """The inner width that `width_per_group` gives a stage of this width."""
    return width * width_per_group // BASE_WIDTH * groups


def unpruned_channels(stage: StageSpec) -> int:
    """Output channels of a block before any pruning."""
    return stage.width * stage.block.convolutions[-1].expansion


def out_channels(stage: StageSpec) -> int:
    """Output channels of a block."""
    return unpruned_channels(stage) if stage.pruned is None else stage.pruned[0][-1]


def main_path(spec: ModelSpec, stage: StageSpec, *, block: int) -> tuple[int, ...]:
    """Output channels of each convolution on the main path of the stage's block of this index."""
    return unpruned_path(spec, stage) if stage.pruned is None else stage.pruned[block]


def unpruned_path(spec: ModelSpec, stage: StageSpec) -> tuple[int, ...]:
    """The same before any pruning, which all of the stage's blocks have alike."""
    inner = inner_width(spec, stage)
    channels = [inner * layer.expansion for layer in stage.block.convolutions[:-1]]
    if channels:
        channels[0] //= spec.reduce_first
    return (*channels, unpruned_channels(stage))


def groups(stage: StageSpec, kernel: int) -> int:
    """Groups of a convolution on the main path."""
    return stage.groups if kernel > 1 else 1
