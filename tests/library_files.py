"""Damages weights files that a library parses: all of one ending in a process of their own.

The readers run there and not in another process for each file, as they do for a user.
"""

import multiprocessing
import random
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

from damage import (
    CHANGES,
    FLAX_CHANGES,
    SMALL,
    Finding,
    damage,
    damaged,
    read_as,
    read_weights,
    small,
    weights_of,
)

from resnetgen.child import process, task
from resnetgen.child.launch import Ended
from resnetgen.weights.origins import ORIGINS

_CONVERTED = {
    ".pth": "torch",
    ".weights.h5": "keras",
    ".keras": "keras",
    ".onnx": "onnx",
}
_MSGPACK = ".msgpack"
ENDINGS = (*_CONVERTED, _MSGPACK)
_MOST_MEMORY = 16 * 2**30
"""In bytes of addresses: what wants more than the frameworks and a small file is a finding."""
_TO_MSGPACK = """
import sys
from flax.serialization import msgpack_serialize
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file
tree = unflatten_dict(load_file(sys.argv[1]), sep="/")
open(sys.argv[2], "wb").write(msgpack_serialize(tree))
"""


def originals(ending: str, weights: Sequence[bytes]) -> list[bytes]:
    """Two small networks' weights as files of a library; `weights` are those of `CHANGES`."""
    if ending == _MSGPACK:
        return [_of_flax(changes) for changes in FLAX_CHANGES]
    # To convert takes seconds, and other networks' files are no other files to their libraries.
    pairs = list(zip(weights, CHANGES, strict=True))[:2]
    return [_converted(ending, *pair) for pair in pairs]


def _converted(ending: str, weights: bytes, changes: Sequence[str]) -> bytes:
    spec = ["--spec", SMALL, *(each for change in changes for each in ("--set", change))]
    with tempfile.TemporaryDirectory() as name:
        given, out = Path(name, "given.safetensors"), Path(name, f"net{ending}")
        given.write_bytes(weights)
        _run("-m", "resnetgen", "convert", given, *spec, "--to", _CONVERTED[ending], "-o", out)
        return out.read_bytes()


def _of_flax(changes: Sequence[str]) -> bytes:
    (flax,) = (each for each in ORIGINS if each.name == "flax")
    names = flax.tensors(small(changes))
    with tempfile.TemporaryDirectory() as name:
        given, out = Path(name, "given.safetensors"), Path(name, f"net{_MSGPACK}")
        given.write_bytes(weights_of({each.name: each.shape for each in names.values()}))
        _run("-c", _TO_MSGPACK, given, out)
        return out.read_bytes()


def damage_all(
    ending: str, files: Sequence[bytes], *, count: int, random_seed: int
) -> tuple[Counter[str], list[Finding]]:
    """As `damage`; a process that dies is a finding, with the file that it read last."""
    with tempfile.TemporaryDirectory() as folder:
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawning) as pool:
            done = pool.submit(_damage_here, ending, files, count, random_seed, folder)
            try:
                return done.result()
            except BrokenProcessPool as error:
                last = next(Path(folder).rglob(f"damaged{ending}")).read_bytes()
                return Counter(finding=1), [{"of": ending, "what": f"{error}\n{last!r}"}]


def _damage_here(
    ending: str, files: Sequence[bytes], count: int, random_seed: int, folder: str
) -> tuple[Counter[str], list[Finding]]:
    tempfile.tempdir = folder
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    task.launch = _launch_here

    read = read_weights
    if ending == _MSGPACK:
        read = partial(read_as, [small(changes) for changes in FLAX_CHANGES])
    for number, original in enumerate(files):
        path = Path(folder, f"original{number}{ending}")
        path.write_bytes(original)
        assert read(path) == "valid", f"nothing is read of {path.name} as it is"

    def make(chance: random.Random) -> bytes:
        return damaged(chance.choice(files), chance, files)

    return damage(ending, ending, make, read, count=count, random_seed=random_seed)


def _launch_here(module: str, scratch: Path, **_: object) -> Ended:
    assert module == process.__name__
    log = scratch / "log.txt"
    with log.open("w") as file, redirect_stderr(file), redirect_stdout(file):
        process.main(scratch)
    return Ended(0, log)


def _run(*arguments: object) -> None:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
