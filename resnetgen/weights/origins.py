"""How the files of other libraries call a network's tensors, and how they lay them out.

An origin is a rule from where a layer stands to its name there. What it has no name for, networks
of that library do not have, and their files cannot be read for such a network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, assert_never

from resnetgen.ir.network import BlockTitle, Network
from resnetgen.ir.ops import Conv2d, GroupNorm, Norm
from resnetgen.ir.rules import Parameter, Shape, parameters
from resnetgen.spec.model import Dialect, Order
from resnetgen.weights.places import (
    Elsewhere,
    Head,
    Layer,
    Main,
    Postactivation,
    Preactivation,
    Side,
    Squeeze,
    Stem,
    layers,
)

LEAST_SHARE = 0.5
"""Below this, a file that has some of an origin's names has them by chance."""
_Library = Literal["pytorch", "keras", "flax"]
_Dialects = Mapping[Order, tuple[Dialect, ...]]
"""By the order of norms and activations, which names tell."""
_TORCHVISION: _Dialects = {"post": ("torchvision",), "pre": ("torchvision",)}
_MMPRETRAIN: _Dialects = dict.fromkeys(("post", "pre"), ("torchvision", "paper"))
"""mmpretrain's `style`, which says where a bottleneck strides."""
_KERAS: _Dialects = {"post": ("keras",), "pre": ("keras_v2",)}

_KERAS_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_FLAX_NORM = {
    "weight": "scale",
    "bias": "bias",
    "running_mean": "mean",
    "running_var": "var",
}
_CHANNELS_LAST: Mapping[int, tuple[int, ...]] = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
"""By number of dimensions: the order in which Keras's axes, and Flax's, are ours, (out, in, height,
width)."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A tensor as the file has it: its name, its shape, and the order of its axes that is ours."""

    name: str
    shape: Shape
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose names a file has; `layer` gives a layer's name there, or None if there is none."""

    name: str
    """The word for it on the command line."""
    title: str
    layer: Callable[[Layer], str | None]
    dialects: _Dialects = field(default_factory=dict[Order, tuple[Dialect, ...]], hash=False)
    """In which networks with such names come, where that is known."""
    library: _Library = "pytorch"
    zeros_around: bool = False
    """Whether option A puts half of its zero channels in front of the existing ones."""

    def knows(self, network: Network) -> bool:
        """Whether it has a name for each of the network's layers."""
        return not self.unnamed(network)

    def unnamed(self, network: Network) -> tuple[str, ...]:
        """Our names of the layers that it has no name for."""
        return tuple(each.op.name for each in layers(network) if self.layer(each) is None)

    def tensors(self, network: Network) -> dict[str, Foreign]:
        """The network's tensors by our names, where the origin names their layers."""
        return {
            parameter.name: self._foreign(layer, name, parameter)
            for layer in layers(network)
            if (name := self.layer(layer)) is not None
            for parameter in parameters(layer.op)
        }

    def bias(self, layer: Layer) -> str | None:
        """What a bias of the layer is called, whether it has one or not."""
        name = self.layer(layer)
        return None if name is None else self._tensor(layer, name, "bias")

    def _foreign(self, layer: Layer, name: str, parameter: Parameter) -> Foreign:
        tensor = self._tensor(layer, name, parameter.kind)
        dimensions = len(parameter.shape)
        match self.library:
            case "pytorch":
                return Foreign(tensor, parameter.shape, tuple(range(dimensions)))
            case "keras" | "flax":
                axes = _CHANNELS_LAST[dimensions]
                shape = tuple(parameter.shape[axes.index(axis)] for axis in range(dimensions))
                return Foreign(tensor, shape, axes)

    def _tensor(self, layer: Layer, name: str, kind: str) -> str:
        match self.library:
            case "pytorch":
                return f"{name}.{kind}"
            case "keras" if isinstance(layer.op, Norm):
                return f"{name}/{_KERAS_NORM[kind]}"
            case "flax" if isinstance(layer.op, Norm):
                collection = "batch_stats" if kind.startswith("running") else "params"
                return f"{collection}/{name}/{_FLAX_NORM[kind]}"
            case "keras":
                return f"{name}/{'kernel' if kind == 'weight' else kind}"
            case "flax":
                return f"params/{name}/{'kernel' if kind == 'weight' else kind}"


def _timm(layer: Layer) -> str:
    """Ours are timm's, and torchvision's where that has such a layer."""
    return layer.op.name


