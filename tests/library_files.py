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
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from damage import SMALL, Finding, damage, damaged, read_weights

from resnetgen.child import process, task
from resnetgen.child.launch import Ended

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
from safetensors.numpy import load_file
tree = {"params": {}, "batch_stats": {}}
for name, values in load_file(sys.argv[1]).items():
    kind = "batch_stats" if ".running_" in name else "params"
    layer, _, tensor = name.rpartition(".")
    tree[kind].setdefault(layer, {})[tensor] = values
open(sys.argv[2], "wb").write(msgpack_serialize(tree))
"""


def originals(weights: bytes, changes: Sequence[str]) -> Mapping[str, bytes]:
    """The weights of a small network as a file of each library, by ending."""
    spec = ["--spec", SMALL, *(each for change in changes for each in ("--set", change))]
    made: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as name:
        given = Path(name, "given.safetensors")
        given.write_bytes(weights)
        for ending, target in _CONVERTED.items():
            out = given.with_name(f"net{ending}")
            _run("-m", "resnetgen", "convert", given, *spec, "--to", target, "-o", out)
            made[ending] = out.read_bytes()
        out = given.with_name(f"net{_MSGPACK}")
        _run("-c", _TO_MSGPACK, given, out)
        made[_MSGPACK] = out.read_bytes()
    return made


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

    def make(chance: random.Random) -> bytes:
        return damaged(chance.choice(files), chance, files)

    return damage(ending, ending, make, read_weights, count=count, random_seed=random_seed)


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
