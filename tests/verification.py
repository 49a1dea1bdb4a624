"""A small network's files to verify, and a way to run many verifications in one process."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from resnetgen.emit import emit
from resnetgen.ir.network import Network
from resnetgen.lower import lower
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import load
from resnetgen.verify import target
from resnetgen.verify.check import Options, verify
from resnetgen.verify.document import Level
from resnetgen.verify.runners import process
from resnetgen.verify.runners.protocol import (
    Report,
    Request,
    read_report,
    report_path,
    request_path,
)
from resnetgen.verify.runners.protocol import write as write_message
from resnetgen.verify.runners.registry import runner
from resnetgen.weights.file import write
from resnetgen.weights.initial import initial
from resnetgen.weights.layout import layout

# Three kinds of block: projected, with an identity, and padded with zero channels.
TINY = """
name: tiny
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 7, stride: 2, pool: max}
block: bottleneck
stages:
  - {name: a, repeats: 2, width: 4, stride: 1}
  - {name: b, repeats: 1, width: 4, stride: 2}
  - {name: c, repeats: 1, width: 24, stride: 2, block: basic, shortcut: zero_pad}
"""

# No strides, so that its images are small.
SMALL = """
name: small
input: {channels: 1, size: 8}
classes: 3
stem: {width: 4, kernel: 3, stride: 1, pool: none}
block: basic
stages:
  - {name: only, repeats: 2, width: 4, stride: 1}
"""

# Attention and what strides in a convolution's place: squeeze-and-excitation with a blur.
SQUEEZING = """
name: squeezing
input: {channels: 3, size: 16}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
attention: se
anti_alias: blur
stages:
  - {name: a, repeats: 1, width: 32, stride: 1}
  - {name: b, repeats: 1, width: 32, stride: 2}
"""
# And efficient channel attention with average pools.
CHANNELING = (
    SQUEEZING.replace("squeezing", "channeling")
    .replace("attention: se", "attention: eca")
    .replace("anti_alias: blur", "anti_alias: avg")
)
# So deep that fresh weights drive its gates to their ends.
DEEP_SQUEEZING = """
name: deep
input: {channels: 3, size: 32}
classes: 10
stem: {width: 16, kernel: 3, stride: 1, pool: none}
block: bottleneck
attention: se
stages:
  - {name: a, repeats: 60, width: 16, stride: 1}
"""
# A stage that dilates, whose shortcut has a pool in the place of the one that would have strided.
DILATING = """
name: dilating
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 3, stride: 2, pool: max}
block: basic
downsample: avg
output_stride: 8
stages:
  - {name: a, repeats: 1, width: 8, stride: 2}
  - {name: b, repeats: 2, width: 12, stride: 2}
"""
# SAME padding of what strides behind the stem's convolution, with a 3x3 in the shortcut, too.
SAME = """
name: same
input: {channels: 3, size: 32}
classes: 10
dialect: flax
stem: {width: 8, kernel: 7, stride: 2, pool: max}
block: basic
projection_kernel: 3
stages:
  - {name: a, repeats: 1, width: 8, stride: 1}
  - {name: b, repeats: 1, width: 12, stride: 2}
"""


def network_of(text: str, folder: Path) -> Network:
    """The network that a spec's text describes."""
    path = folder / "spec.yaml"
    path.write_text(text)
    return lower(load(str(path)).spec)


def files(network: Network, directory: Path, *, spec: str = TINY, weights: bool = True) -> Path:
    """What `build` writes into the directory, but the manifest."""
    directory.mkdir(parents=True)
    source = directory / "spec.yaml"
    source.write_text(spec)
    spec_yaml = to_yaml(load(str(source)).spec)
    names = ("torch", "keras", "flax", "onnx")
    made = emit(network, names=names, spec_yaml=spec_yaml, described=names)
    for name, content in made.items():
        (directory / name).write_bytes(content)
    if weights:
        write(directory / "model.safetensors", layout(network), tensors=initial(network, seed=0))
    return directory


@contextmanager
def edited_graph(directory: Path) -> Generator[Any]:
    """The graph of the directory, which is written as it is then, without its text: that the graph
    is not what that says would give each edit away."""
    import onnx

    path = directory / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    yield model
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".onnxtxt").unlink()


def verify_together(
    name: str,
    directories: Sequence[Path],
    *,
    level: Level = "forward",
    seeds: Sequence[int] | None = None,
) -> dict[str, Mapping[str, Any]]:
    """Verifies one target of each directory, all in one new process; results by folder name.

    A framework is imported once instead of twice for each directory, and never into the tests'
    own process. Without `seeds`, one for each directory, all have 0.
    """
    each = seeds or [0] * len(directories)
    pairs = (str(part) for pair in zip(each, directories, strict=True) for part in pair)
    command = [sys.executable, __file__, name, level, *pairs]
    environment = {
        **os.environ,
        **runner(name).environment,
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _launch_here(request: Request, **_: object) -> Report:
    scratch = Path(request.scratch)
    write_message(request_path(scratch), request)
    process.main(scratch)
    return read_report(report_path(scratch))


def _main(name: str, level: Level, seeded: Sequence[str]) -> None:
    results: dict[str, object] = {}
    for seed, directory in zip(map(int, seeded[::2]), map(Path, seeded[1::2]), strict=True):
        network = lower(load(str(directory / "spec.yaml")).spec)
        options = Options((name,), level=level, seed=seed, jobs=1)
        verification = verify(network, directory, options=options, progress=lambda *_: None)
        results[directory.name] = verification.targets[name].to_json()
    print(json.dumps(results))


if __name__ == "__main__":
    # Each in processes of its own, as always, or all here.
    if sys.argv[1] == "--processes":
        _main(sys.argv[2], "forward", sys.argv[3:])
    else:
        target.launch = _launch_here
        _main(sys.argv[1], cast(Level, sys.argv[2]), sys.argv[3:])
