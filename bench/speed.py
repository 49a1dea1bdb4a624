"""Times resnetgen as whole processes and prints a table beside its limits and its peers.

    python bench/speed.py [--runs N] [--json FILE] [--skip-verify]

Each figure is the median of N runs after one that is not counted, each build of them into a folder
of its own, since one that finds its files there replaces nothing; memory is the largest peak of any
run. The peers are measured in the same call: an empty Python process, and PyTorch's own way to
an ONNX file (torchvision's ResNet-50 through `torch.onnx.export`).
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESNETGEN = (sys.executable, "-m", "resnetgen")
NO_WEIGHTS = ("--no-verify", "--no-weights")
EXPORT = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from peers import torchvision_models
import torch
model = torchvision_models().resnet50().eval()
torch.onnx.export(model, (torch.zeros(1, 3, 224, 224),), sys.argv[1], dynamo=False)
"""
PASSES = """
import time
from resnetgen.emit import emit, targets
from resnetgen.lower import lower
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.load import load
import onnx.parser, jinja2
names = sorted(targets())
emit(lower(load("resnet18").spec), names=names, spec_yaml="", described=names)
start = time.perf_counter()
spec = load("resnet50").spec
emit(lower(spec), names=names, spec_yaml=to_yaml(spec), described=names)
print(time.perf_counter() - start)
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement: seconds and MiB, with the limit that the project sets itself, if any."""

    name: str
    seconds: float
    fastest: float
    slowest: float
    peak_mib: float
    limit_seconds: float | None


def main() -> None:
    """Measures, prints, and writes the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--skip-verify", action="store_true", help="leave out the full build")
    arguments = parser.parse_args()

    figures = measure(arguments.runs, verify=not arguments.skip_verify)
    passes = statistics.median(passes_seconds() for _ in range(arguments.runs))
    for line in table(figures):
        print(line)
    print(f"\nResNet-50's passes inside a warm process: {passes * 1000:.0f} ms (limit 50 ms)")
    by_name = {figure.name: figure for figure in figures}
    ours, theirs = by_name["build resnet50 --no-verify"], by_name["peer: torch.onnx.export"]
    print(f"build --no-verify against torch.onnx.export: {ours.seconds / theirs.seconds:.2f}")
    scaling = [by_name[f"{blocks} blocks"] for blocks in BLOCKS]
    base = by_name["3 blocks"].seconds
    for blocks, figure in zip(BLOCKS[1:], scaling[1:], strict=True):
        per_block = (figure.seconds - base) / blocks
        print(f"{blocks:,} blocks: {per_block * 1e6:.0f} us a block beyond start-up")
    if arguments.json is not None:
        document = {
            "command": " ".join(("python bench/speed.py", *sys.argv[1:])),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "runs": arguments.runs,
            "passes_seconds": passes,
            "figures": [asdict(figure) for figure in figures],
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


BLOCKS = (3, 300, 3000, 9999)


def measure(runs: int, *, verify: bool) -> list[Figure]:
    """All whole-process figures."""
    with tempfile.TemporaryDirectory() as folder:
        figures = [
            figure("python -c pass", (sys.executable, "-c", "pass"), runs),
            figure("--help", (*RESNETGEN, "--help"), runs, limit=0.3),
            figure(
                "build resnet50 --no-verify --no-weights",
                (*RESNETGEN, "build", "resnet50", *NO_WEIGHTS),
                runs,
                parent=folder,
                limit=0.6,
            ),
            figure(
                "build resnet50 --no-verify",
                (*RESNETGEN, "build", "resnet50", "--no-verify"),
                runs,
                parent=folder,
                limit=2,
            ),
            figure(
                "build resnet1202 --no-verify --no-weights",
                (*RESNETGEN, "build", "resnet1202", *NO_WEIGHTS),
                runs,
                parent=folder,
                limit=2,
            ),
        ]
        for blocks in BLOCKS:
            override = ("--set", f"depth={2 * blocks + 2}", "--set", f"name=resnet{2 * blocks + 2}")
            command = (*RESNETGEN, "build", "resnet20", *override, *NO_WEIGHTS)
            figures.append(figure(f"{blocks} blocks", command, runs, parent=folder))
        export = (sys.executable, "-W", "ignore", "-c", EXPORT, f"{folder}/peer.onnx")
        figures.append(figure("peer: torch.onnx.export", export, runs))
        if verify:
            few = min(runs, 3)
            run((*RESNETGEN, "build", "resnet50", "--no-verify", "--output", folder))
            three = ("--target", "torch,keras-tensorflow,onnx")
            command = (*RESNETGEN, "verify", f"{folder}/resnet50", *three)
            figures.append(figure("verify resnet50 in three frameworks", command, few, limit=30))
            command = (*RESNETGEN, "build", "resnet50")
            name = "build resnet50, verified everywhere"
            figures.append(figure(name, command, few, parent=folder))
    return figures


def figure(
    name: str,
    command: Sequence[str],
    runs: int,
    *,
    limit: float | None = None,
    parent: str | None = None,
) -> Figure:
    """Runs `command` once for warmth and `runs` times for the record.

    It is a build where a `parent` is given, below which each run has a new folder to write to.
    """
    measured: list[tuple[float, float]] = []
    for _ in range(runs + 1):
        out = () if parent is None else ("--output", tempfile.mkdtemp(dir=parent))
        measured.append(run((*command, *out)))
    del measured[0]
    seconds = [wall for wall, _ in measured]
    return Figure(
        name=name,
        seconds=statistics.median(seconds),
        fastest=min(seconds),
        slowest=max(seconds),
        peak_mib=max(peak for _, peak in measured),
        limit_seconds=limit,
    )


def run(command: Sequence[str]) -> tuple[float, float]:
    """Wall seconds and peak MiB of one process, as the operating system accounts for it."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}\n{errors.decode()}")
    return wall, usage.ru_maxrss / 1024


def passes_seconds() -> float:
    """The compiler's passes for ResNet-50, once all modules and templates are loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PASSES], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def table(figures: Sequence[Figure]) -> list[str]:
    """The figures as Markdown."""
    lines = [
        "| process | median s | min | max | limit s | peak MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for one in figures:
        limit = "" if one.limit_seconds is None else f"{one.limit_seconds:g}"
        lines.append(
            f"| {one.name} | {one.seconds:.2f} | {one.fastest:.2f} | {one.slowest:.2f}"
            f" | {limit} | {one.peak_mib:.0f} |"
        )
    return lines


if __name__ == "__main__":
    main()
