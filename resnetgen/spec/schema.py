"""The document's form: frozen Pydantic models that mirror the YAML and know nothing of its meaning.

What fields mean together is for the rules.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from resnetgen.spec.blocks import BOTTLENECK_EXPANSION
from resnetgen.spec.fields import (
    MOST_CONVOLUTIONS,
    BiasChoice,
    Channels,
    Classes,
    Depth,
    Divisor,
    Epsilon,
    Expansion,
    Expected,
    Extends,
    FirstWidth,
    Groups,
    HiddenWidths,
    Kernel,
    License,
    Momentum,
    Name,
    Pruned,
    Rate,
    Ratio,
    Repeats,
    RepeatsList,
    Size,
    Slope,
    StageName,
    Step,
    Stride,
    Width,
)
from resnetgen.spec.model import (
    Activation,
    AntiAlias,
    Attention,
    AttentionAt,
    BlockName,
    ConvInit,
    ConvPadding,
    Dialect,
    Downsample,
    HeadPool,
    LinearInit,
    Norm,
    Order,
    Output,
    OutputStride,
    Pool,
    PoolPadding,
    Rounding,
    Shortcut,
    SqueezeOf,
    StrideBlock,
    StrideOn,
)


class _Record(BaseModel):
    """Strict: no text for a number, no float for an integer, no key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Input(_Record):
    """The image that goes in."""

    channels: Channels = Field(description="Channels of the image: 3 for RGB.", examples=[3])
    size: Size = Field(
        description="Pixels: one number, or [height, width].", examples=[224, [480, 640]]
    )


class Stem(_Record):
    """The layers in front of the stages."""

    hidden: HiddenWidths = Field(
        (),
        description="Output channels of further convolutions in front of the last: a deep stem.",
        examples=[[24, 32]],
    )
    width: Width = Field(description="Output channels of the last convolution.", examples=[64])
    kernel: Kernel = Field(description="Kernel of each convolution.", examples=[7])
    stride: Stride = Field(description="Stride of the first convolution.", examples=[2])
    bias: BiasChoice | None = Field(
        None,
        description="Whether the convolutions here have a bias, instead of the network's "
        "`conv_bias`.",
        examples=[True],
    )
    norm: bool | None = Field(
        None,
        description="Whether a norm and an activation stand behind the last convolution. By "
        "default they do in the order `post`; in the order `pre` they are the first block's own.",
        examples=[True],
    )
    pool: Pool = Field(
        description="What halves the size behind it: `max`, a 3x3 max pool; `conv`, a 3x3 "
        "convolution; or `none`.",
        examples=["max"],
    )


class Convolution(_Record):
    """One convolution on the main path of a block of one's own."""

    kernel: Kernel = Field(description="Kernel size; padding keeps the image's size.", examples=[3])
    expansion: Expansion = Field(
        1, description="Output channels in multiples of the width.", examples=[2]
    )
    strided: bool = Field(
        False,
        description="Whether the block's stride sits here; otherwise `stride_on` says where.",
        examples=[True],
    )


def _block_form(value: object) -> str:
    return "list" if isinstance(value, list | tuple) else "word"


BlockChoice = Annotated[
    Annotated[BlockName, Tag("word")]
    | Annotated[
        tuple[Convolution, ...], Field(min_length=1, max_length=MOST_CONVOLUTIONS), Tag("list")
    ],
    Discriminator(_block_form),
    Expected("`basic`, `bottleneck` or a list of {kernel, expansion, strided}"),
]
BLOCK_DESCRIPTION = (
    "`basic` (3x3, 3x3), `bottleneck` (1x1, 3x3, 1x1 with expansion 4), or a list of convolutions."
)
SHORTCUT_DESCRIPTION = (
    "`zero_pad` (option A), `projection` (B: only where the shape changes), `projection_all` (C), "
    "or `none` (a plain network)."
)


