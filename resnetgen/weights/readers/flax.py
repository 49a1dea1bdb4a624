"""Reads what Flax serializes: a tree of variables, each of which is called by its path there."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from resnetgen.child.framework import framework
from resnetgen.child.task import Refused

_OF_TRAINING = ("step", "opt_state", "dynamic_scale")
"""What a state of training keeps beside the variables."""


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the tensors of `file` in the safetensors file `tensors`."""
    serialization = framework("flax.serialization")
    data = Path(arguments["file"]).read_bytes()
    try:
        tree = serialization.msgpack_restore(data)
    except Exception as error:  # What a damaged file makes of msgpack has no common type.
        raise Refused(
            f"is no file that Flax wrote: {str(error) or type(error).__name__}"
        ) from error
    if not isinstance(tree, Mapping):
        raise Refused(f"holds a {type(tree).__name__}, not a tree of variables")
    variables = cast(Mapping[Any, Any], tree)
    kept = {key: value for key, value in variables.items() if key not in _OF_TRAINING}
    found = {"/".join(path): values for path, values in _leaves(kept, ())}
    if not found:
        raise Refused("holds no variables of Flax")
    framework("safetensors.numpy").save_file(found, arguments["tensors"])
    return {"remarks": ""}


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The arrays of a tree and their paths; a number that is none is not a weight."""
    if isinstance(tree, Mapping):
        for key, value in cast(Mapping[Any, Any], tree).items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(tree, np.ndarray):
        values = cast(NDArray[Any], tree)
        # The type bfloat16 is JAX's own, which safetensors does not take for one of NumPy's.
        brief = values.dtype.name == "bfloat16"
        yield path, np.ascontiguousarray(values.astype(np.float32) if brief else values)
