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
    "1b0b9cabc59cbc3e": "resnet18",
    "8624541fba1a0a46": "resnet34",
    "7009805a459fdbf1": "resnet50",
    "aab6d7cb7041c29d": "resnet101",
    "9971372b71e9288c": "resnet152",
    "0fff301263b383a5": "resnext50_32x4d",
    "a3d3d6922b0d161f": "resnext101_32x8d",
    "09eff40505daee31": "resnext101_64x4d",
    "d665561e9e2a40ea": "wide_resnet50_2",
    "533dcdea3e0cddf9": "wide_resnet101_2",
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