class Stage(_Record):
    """A run of equal blocks, of which one carries the stride."""

    name: StageName = Field(
        description="The stage's name in tables, such as conv2_x.", examples=["conv2_x"]
    )
    repeats: Repeats | None = Field(
        None,
        description="How many blocks; may also be given by `repeats` or `depth` at the top.",
        examples=[3],
    )
    width: Width = Field(
        description="The blocks' inner width: the paper's first number.", examples=[64]
    )
    stride: Stride = Field(description="Stride of the stage.", examples=[2])
    block: BlockChoice | None = Field(
        None,
        description=f"This stage's block, instead of the network's: {BLOCK_DESCRIPTION}",
        examples=["basic"],
    )
    shortcut: Shortcut | None = Field(
        None,
        description=f"This stage's shortcut, instead of the network's: {SHORTCUT_DESCRIPTION}",
        examples=["zero_pad"],
    )
    groups: Groups | None = Field(
        None,
        description="This stage's groups, instead of the network's: of its blocks' convolutions "
        "with a kernel above 1.",
        examples=[13],
    )
    pruned: Pruned | None = Field(
        None,
        description="What pruning has left of the channels: for each block a list with the output "
        "channels of each of its convolutions. Whatever follows from the width still does.",
        examples=[[[47, 18, 19], [52, 22, 19], [64, 35, 19]]],
    )


class RegNet(_Record):
    """RegNet's rule: stages of stride 2, and widths near a line (Radosavovic et al., 2020)."""

    depth: Repeats = Field(description="How many blocks all stages have together.", examples=[16])
    w_0: FirstWidth = Field(description="The first block's width.", examples=[48])
    w_a: Slope = Field(
        description="The line's slope: by how much each block's width is to be above the last's.",
        examples=[27.89],
    )
    w_m: Step = Field(
        description="Each block gets the power of this, times `w_0`, that is nearest to the line, "
        "as a multiple of 8; blocks of equal width are a stage.",
        examples=[2.09],
    )
    group_width: Width = Field(
        description="Channels in each group of the convolutions with a kernel above 1; a narrower "
        "stage is one group.",
        examples=[8],
    )
    rounding: Rounding = Field(
        "torchvision",
        description="Which multiple of the group width is taken of two that are equally near: the "
        "greater, and none below nine tenths (`torchvision`), or the even one (`pycls`).",
        examples=["pycls"],
    )


TAGGED = frozenset({"size", "block", "conv_bias", "bias"})
"""The fields below which Pydantic puts the name of a form into the place of an error."""

Stages = Annotated[
    tuple[Stage, ...],
    Field(min_length=1),
    Expected("a list of at least one {name, repeats, width, stride}"),
]


