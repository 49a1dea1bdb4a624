"""Reads what `torch.save` wrote, as tensors alone: code in a pickle is never run."""

import argparse
import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.child.task import Refused
from resnetgen.diagnostics import quote
from resnetgen.weights.archives import DAMAGES
from resnetgen.weights.readers.budget import Budget

_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "module")
"""Keys under which training scripts keep the state_dict, beside an optimizer's and the like."""
_ARCHIVE = b"PK\3\4"
_STARTS = (_ARCHIVE, b"\x80")
"""Of an archive, and of the pickles that older versions wrote."""
_DEEPEST = 3
"""How far down weights are looked for."""
_AVERAGED = "n_averaged"
"""What torch.optim.swa_utils.AveragedModel counts, beside the module that it keeps."""
_MOST_SHARED = 10
"""How many times the file's own size its tensors may be: several may be views of the same data."""
_NUMBERS = ("Float64", "Float32", "Int64", "Int32", "Bool")
"""NumPy's types of what is measured in training."""
_HINT = "save the weights alone: torch.save(model.state_dict(), FILE)"
_HINT_ON_CODE = f"if you trust where it comes from, load it in PyTorch and {_HINT}"


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the tensors of `file`, or of the mapping at `key` in it, in the safetensors file
    `tensors`."""
    torch = framework("torch")
    path = Path(arguments["file"])
    loaded = _load(torch, path)
    found, where = _unwrapped(torch, loaded, arguments.get("key"))
    found.pop(_AVERAGED, None)
    budget = Budget(_MOST_SHARED * path.stat().st_size)
    for name, tensor in found.items():
        if tensor.is_quantized or tensor.layout != torch.strided:
            kind = "quantized" if tensor.is_quantized else "sparse"
            raise Refused(f"holds a {kind} tensor as {quote(name)}, and weights are dense numbers")
        budget.spend(name, values=tensor.numel(), width=tensor.element_size())
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in found.items()}
    framework("safetensors.torch").save_file(plain, arguments["tensors"])
    return {"remarks": where}


def _load(torch: Any, path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(4)
    if not start.startswith(_STARTS):
        raise Refused("is no file that torch.save wrote")
    if start == _ARCHIVE and not zipfile.is_zipfile(path):
        raise Refused("is damaged: its end is missing, as where a download broke off")
    if start == _ARCHIVE:
        _refuse_other_bytes(path)
    torch.serialization.add_safe_globals(_records())
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported" in str(error).lower():
            raise Refused(f"{_unsafe(str(error))}\n{_HINT_ON_CODE}") from error
        raise _damaged(error) from error
    except Exception as error:  # What a damaged archive makes of PyTorch has no common type.
        if "TorchScript" in str(error):
            raise Refused(f"is a TorchScript archive, which holds code\n{_HINT_ON_CODE}") from error
        raise _damaged(error) from error


def _refuse_other_bytes(path: Path) -> None:
    """Holds the archive to its checksums, which PyTorch does not look at.

    All of them are 0 where it was told not to take any.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            has_checksums = any(entry.CRC for entry in archive.infolist())
            damaged = archive.testzip() if has_checksums else None
    except DAMAGES as error:
        raise _damaged(error) from error
    if damaged is not None:
        raise Refused(f"is damaged: its checksum of {quote(damaged)} is that of other bytes")


def _records() -> list[Any]:
    """What training scripts keep beside the weights and PyTorch alone would refuse, although it is
    data: a best accuracy that is a number of NumPy's, and the command line's arguments."""
    scalar, _ = np.float64(0).__reduce__()
    # Under the first name files have it that were written before NumPy 2.
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    types = [getattr(np.dtypes, f"{each}DType") for each in _NUMBERS]
    return [*scalars, np.dtype, *types, argparse.Namespace]


def _unsafe(message: str) -> str:
    """Which object the file holds, if PyTorch names it."""
    named = message.partition("GLOBAL ")[2].split()
    what = f"the Python object {named[0]}" if named else "Python objects"
    return f"holds {what}, and unpickling that may run any code: it was not read"


def _damaged(error: Exception) -> Refused:
    """What is wrong with a file, in PyTorch's words but without its advice."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    first = text.partition("\n")[0].partition(". This is an internal")[0]
    return Refused(f"is damaged, or not what torch.save wrote: {first or type(error).__name__}")


def _unwrapped(torch: Any, loaded: Any, key: str | None) -> tuple[dict[str, Any], str]:
    """The tensors by name, and what there is to say of where they were found."""
    if not isinstance(loaded, Mapping):
        raise Refused(f"holds a {type(loaded).__name__}, not a state_dict\n{_HINT}")
    sets = _sets(torch, cast(Any, loaded))
    if key is None:
        top = _tensors_of(torch, cast(Any, loaded))
        key = next((each for each in _WRAPPERS if each in sets), None)
        # A number beside the weights, such as a learning rate, is no set of its own.
        if top and (key is None or len(sets[key]) <= len(top)):
            return top, ""
    if key in sets:
        return sets[key], _where(key, sets)
    there = ", ".join(map(quote, sets))
    hint = f"--key reads what lies under one of these: {there}" if there else _HINT
    raise Refused(f"holds no tensors{'' if key is None else f' under {quote(key)}'}\n{hint}")


def _where(key: str, sets: Collection[str]) -> str:
    """Under which key the weights lie, and which others are not read, such as an average's."""
    others = ", ".join(quote(each) for each in sets if each != key)
    unread = f"; not read, unless --key names it: {others}" if others else ""
    return f"the weights lie under {quote(key)}{unread}"


def _sets(torch: Any, loaded: Any, *, depth: int = 1) -> dict[str, dict[str, Any]]:
    """The tensors by name under each text, and under the texts within, joined by dots."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Mapping):
            continue
        if tensors := _tensors_of(torch, value):
            found[key] = tensors
        if depth < _DEEPEST:
            inner = _sets(torch, cast(Any, value), depth=depth + 1)
            found |= {f"{key}.{each}": tensors for each, tensors in inner.items()}
    return found


def _tensors_of(torch: Any, mapping: Any) -> dict[str, Any]:
    if not isinstance(mapping, Mapping):
        return {}
    mapping = cast(Mapping[Any, Any], mapping)
    return {str(key): value for key, value in mapping.items() if isinstance(value, torch.Tensor)}
