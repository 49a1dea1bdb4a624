"""Networks of libraries that are not installed here: `names/` has the names and shapes they give.

Those were read off the libraries' public sources, and know nothing of ours.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from resnetgen.ir.rules import Shape
from resnetgen.weights.safetensors import COUNTER

FOLDER = Path(__file__).parent / "names"
_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Listing:
    """A network of one of these libraries."""

    spec: str
    """The bundled spec, and behind it what makes it this network."""
    overrides: tuple[str, ...]
    said: Mapping[str, str]
    """What the file says of each tensor or layer, by its path."""


def listings(library: str) -> dict[str, Listing]:
    """All that the library's file has, by the library's names for them."""
    document = YAML(typ="safe").load(FOLDER / f"{library}.yaml")
    return {
        name: Listing(entry.pop("spec"), tuple(entry.pop("overrides", ())), dict(_said(entry)))
        for name, entry in document.items()
    }


def tensors(listing: Listing) -> dict[str, Shape]:
    """What a file of the network's weights holds, where the library writes PyTorch's."""
    found: dict[str, Shape] = {}
    for path, said in listing.said.items():
        if path.endswith(".*"):
            norm = path.removesuffix(".*")
            found |= {f"{norm}.{kind}": shape(said) for kind in _NORM}
            found[f"{norm}{COUNTER}"] = ()
        else:
            found[path] = shape(said)
    return found


def drawn(shapes: Mapping[str, Shape]) -> dict[str, NDArray[np.float32]]:
    """A value for each tensor; none is negative, since some are variances."""
    random = np.random.default_rng(0)
    return {name: np.asarray(random.random(each, np.float32)) for name, each in shapes.items()}


def trainable(shapes: Mapping[str, Shape]) -> int:
    """How many parameters these tensors hold together, statistics not counted."""
    statistics = ("running_mean", "running_var", COUNTER)
    return sum(prod(each) for name, each in shapes.items() if not name.endswith(statistics))


def shape(said: str) -> Shape:
    """Of `64x3x7x7`: (64, 3, 7, 7)."""
    return tuple(int(extent) for extent in said.split("x"))


def _said(entry: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, content in entry.items():
        for path in _unfolded(key):
            match content:
                case dict():
                    yield from ((f"{path}.{leaf}", str(said)) for leaf, said in content.items())
                case _:
                    yield path, str(content)


def _unfolded(key: str) -> Iterable[str]:
    """Of `layer1.[0-2]`: `layer1.0`, `layer1.1` and `layer1.2`; letters likewise."""
    folded = re.fullmatch(r"(.*)\[(\w+)-(\w+)\]", key)
    if folded is None:
        return (key,)
    stem, first, last = folded.groups()
    if first.isdigit():
        return (f"{stem}{number}" for number in range(int(first), int(last) + 1))
    return (f"{stem}{chr(letter)}" for letter in range(ord(first), ord(last) + 1))