class Document(_Record):
    """A residual network, as its author writes it."""

    name: Name = Field(
        description="The network's name: of its factory function and its folder.",
        examples=["resnet83"],
    )
    # Resolved before a document gets its form, and so always absent by then.
    extends: Extends | None = Field(
        None,
        description="What this one changes: a bundled spec, or a file in its folder or below.",
        examples=["resnet50"],
    )
    license: License | None = Field(
        None, description="An SPDX expression to put into the generated files.", examples=["MIT"]
    )
    dialect: Dialect = Field(
        "torchvision",
        description="Whose numbers fill in what the spec leaves open.",
        examples=["paper"],
    )
    input: Input = Field(
        description="The image that goes in: its channels and size.",
        examples=[{"channels": 3, "size": 224}],
    )
    classes: Classes = Field(description="How many classes the head tells apart.", examples=[1000])
    depth: Depth | None = Field(
        None,
        description="Weighted layers, shortcuts not counted and a deep stem as one. Without "
        "repeats they are found from it (three stages of equal blocks); with repeats it is "
        "checked.",
        examples=[110],
    )
    repeats: RepeatsList | None = Field(
        None,
        description="How many blocks each stage has, in place of the stages' own `repeats`.",
        examples=[[3, 4, 23, 3]],
    )
    stem: Stem = Field(
        description="What stands in front of the stages: a convolution, a pool.",
        examples=[{"width": 64, "kernel": 7, "stride": 2, "pool": "max"}],
    )
    block: BlockChoice | None = Field(
        None,
        description=f"{BLOCK_DESCRIPTION} Stated here, or in every stage.",
        examples=["bottleneck", [{"kernel": 3}, {"kernel": 3}, {"kernel": 3}]],
    )
    shortcut: Shortcut = Field(
        "projection", description=SHORTCUT_DESCRIPTION, examples=["zero_pad"]
    )
    expansion: Expansion = Field(
        BOTTLENECK_EXPANSION,
        description="A bottleneck's output channels in multiples of the width.",
        examples=[2],
    )
    groups: Groups = Field(
        1,
        description="Groups of the blocks' convolutions with a kernel above 1, as in ResNeXt.",
        examples=[32],
    )
    width_per_group: Width | None = Field(
        None,
        description="Channels in each group where a stage's width is 64, and in proportion in "
        "others: all convolutions of a block but its last then have `groups` times as many.",
        examples=[4],
    )
    reduce_first: Groups = Field(
        1,
        description="Divides the channels of each block's first convolution, as in SENet-154.",
        examples=[2],
    )
    downsample: Downsample = Field(
        "conv",
        description="How a projection strides: its convolution does (`conv`), or a 2x2 average "
        "pool before it (`avg`, ResNet-D).",
        examples=["avg"],
    )
    projection_kernel: Kernel = Field(
        1,
        description="Kernel of the projections in stages with a stride; elsewhere it is 1.",
        examples=[3],
    )
    attention: Attention = Field(
        "none",
        description="What weighs a block's channels: `se` (squeeze-and-excitation), `eca` "
        "(efficient channel attention), or `none`.",
        examples=["se"],
    )
    attention_at: AttentionAt = Field(
        "end",
        description="Where attention stands: at the `end` of the main path, right before the "
        "addition, or in its `middle`, right before the last convolution, as in RegNet.",
        examples=["middle"],
    )
    se_ratio: Ratio = Field(
        0.0625,
        description="Channels inside squeeze-and-excitation as a part of the block's.",
        examples=[0.25],
    )
    se_of: SqueezeOf = Field(
        "output",
        description="Of which of the block's channels `se_ratio` is a part: those of its `output`, "
        "or those of its `input`, as in RegNet.",
        examples=["input"],
    )
    se_divisor: Divisor = Field(
        8,
        description="Channels inside squeeze-and-excitation are the nearest multiple of this, and "
        "at least this.",
        examples=[1],
    )
    anti_alias: AntiAlias = Field(
        "none",
        description="What strides in place of a block's convolution, behind its activation: an "
        "average pool (`avg`), a binomial filter with reflected edges (`blur`), or `none`. The "
        "stem's max pool becomes a 2x2 average pool with `avg`, and strides by a filter with "
        "`blur`.",
        examples=["blur"],
    )
    order: Order = Field(
        "post",
        description="Where norms and activations stand: behind each convolution and behind the "
        "addition (`post`), or in front of each convolution (`pre`, He et al., 2016). In the "
        "order `pre` a projection reads what is normalized, and an identity what is not.",
        examples=["pre"],
    )
    activation: Activation = Field(
        "relu",
        description="What stands behind norms and additions: `relu`, `silu`, or `gelu` (not its "
        "approximation by a tanh). Inside squeeze-and-excitation it is `relu` always, as in timm.",
        examples=["silu"],
    )
    norm: Norm = Field(
        "batch",
        description="What normalizes channels: `batch`, `group` (Wu and He, 2018), or `none`.",
        examples=["group"],
    )
    norm_groups: Groups = Field(
        32, description="In how many groups `norm: group` takes the channels.", examples=[16]
    )
    stride_on: StrideOn | None = Field(
        None,
        description="Where a block's stride sits: on its first convolution (`1x1`), or on the "
        "first with a kernel above 1 (`3x3`).",
        examples=["1x1"],
    )
    stride_block: StrideBlock | None = Field(
        None,
        description="Which block of a stage has its stride: the `first` or the `last`.",
        examples=["last"],
    )
    output_stride: OutputStride | None = Field(
        None,
        description="The stride of the whole network that is enough: stages behind it take none, "
        "and dilate the kernels that would have stood behind theirs, so that these read the same "
        "pixels. It has to be what the strides of stem and first stages multiply to.",
        examples=[8],
    )
    drop_path: Rate = Field(
        0.0,
        description="Stochastic depth: at what rate the last block's main path is left out for an "
        "image in training; from the first block on, which always has its own, rates grow in "
        "proportion (Huang et al., 2016).",
        examples=[0.1],
    )
    block_dropout: Rate = Field(
        0.0,
        description="At what rate training drops values right before the last convolution of each "
        "block, as in Wide ResNets.",
        examples=[0.3],
    )
    head_pool: HeadPool = Field(
        "avg",
        description="How the head pools what the last block gives: its mean over the image "
        "(`avg`), its maximum (`max`), the mean of both (`avgmax`), or both, one behind the other "
        "(`catavgmax`), which doubles what the last layer reads.",
        examples=["catavgmax"],
    )
    dropout: Rate = Field(
        0.0,
        description="At what rate training drops pooled values before the last layer.",
        examples=[0.2],
    )
    epsilon: Epsilon | None = Field(None, description="The norm's epsilon.", examples=[0.001])
    momentum: Momentum | None = Field(
        None,
        description="Weight of the new value in running statistics, as PyTorch counts.",
        examples=[0.01],
    )
    conv_bias: BiasChoice | None = Field(
        None,
        description="Whether convolutions have a bias: all, none, or those `without_norm` right "
        "behind them.",
        examples=[True, "without_norm"],
    )
    conv_padding: ConvPadding | None = Field(
        None,
        description="How the blocks' convolutions with a stride and a kernel above 1 are padded: "
        "by half of that on all sides (`symmetric`), or as TensorFlow's SAME does (`same`), by as "
        "much as the image's size calls for: with a 3x3 and a stride of 2 by a pixel on all sides "
        "of an odd size, and of an even one at the bottom and right alone. The stem's are always "
        "symmetric.",
        examples=["same"],
    )
    pool_padding: PoolPadding | None = Field(
        None,
        description="How the stem's max pool is padded: by a pixel that never is the maximum "
        "(`symmetric`), by a pixel of zeros (`zeros`), only at the end, where its last window "
        "reaches beyond (`ceil`), or as TensorFlow's SAME does (`same`): like `ceil` where the "
        "size is even, and like `symmetric` where it is odd.",
        examples=["zeros"],
    )
    conv_init: ConvInit | None = Field(
        None,
        description="How convolutions start: He et al.'s normal by fan in or by fan out, Glorot "
        "and Bengio's uniform, or LeCun et al.'s normal of variance 1 / fan in, cut at two "
        "deviations.",
        examples=["he_fan_in"],
    )
    linear_init: LinearInit | None = Field(
        None,
        description="How the last layer starts: He et al.'s normal by fan in, uniform within "
        "1 / sqrt(fan in), Glorot and Bengio's uniform, LeCun et al.'s cut normal of variance "
        "1 / fan in, or a `normal` of deviation 0.01.",
        examples=["he_fan_in"],
    )
    zero_init_last: bool | None = Field(
        None, description="Whether the last gamma of each block starts at zero.", examples=[True]
    )
    output: Output | None = Field(
        None,
        description="What comes out: the last layer's `logits`, or their `softmax`.",
        examples=["softmax"],
    )
    regnet: RegNet | None = Field(
        None,
        description="RegNet's rule, which gives the stages and their groups in place of `stages`.",
        examples=[{"depth": 16, "w_0": 48, "w_a": 27.89, "w_m": 2.09, "group_width": 8}],
    )
    # Empty only until RegNet's rule has given them.
    stages: Stages = Field(
        (),
        description="The stages, from the stem to the head; `regnet` may give them instead.",
        examples=[[{"name": "conv2_x", "repeats": 3, "width": 64, "stride": 1}]],
    )


class _EditorSchema(GenerateJsonSchema):
    """Absent keys are None only in Python: in a file, `null` is an error."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec file: what must be stated need not be where `extends` states it."""
    schema = Document.model_json_schema(schema_generator=_EditorSchema)
    for inherited in ("Input", "Stem"):
        del schema["$defs"][inherited]["required"]
    del schema["required"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "resnetgen spec",
        "if": {"required": ["extends"]},
        "else": {
            "required": _required(Document),
            "anyOf": [{"required": ["stages"]}, {"required": ["regnet"]}],
            "properties": {
                "input": {"required": _required(Input)},
                "stem": {"required": _required(Stem)},
            },
        },
    }


def _required(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.is_required()]