def _torchvision(layer: Layer) -> str | None:
    has_one = layer.op.name.startswith(("conv1", "bn1", "layer", "fc"))
    others = Preactivation | Squeeze | Postactivation | Elsewhere
    plain = not isinstance(layer.place, others) and ".downsample.2" not in layer.op.name
    deep_stem = isinstance(layer.place, Stem) and layer.place.count > 1
    return layer.op.name if has_one and plain and not deep_stem else None


def _torchvision_regnet(layer: Layer) -> str | None:
    """torchvision/models/regnet.py: its stages count from 1, and their blocks from 0."""
    kind = 1 if layer.is_norm else 0
    match layer.place:
        case Stem(0, 1):
            return f"stem.{kind}"
        case Main(stage, block, number) if number < 3:
            return f"{_regnet_block(stage, block)}.f.{'abc'[number]}.{kind}"
        case Squeeze(stage, block, number):
            return f"{_regnet_block(stage, block)}.f.se.fc{number + 1}"
        case Side(stage, block, _):
            return f"{_regnet_block(stage, block)}.proj.{kind}"
        case Head():
            return "fc"
        case Stem() | Main() | Preactivation() | Postactivation() | Elsewhere():
            return None
        case _:
            assert_never(layer.place)


def _regnet_block(stage: int, block: int) -> str:
    return f"trunk_output.block{stage + 1}.block{stage + 1}-{block}"


def _cifar(layer: Layer) -> str | None:
    """Ports of the CIFAR networks: https://github.com/akamaster/pytorch_resnet_cifar10."""
    match layer.place:
        case Side(stage, block, number):
            return f"layer{stage + 1}.{block}.shortcut.{number}"
        case Head():
            return "linear"
        case Stem() | Main() if not (isinstance(layer.op, Conv2d) and layer.op.groups > 1):
            return _torchvision(layer)
        case Stem() | Main() | Preactivation() | Squeeze() | Postactivation() | Elsewhere():
            return None
        case _:
            assert_never(layer.place)


def _mmpretrain(layer: Layer) -> str | None:
    """mmpretrain/models/backbones/resnet.py and seresnet.py: a projection's number counts what is
    there alone."""
    match layer.place:
        case Stem(number, count) if count > 1:
            return f"backbone.stem.{number}.{'bn' if layer.is_norm else 'conv'}"
        case Side(stage, block, number):
            return f"backbone.layer{stage + 1}.{block}.downsample.{number}"
        case Squeeze(stage, block, number):
            return f"backbone.layer{stage + 1}.{block}.se_layer.conv{number + 1}.conv"
        case Stem() | Main():
            return f"backbone.{layer.op.name}"
        case Head():
            return "head.fc"
        case Preactivation() | Postactivation() | Elsewhere():
            return None
        case _:
            assert_never(layer.place)


def _pycls(layer: Layer) -> str | None:
    """pycls/models/resnet.py and anynet.py: `a`, `b` and `c` on a block's main path."""
    match layer.place:
        case Stem(number, 1):
            return f"stem.{'bn' if layer.is_norm else 'conv'}" if number == 0 else None
        case Main(stage, block, number) if number < 3:
            letter = "abc"[number]
            return f"s{stage + 1}.b{block + 1}.f.{letter}{'_bn' if layer.is_norm else ''}"
        case Squeeze(stage, block, number):
            return f"s{stage + 1}.b{block + 1}.f.se.f_ex.{2 * number}"
        case Side(stage, block, _):
            return f"s{stage + 1}.b{block + 1}.{'bn' if layer.is_norm else 'proj'}"
        case Head():
            return "head.fc"
        case Stem() | Main() | Preactivation() | Postactivation() | Elsewhere():
            return None
        case _:
            assert_never(layer.place)


def _transformers(layer: Layer) -> str | None:
    """transformers/models/resnet/modeling_resnet.py."""
    kind = "normalization" if layer.is_norm else "convolution"
    match layer.place:
        case Stem(0, 1):
            return f"resnet.embedder.embedder.{kind}"
        case Main(stage, block, number):
            return f"resnet.encoder.stages.{stage}.layers.{block}.layer.{number}.{kind}"
        case Side(stage, block, _):
            return f"resnet.encoder.stages.{stage}.layers.{block}.shortcut.{kind}"
        case Head():
            return "classifier.1"
        case Stem() | Preactivation() | Squeeze() | Postactivation() | Elsewhere():
            return None
        case _:
            assert_never(layer.place)


