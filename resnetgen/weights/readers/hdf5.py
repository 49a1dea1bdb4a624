"""Reads Keras's HDF5 files and archives: tensors by their layers' names and what Keras calls them.

Keras 3 keeps a layer's variables by number, in a group whose attribute `name` is the layer's; the
older format lists layers and weights in attributes. Order decides nothing: it changed between
releases.
"""

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.child.task import Refused
from resnetgen.weights.archives import DAMAGES
from resnetgen.weights.readers.budget import Budget

_WEIGHTS = "model.weights.h5"
"""The member of a `.keras` archive."""
_MOST_UNPACKED = 100
"""How many times the file's own size its datasets may be: Keras does not compress."""
_VARIABLES = {
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "conv1d": ("kernel", "bias"),
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "group_normalization": ("gamma", "beta"),
}
"""What Keras 3 numbers in the groups of a layer's class."""
_OF_TRAINING = ("optimizer", "optimizer_weights", "seed_generator")


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the tensors of `file` in the safetensors file `tensors`."""
    h5py = framework("h5py")
    path = Path(arguments["file"])
    try:
        source: Any = _member(path) if zipfile.is_zipfile(path) else path
        with h5py.File(source, "r") as file:
            budget = Budget(_MOST_UNPACKED * path.stat().st_size)
            _refuse_links(h5py, file)
            found = dict(_legacy(file, budget) or _numbered(h5py, file, budget))
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise Refused(f"is no file that Keras wrote: {error}") from error
    if not found:
        raise Refused("holds no weights of Keras layers")
    framework("safetensors.numpy").save_file(found, arguments["tensors"])
    return {"remarks": ""}


def _member(path: Path) -> io.BytesIO:
    try:
        with zipfile.ZipFile(path) as archive:
            if _WEIGHTS not in archive.namelist():
                raise Refused(f"is an archive without {_WEIGHTS}, so not one of Keras's")
            return io.BytesIO(archive.read(_WEIGHTS))
    except DAMAGES as error:
        raise Refused(f"is damaged: {error}") from error


def _refuse_links(h5py: Any, group: Any) -> None:
    """A link to another file would have that read."""
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise Refused(f"has a link at `{group.name}/{name}`, and only its own data is read")
        if isinstance(item := group[name], h5py.Group):
            _refuse_links(h5py, item)


def _legacy(file: Any, budget: Budget) -> dict[str, Any]:
    """Tensors of the format before Keras 3, in a file of weights or of a whole model."""
    root = file.get("model_weights", file)
    found: dict[str, Any] = {}
    for layer in _texts(root.attrs.get("layer_names", ())):
        for name in _texts(root[layer].attrs.get("weight_names", ())):
            # `conv1_conv/kernel:0`, or with the layer's name twice.
            kind = name.rpartition("/")[2].partition(":")[0]
            found[f"{layer}/{kind}"] = _values(root[layer][name], budget)
    return found


def _texts(value: Any) -> list[str]:
    return [each.decode() if isinstance(each, bytes) else str(each) for each in value]


def _numbered(h5py: Any, file: Any, budget: Budget) -> Iterator[tuple[str, Any]]:
    """Tensors of Keras 3, wherever in the file its layers are."""
    for path, variables in _variable_groups(h5py, file, ()):
        if set(path) & set(_OF_TRAINING):
            continue
        layer = str(variables.attrs.get("name", "/".join(path)))
        kind = re.sub(r"_\d+$", "", path[-1]) if path else ""
        names = _VARIABLES.get(kind, ())
        for number in variables:
            known = number.isdecimal() and int(number) < len(names)
            name = names[int(number)] if known else f"vars/{number}"
            yield f"{layer}/{name}", _values(variables[number], budget)


def _variable_groups(
    h5py: Any, group: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The groups named `vars`, and where each is."""
    for name in group:
        item = group[name]
        if isinstance(item, h5py.Group) and name == "vars":
            yield path, item
        elif isinstance(item, h5py.Group):
            yield from _variable_groups(h5py, item, (*path, name))


def _values(dataset: Any, budget: Budget) -> Any:
    if dataset.external or dataset.is_virtual:
        raise Refused(f"keeps the data of `{dataset.name}` in another file, which is not read")
    budget.spend(dataset.name, values=dataset.size, width=dataset.dtype.itemsize)
    return np.ascontiguousarray(dataset[()])
