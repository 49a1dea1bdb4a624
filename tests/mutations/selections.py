"""The ops of a network that a kind of fault can be put into."""

from collections.abc import Callable, Iterator
from itertools import islice

from resnetgen.ir.network import Network
from resnetgen.ir.ops import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm2d,
    BlurPool,
    ChannelConv,
    Conv2d,
    Drop,
    GlobalAvgPool,
    GroupNorm,
    Linear,
    MaxPool2d,
    Norm,
    Op,
    PadChannels,
    Same,
    Scale,
    Sigmoid,
    Softmax,
    Subsample,
)
from resnetgen.ir.rules import parameters


def convolutions(network: Network) -> Iterator[Conv2d]:
    """All but those of attention, which see one pixel."""
    yield from network.convolutions


def spatial(network: Network) -> Iterator[Conv2d]:
    return (op for op in convolutions(network) if op.kernel > 1)


def symmetric(network: Network) -> Iterator[Conv2d]:
    """Those that pad alike on all sides, a pixel or more, and do not dilate."""
    alike = (op for op in spatial(network) if not isinstance(op.padding, Same))
    return (op for op in alike if op.dilation == 1)


def strided(network: Network) -> Iterator[Conv2d]:
    return (op for op in convolutions(network) if op.stride == 2)


def strided_spatial(network: Network) -> Iterator[Conv2d]:
    return (op for op in symmetric(network) if op.stride == 2)


def unstrided_spatial(network: Network) -> Iterator[Conv2d]:
    return (op for op in symmetric(network) if op.stride == 1)


def unstrided(network: Network) -> Iterator[Conv2d]:
    return (op for op in convolutions(network) if op.stride == 1)


def stem(network: Network) -> Iterator[Conv2d]:
    """The one that reads the image."""
    yield next(op for op in convolutions(network) if op.inputs == (network.stem[0].name,))


def square(network: Network) -> Iterator[Conv2d]:
    same = (op for op in convolutions(network) if op.in_channels == op.out_channels)
    return (op for op in same if op.groups == 1)


def grouped(network: Network) -> Iterator[Conv2d]:
    return (op for op in convolutions(network) if op.groups > 1)


def biased(network: Network) -> Iterator[Conv2d]:
    return (op for op in network.ops if isinstance(op, Conv2d) and op.bias)


def unbiased(network: Network) -> Iterator[Conv2d]:
    return (op for op in convolutions(network) if not op.bias)


def leading(network: Network) -> Iterator[Conv2d]:
    """The first convolutions of blocks that stride on their second."""
    for block in network.blocks:
        first, second = block.convolutions[:2]
        if (first.stride, second.stride) == (1, 2):
            yield first


def linear(network: Network) -> Iterator[Linear]:
    return (op for op in network.head if isinstance(op, Linear))


def last_linear(network: Network) -> Iterator[Op]:
    """The linear layer, where nothing comes behind it."""
    return (op for op in network.head[-1:] if isinstance(op, Linear))


def classes(op: Op) -> int:
    assert isinstance(op, Linear)
    return op.out_features


def dilated(network: Network) -> Iterator[Conv2d]:
    return (op for op in convolutions(network) if op.dilation > 1)


def ungrouped(network: Network) -> Iterator[Conv2d]:
    return (op for op in convolutions(network) if op.groups == 1)


def batch_norms(network: Network) -> Iterator[BatchNorm2d]:
    return (op for op in network.ops if isinstance(op, BatchNorm2d))


def first_batch_norm(network: Network) -> Iterator[BatchNorm2d]:
    return islice(batch_norms(network), 1)


def batch_norms_of_torchvision(network: Network) -> Iterator[BatchNorm2d]:
    return (op for op in batch_norms(network) if op.epsilon == 1e-5)


def group_norms(network: Network) -> Iterator[GroupNorm]:
    return (op for op in network.ops if isinstance(op, GroupNorm))


def norms(network: Network) -> Iterator[Norm]:
    return (op for op in network.ops if isinstance(op, Norm))


def projection_norms(network: Network) -> Iterator[Norm]:
    return (op for block in network.blocks for op in block.side if isinstance(op, Norm))


def max_pools(network: Network) -> Iterator[MaxPool2d]:
    """Those that pad alike on all sides."""
    pools = (op for op in network.ops if isinstance(op, MaxPool2d))
    return (op for op in pools if not isinstance(op.padding, Same))


def max_pools_without_zeros(network: Network) -> Iterator[MaxPool2d]:
    return (op for op in max_pools(network) if not op.pads_zeros)


def max_pools_behind_relu(network: Network) -> Iterator[MaxPool2d]:
    """For which zeros are as good as what is less than all numbers."""
    rectified = {
        op.name for op in network.ops if isinstance(op, Activation) and op.function == "relu"
    }
    return (op for op in max_pools(network) if op.inputs[0] in rectified)


def average_pools(network: Network) -> Iterator[AvgPool2d]:
    """Those that stride."""
    return (op for op in network.ops if isinstance(op, AvgPool2d) and op.stride > 1)


