"""Which networks torchvision has a model of, with the same parameters and the same function."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op

_MOST_BLOCKS = 50
_UNSEEN = {"init", "momentum", "zero_gamma"}
"""What neither the parameters' names and shapes nor a trained model's output depend on."""

MODELS: Mapping[str, str] = {
    "e5d0be3213836b34": "resnet18",
    "522bd63f924ace44": "resnet34",
    "e946b918f9a4ede2": "resnet50",
    "01bedc29cd84e8ab": "resnet101",
    "003cd01d340f2503": "resnet152",
    "17ebc66458094c3c": "resnext50_32x4d",
    "b7c94a8f6d81d4e9": "resnext101_32x8d",
    "ddbc4d487c4fa4b8": "resnext101_64x4d",
    "289008fb46846a66": "wide_resnet50_2",
    "5fd41d71e61695f9": "wide_resnet101_2",
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
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _line(op: Op) -> str:
    attributes = (
        f"{each.name}={getattr(op, each.name)}" for each in fields(op) if each.name not in _UNSEEN
    )
    return f"{type(op).__name__} {' '.join(attributes)}"
