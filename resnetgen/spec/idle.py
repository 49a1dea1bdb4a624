"""Keys that can have no effect, since another key keeps what they are about out of the network."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from resnetgen.spec import channels
from resnetgen.spec.dialects import DIALECTS
from resnetgen.spec.model import ModelSpec, StageSpec
from resnetgen.spec.nodes import MappingNode, ScalarNode
from resnetgen.spec.overrides import FILE
from resnetgen.spec.problems import Problem
from resnetgen.spec.shortcuts import may_drop_paths, projects
from resnetgen.spec.strides import reaches


@dataclass(frozen=True, slots=True)
class _Rule:
    """When keys are idle; `deciders` are the keys on which it depends."""

    keys: tuple[str, ...]
    deciders: frozenset[str]
    is_idle: Callable[[ModelSpec], bool]
    without: str
    needed: str


def keys(spec: ModelSpec) -> Iterator[str]:
    """The keys that could have any value without a change to the network."""
    for rule in _RULES:
        if rule.is_idle(spec):
            yield from rule.keys


def problems(
    spec: ModelSpec, document: MappingNode, *, file: str, overridden: Collection[str]
) -> Iterator[Problem]:
    """Idle keys in the document's own file or in an override, unless they state the default.

    What is inherited may well be idle, and so may what is stated in the file where an override
    decides that.
    """
    # Imported here because Pydantic takes longer than all else that start-up needs.
    from resnetgen.spec.schema import Document

    for rule in _RULES:
        decided = not rule.deciders.isdisjoint(overridden)
        if not rule.is_idle(spec):
            continue
        for key in rule.keys:
            entry = document.entries.get(key)
            if entry is None or (entry.key.file != FILE and (decided or entry.key.file != file)):
                continue
            default = getattr(DIALECTS[spec.dialect], key, Document.model_fields[key].default)
            if isinstance(entry.value, ScalarNode) and entry.value.value == default:
                continue
            message = f"`{key}` has no effect {rule.without}"
            yield Problem("idle-key", (key,), message, f"{rule.needed}, or no `{key}`")


def _scales_branch(spec: ModelSpec) -> bool:
    """Whether any block has a norm whose gamma scales all that it adds to its shortcut."""
    return spec.norm.kind != "none" and any(
        stage.shortcut != "none" and (spec.order == "post" or len(stage.block.convolutions) > 1)
        for stage in spec.stages
    )


def _strided(spec: ModelSpec) -> Iterator[StageSpec]:
    return (stage for stage in spec.stages if stage.stride > 1)


def _chooses_convolution(stage: StageSpec) -> bool:
    """Whether the first convolution, and the first with a kernel above 1, are two."""
    kernels = [layer.kernel for layer in stage.block.convolutions]
    return kernels[0] == 1 and max(kernels) > 1


def _pads_strided(spec: ModelSpec) -> bool:
    """Whether any block has a convolution with a stride and a kernel above 1."""
    before = spec.stem.width
    for stage, reach in zip(spec.stages, reaches(spec), strict=True):
        out = channels.out_channels(stage)
        if reach.stride > 1:
            kernels = [layer.kernel for layer in stage.block.convolutions if layer.strided]
            if spec.anti_alias == "none" and max(kernels) > 1:
                return True
            # In a last block that is no first one, channels stay, and a shortcut is subsampled.
            reshapes = spec.stride_block == "first" or (stage.repeats == 1 and before != out)
            projected = stage.shortcut == "projection_all" or (
                stage.shortcut == "projection" and reshapes
            )
            if projected and spec.downsample == "conv" and spec.projection_kernel > 1:
                return True
        before = out
    return False


_RULES = (
    _Rule(
        ("attention_at",),
        frozenset({"attention"}),
        lambda spec: spec.attention == "none",
        "without attention",
        "`attention: se` or `eca`",
    ),
    _Rule(
        ("se_ratio", "se_of", "se_divisor"),
        frozenset({"attention"}),
        lambda spec: spec.attention != "se",
        "without squeeze-and-excitation",
        "`attention: se`",
    ),
    _Rule(
        ("norm_groups",),
        frozenset({"norm"}),
        lambda spec: spec.norm.kind != "group",
        "without group norms",
        "`norm: group`",
    ),
    _Rule(
        ("epsilon",),
        frozenset({"norm"}),
        lambda spec: spec.norm.kind == "none",
        "without norms",
        "`norm: batch` or `group`",
    ),
    _Rule(
        ("momentum",),
        frozenset({"norm"}),
        lambda spec: spec.norm.kind != "batch",
        "without batch norms",
        "`norm: batch`",
    ),
    _Rule(
        ("zero_init_last",),
        frozenset({"norm", "shortcut", "order", "block", "stages"}),
        lambda spec: not _scales_branch(spec),
        "where no block ends in a norm and adds a shortcut",
        "norms, and a `shortcut` other than `none`",
    ),
    _Rule(
        ("drop_path",),
        frozenset({"shortcut", "stages", "regnet", "repeats", "depth"}),
        lambda spec: not may_drop_paths(spec),
        "where no block but the first has a shortcut",
        "a `shortcut` other than `none`",
    ),
    _Rule(
        ("pool_padding",),
        frozenset({"stem", "anti_alias"}),
        lambda spec: spec.stem.pool != "max" or spec.anti_alias == "avg",
        "where the stem has no max pool",
        "`pool: max` in the stem, and no `anti_alias: avg`",
    ),
    _Rule(
        ("conv_padding",),
        frozenset(
            {
                *("block", "stages", "regnet", "repeats", "depth", "shortcut", "output_stride"),
                *("stride_on", "stride_block", "anti_alias", "downsample", "projection_kernel"),
                *("dialect", "stem"),
            }
        ),
        lambda spec: not _pads_strided(spec),
        "where no convolution of a block has both a stride and a kernel above 1",
        "a stride in a stage, on a convolution with a kernel above 1",
    ),
    _Rule(
        ("projection_kernel",),
        frozenset({"shortcut", "stages", "regnet"}),
        lambda spec: not projects(spec, strided=True),
        "where no stage with a stride has projections",
        "`shortcut: projection` or `projection_all` in a stage with a stride",
    ),
    _Rule(
        ("projection_kernel",),
        frozenset({"downsample"}),
        lambda spec: spec.downsample == "avg" and projects(spec, strided=True),
        "where an average pool strides",
        "`downsample: conv`",
    ),
    _Rule(
        ("downsample",),
        frozenset({"shortcut", "stages", "regnet"}),
        lambda spec: not projects(spec, strided=False),
        "where no stage has projections",
        "`shortcut: projection` or `projection_all`",
    ),
    _Rule(
        ("expansion",),
        frozenset({"block", "stages"}),
        lambda spec: all(stage.block.name != "bottleneck" for stage in spec.stages),
        "without bottlenecks",
        "`block: bottleneck`, an `expansion` in a list of convolutions",
    ),
    _Rule(
        ("width_per_group", "reduce_first"),
        frozenset({"block", "stages"}),
        lambda spec: all(len(stage.block.convolutions) == 1 for stage in spec.stages),
        "in blocks of one convolution",
        "blocks of several convolutions",
    ),
    _Rule(
        ("stride_on",),
        frozenset({"block", "stages"}),
        lambda spec: not any(map(_chooses_convolution, _strided(spec))),
        "where no strided block begins with a 1x1 and has a larger kernel",
        "`block: bottleneck` in a stage with a stride",
    ),
    _Rule(
        ("stride_block",),
        frozenset({"stages"}),
        lambda spec: not any(_strided(spec)),
        "where no stage has a stride",
        "a stride above 1 in a stage",
    ),
    _Rule(
        ("anti_alias",),
        frozenset({"stem", "stages"}),
        lambda spec: spec.stem.pool != "max" and not any(_strided(spec)),
        "where neither a max pool nor a stage strides",
        "a stride above 1 in a stage, or `pool: max` in the stem",
    ),
)
