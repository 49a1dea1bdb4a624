"""Holds a network to the layers and blobs of the authors' Caffe files, which `names/` lists.

A norm of ours is two layers there: a BatchNorm, whose blobs are mean, variance and the factor by
which both are to be divided, and a Scale, whose blobs are gamma and beta.
"""

from collections.abc import Iterator, Mapping
from math import prod

from names_peer import Listing, shape

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Conv2d, Linear, MaxPool2d, Op, Padding
from resnetgen.ir.rules import Shape, parameters
from resnetgen.weights.places import Head, Layer, Main, Side, Stem, layers

Blobs = tuple[str, tuple[Shape, ...]]
"""A layer's name, and the shapes of its blobs in their order."""
FACTOR: Shape = (1,)


def hold(listing: Listing, network: Network) -> int:
    """The file's number of parameters; asserts that ours has its layers, geometry and blobs."""
    places = [(layer, _path(layer, listing)) for layer in layers(network)]
    said = {path: _said(layer.op) for layer, path in places if not layer.is_norm}
    (pool,) = (op for op in network.stem if isinstance(op, MaxPool2d))
    _assert_same({**said, "pool1": _said(pool)}, listing.said)
    theirs = dict(_blobs(listing))
    _assert_same(dict(each for place in places for each in _our_blobs(*place)), theirs)
    weights = (blobs for name, blobs in theirs.items() if not name.startswith("bn"))
    return sum(prod(blob) for blobs in weights for blob in blobs)


def _assert_same(ours: Mapping[str, object], theirs: Mapping[str, object]) -> None:
    differing = sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )
    assert not differing, f"not the same as in Caffe: {', '.join(differing)}"


def _path(layer: Layer, listing: Listing) -> str:
    """Where the listing has such a layer, or the convolution that such a norm is behind."""
    match layer.place:
        case Stem(0, 1):
            return "conv1"
        case Main(stage, block, number):
            return f"{_block(stage, block, listing)}.branch2{'abc'[number]}"
        case Side(stage, block, _):
            return f"{_block(stage, block, listing)}.branch1"
        case Head():
            return "fc1000"
        case _:
            raise AssertionError(f"Caffe's files have no {layer.op.name}")


def _block(stage: int, number: int, listing: Listing) -> str:
    """Stages count from 2; their blocks are a, b, c or a, b1, b2, in the file's order."""
    blocks = dict.fromkeys(path.partition(".")[0] for path in listing.said if "branch" in path)
    of_stage = [block for block in blocks if block.startswith(str(stage + 2))]
    assert number < len(of_stage), f"stage {stage + 2} has {len(of_stage)} blocks"
    return of_stage[number]


def _said(op: Op) -> str:
    """What a listing says of an op, but for the names."""
    match op:
        case Linear():
            return f"{op.out_features}x{op.in_features} biased"
        case Conv2d(padding=Padding(pad)):
            assert op.padding == Padding.symmetric(pad), f"{op.name}: {op.padding}"
            kernel = f"{op.out_channels}x{op.in_channels // op.groups}x{op.kernel}x{op.kernel}"
            return f"{kernel} stride {op.stride} pad {pad}{' biased' if op.bias else ''}"
        case MaxPool2d(padding=Padding(pad)):
            # Caffe rounds the number of windows up, which its files need not say.
            end = pad + op.stride - 1
            assert op.padding == Padding(pad, pad, end, end), f"{op.name}: {op.padding}"
            return f"MAX {op.kernel}x{op.kernel} stride {op.stride} pad {pad}"
        case _:
            raise AssertionError(f"Caffe's files have no {op}")


def _blobs(listing: Listing) -> Iterator[Blobs]:
    for path, said in listing.said.items():
        kernel, *words = said.split()
        if path == "pool1":
            continue
        weight = shape(kernel)
        channels = weight[:1]
        layer, batch_norm, scale = _names(path)
        yield layer, (weight, channels) if "biased" in words else (weight,)
        if len(weight) == 4:
            yield batch_norm, (channels, channels, FACTOR)
            yield scale, (channels, channels)


def _our_blobs(layer: Layer, path: str) -> Iterator[Blobs]:
    shapes = {each.kind: each.shape for each in parameters(layer.op)}
    name, batch_norm, scale = _names(path)
    if layer.is_norm:
        yield batch_norm, (shapes["running_mean"], shapes["running_var"], FACTOR)
        yield scale, (shapes["weight"], shapes["bias"])
    else:
        yield name, tuple(shapes[kind] for kind in ("weight", "bias") if kind in shapes)


def _names(path: str) -> tuple[str, str, str]:
    """What the layer at a listing's path is called, and the BatchNorm and Scale behind it."""
    block, _, branch = path.partition(".")
    if not branch:
        return path, f"bn_{path}", f"scale_{path}"
    end = f"{block}_{branch}"
    return f"res{end}", f"bn{end}", f"scale{end}"