def counting_pools(network: Network) -> Iterator[AvgPool2d]:
    return (op for op in network.ops if isinstance(op, AvgPool2d) and op.counts_padding)


def blurs(network: Network) -> Iterator[BlurPool]:
    return (op for op in network.ops if isinstance(op, BlurPool))


def head_means(network: Network) -> Iterator[GlobalAvgPool]:
    return (op for op in network.head if isinstance(op, GlobalAvgPool))


def softmaxes(network: Network) -> Iterator[Softmax]:
    return (op for op in network.ops if isinstance(op, Softmax))


def drops(network: Network) -> Iterator[Drop]:
    return (op for op in network.ops if isinstance(op, Drop) and op.rate > 0)


def first_norm_activations(network: Network) -> Iterator[Activation]:
    """Behind norms, the first behind all norms of that name: sources say them in one line, unless
    the block ends there."""
    seen: set[str] = set()
    for op in _norm_activations(network):
        name = op.inputs[0].rpartition(".")[2]
        if name not in seen:
            seen.add(name)
            yield op


def last_norm_activation_of_relus(network: Network) -> Iterator[Activation]:
    """The last one behind a norm, where all are ReLUs: the first on the way back."""
    activations = (op for op in network.ops if isinstance(op, Activation))
    if all(op.function == "relu" for op in activations):
        yield from list(_norm_activations(network))[-1:]


def _norm_activations(network: Network) -> Iterator[Activation]:
    sources = {op.name: op for op in network.ops}
    ends = {block.ops[-1] for block in network.blocks}
    for op in network.ops:
        if (
            isinstance(op, Activation)
            and op not in ends
            and isinstance(sources[op.inputs[0]], Norm)
            and not op.inputs[0].rpartition(".")[2].isdigit()
        ):
            yield op


def first_norm_activations_but(function: str) -> Callable[[Network], Iterator[Activation]]:
    """Those that are another function than this."""
    return lambda network: (op for op in first_norm_activations(network) if op.function != function)


def first_sum_activation(network: Network) -> Iterator[Activation]:
    sums = {op.name for op in network.ops if isinstance(op, Add)}
    return islice(
        (op for op in network.ops if isinstance(op, Activation) and op.inputs[0] in sums), 1
    )


def first_sum_activation_if_projected(network: Network) -> Iterator[Activation]:
    """Behind an identity of what is positive, either order is the other's."""
    projecting = {block.ops[-1].name for block in network.blocks if any(block.side)}
    return (op for op in first_sum_activation(network) if op.name in projecting)


def first_sum(network: Network) -> Iterator[Add]:
    return islice((op for op in network.ops if isinstance(op, Add)), 1)


def first_gate(network: Network) -> Iterator[Sigmoid]:
    return islice((op for op in network.ops if isinstance(op, Sigmoid)), 1)


def first_gate_of_two_layers(network: Network) -> Iterator[Sigmoid]:
    """Of squeeze-and-excitation, whose gates are (N, C, 1, 1) in all sources."""
    return first_gate(network) if any(squeezed_activation(network)) else iter(())


def first_scale(network: Network) -> Iterator[Scale]:
    return islice((op for op in network.ops if isinstance(op, Scale)), 1)


def first_squeeze(network: Network) -> Iterator[GlobalAvgPool]:
    inner = (op for block in network.blocks for op in block.attention)
    return islice((op for op in inner if isinstance(op, GlobalAvgPool)), 1)


def squeezed_activation(network: Network) -> Iterator[Activation]:
    inner = (op for block in network.blocks for op in block.attention)
    return islice((op for op in inner if isinstance(op, Activation)), 1)


def channel_convolutions(network: Network) -> Iterator[ChannelConv]:
    return (op for op in network.ops if isinstance(op, ChannelConv))


def channel_paddings(network: Network) -> Iterator[PadChannels]:
    return (op for op in network.ops if isinstance(op, PadChannels))


def subsamples(network: Network) -> Iterator[Subsample]:
    return (op for op in network.ops if isinstance(op, Subsample))


def like_the_next(network: Network) -> Iterator[Op]:
    """Layers of a block whose tensors are as large as those of the next one of their name."""
    by_name = {op.name: op for op in network.ops}
    for op in (op for block in network.blocks for op in block.main):
        other = by_name.get(next_name(op)) if op.name[-1].isdigit() else None
        if other is not None and _shapes(op) and _shapes(op) == _shapes(other):
            yield op


def like_the_last(network: Network) -> Iterator[Op]:
    """Those that `like_the_next` is of."""
    by_name = {op.name: op for op in network.ops}
    return (by_name[next_name(op)] for op in like_the_next(network))


def last_name(op: Op) -> str:
    return f"{op.name[:-1]}{int(op.name[-1]) - 1}"


def next_name(op: Op) -> str:
    """The layer of the same name, but for the number behind it."""
    return f"{op.name[:-1]}{int(op.name[-1]) + 1}"


def _shapes(op: Op) -> list[tuple[int, ...]]:
    return [each.shape for each in parameters(op)]
