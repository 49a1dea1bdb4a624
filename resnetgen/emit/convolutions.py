"""The convolutions that a network's source makes, as calls: what class-based frameworks share."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from resnetgen.emit.source import Kind, times
from resnetgen.ir.network import Network
from resnetgen.ir.ops import Conv2d


@dataclass(frozen=True, slots=True)
class Convolution:
    """One call that makes a convolution, in expressions; `stride` is "1" where it is constant."""

    in_channels: str
    out_channels: str
    kernel: int
    stride: str


def stem_convolution(network: Network) -> Convolution:
    """The network's first convolution."""
    conv = next(op for op in network.stem if isinstance(op, Conv2d))
    return Convolution(str(conv.in_channels), str(conv.out_channels), conv.kernel, str(conv.stride))


def main_path(kind: Kind) -> list[Convolution]:
    """The convolutions of a block, in order."""
    in_channels = "in_channels"
    found: list[Convolution] = []
    for layer in kind.kind.convolutions:
        out_channels = times(layer.expansion, kind.width_name)
        stride = kind.stride if layer.strided else "1"
        found.append(Convolution(in_channels, out_channels, layer.kernel, stride))
        in_channels = out_channels
    return found


def projections(kind: Kind) -> list[Convolution]:
    """The shortcut's convolution, if blocks of this kind have one."""
    if kind.kind.shortcut != "projection" or kind.reshapes == "never":
        return []
    return [Convolution("in_channels", out_channels(kind), 1, kind.stride)]


def out_channels(kind: Kind) -> str:
    """A block's output channels as an expression in its width."""
    return times(kind.kind.expansion, kind.width_name)


def written(network: Network, kinds: Iterable[Kind]) -> list[Convolution]:
    """Every call that the source has, once each."""
    found = [stem_convolution(network)]
    for kind in kinds:
        found += main_path(kind)
        found += projections(kind)
    return found


def repeated_kernels(convolutions: Iterable[Convolution]) -> list[int]:
    """The kernel sizes that are written more than once, and so deserve a name of their own."""
    uses = Counter(convolution.kernel for convolution in convolutions)
    return sorted(kernel for kernel, number in uses.items() if number > 1)