def _keras_applications(layer: Layer) -> str | None:
    """keras/src/applications/resnet.py: stages count from 2, blocks from 1, 0 is the projection.

    V2 calls the norm behind its n-th convolution as V1 does.
    """
    kind = "bn" if layer.is_norm else "conv"
    match layer.place:
        case Stem(0, 1):
            return f"conv1_{kind}"
        case Preactivation(stage, block):
            return f"conv{stage + 2}_block{block + 1}_preact_bn"
        case Main(stage, block, number):
            return f"conv{stage + 2}_block{block + 1}_{number + 1}_{kind}"
        case Side(stage, block, _):
            return f"conv{stage + 2}_block{block + 1}_0_{kind}"
        case Postactivation():
            return "post_bn"
        case Head():
            return "predictions"
        case Stem() | Squeeze() | Elsewhere():
            return None
        case _:
            assert_never(layer.place)


def _keras_hub(layer: Layer) -> str | None:
    """keras_hub/src/models/resnet/resnet_backbone.py: stacks and blocks count from 0."""
    kind = "bn" if layer.is_norm else "conv"
    match layer.place:
        case Stem(number):
            return f"conv{number + 1}_{kind}"
        case Preactivation(stage, block):
            return f"stack{stage}_block{block}_pre_activation_bn"
        case Main(stage, block, number):
            return f"stack{stage}_block{block}_{number + 1}_{kind}"
        case Side(stage, block, _):
            return f"stack{stage}_block{block}_0_{kind}"
        case Postactivation():
            return "post_bn"
        case Head():
            return "predictions"
        case Squeeze() | Elsewhere():
            return None
        case _:
            assert_never(layer.place)


def _flax(layer: Layer) -> str | None:
    """google/flax, examples/imagenet/models.py: blocks are numbered over all stages, each kind of
    layer in a block by itself."""
    if isinstance(layer.op, GroupNorm):
        return None
    match layer.place:
        case Stem(0, 1):
            return "bn_init" if layer.is_norm else "conv_init"
        case Main(_, _, number) if block := _flax_block(layer):
            return f"{block}/{'BatchNorm' if layer.is_norm else 'Conv'}_{number}"
        case Side() if block := _flax_block(layer):
            return f"{block}/{'norm' if layer.is_norm else 'conv'}_proj"
        case Head():
            return "Dense_0"
        case (
            Stem() | Main() | Side() | Preactivation() | Squeeze() | Postactivation() | Elsewhere()
        ):
            return None
        case _:
            assert_never(layer.place)


def _flax_block(layer: Layer) -> str | None:
    """Two kinds of block have a class there, by whose name theirs begin."""
    classes: Mapping[BlockTitle, str] = {
        "basic": "ResNetBlock",
        "bottleneck": "BottleneckResNetBlock",
    }
    if layer.home is None or layer.home.title not in classes:
        return None
    return f"{classes[layer.home.title]}_{layer.home.number}"


def _generated(layer: Layer) -> str:
    """What `model_keras.py` calls its layers."""
    return layer.op.name.replace(".", "_")


ORIGINS = (
    Origin("torchvision", "torchvision's names", _torchvision, _TORCHVISION),
    Origin(
        "torchvision_regnet",
        "the names of torchvision's RegNets",
        _torchvision_regnet,
        _TORCHVISION,
    ),
    Origin("timm", "timm's names", _timm, _TORCHVISION),
    Origin("cifar", "the names of CIFAR ports", _cifar, _TORCHVISION, zeros_around=True),
    Origin("mmpretrain", "mmpretrain's names", _mmpretrain, _MMPRETRAIN),
    Origin("pycls", "pycls's names", _pycls, _TORCHVISION),
    Origin("transformers", "the names of Hugging Face's transformers", _transformers, _TORCHVISION),
    Origin(
        "keras_applications",
        "keras.applications' names",
        _keras_applications,
        _KERAS,
        "keras",
    ),
    Origin("keras_hub", "KerasHub's names", _keras_hub, library="keras"),
    Origin("flax", "the names of Flax's ImageNet example", _flax, {"post": ("flax",)}, "flax"),
    Origin(
        "resnetgen_keras", "the names of resnetgen's model_keras.py", _generated, library="keras"
    ),
)
"""All that are known. Of two that explain a file equally well, the first is taken."""
