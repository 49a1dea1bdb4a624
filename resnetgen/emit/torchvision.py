"""Which networks torchvision has a model of, with the same parameters and the same function."""

from collections.abc import Mapping
from dataclasses import fields

from resnetgen.digests import sha256
from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op

_MOST_BLOCKS = 50
_UNSEEN = {"init", "momentum", "zero_gamma"}
"""What neither the parameters' names and shapes nor a trained model's output depend on."""

MODELS: Mapping[str, str] = {
    "532ee08931dccc3e": "resnet18",
    "ef80660752ec957b": "resnet34",
    "c75d95ace8d0090e": "resnet50",
    "52b8096b69427e89": "resnet101",
    "ed65463290ff5926": "resnet152",
    "696632111a48648d": "resnext50_32x4d",
    "2e9db510dba404a0": "resnext101_32x8d",
    "8fe548a0948d4d1a": "resnext101_64x4d",
    "f2de425b39395248": "wide_resnet50_2",
    "6594e8b639548ef6": "wide_resnet101_2",
}
"""Fingerprints of torchvision's models. A test computes them from the bundled specs."""


def counterpart(network: Network) -> str | None:
    """The name of torchvision's model that has this network's parameters and function, if any."""
    if sum(1 for _ in network.blocks) > _MOST_BLOCKS:
        return None
    return MODELS.get(fingerprint(network))


def fingerprint(network: Network) -> str:
    """The same for networks whose trained weights are interchangeable, whatever their names."""
    lines = "\n".join(map(_line, network.ops))
    return sha256(lines.encode())[:16]


def _line(op: Op) -> str:
    attributes = (
        f"{each.name}={getattr(op, each.name)}" for each in fields(op) if each.name not in _UNSEEN
    )
    return f"{type(op).__name__} {' '.join(attributes)}"
