"""Emits the model card: the table, the counts, and how to load the network in each framework."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resnetgen.emit.render import render
from resnetgen.emit.source import title
from resnetgen.emit.target import Target
from resnetgen.emit.torchvision import counterpart
from resnetgen.ir.network import Network
from resnetgen.ir.summary import Row, rows, total

FILE = "README.md"


@dataclass(frozen=True, slots=True)
class _Usage:
    """How one framework loads the network."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """All that the template writes."""

    name: str
    summary: str
    license: str | None
    table: tuple[str, ...]
    trainable: str
    buffers: str
    macs: str
    image: str
    torchvision_model: str | None
    has_graph: bool
    """Whether there is an ONNX graph, which points into the weights file."""
    usages: tuple[_Usage, ...]


def card(network: Network, targets: Sequence[Target]) -> str:
    """The Markdown text that describes `network` to somebody who uses `targets`."""
    counts = total(network)
    height, width = network.input_size
    return render(
        "card/README.md.jinja",
        _View(
            name=network.name,
            summary=f"{title(network)}.",
            license=network.license,
            table=tuple(_row(row) for row in rows(network)),
            trainable=f"{counts.trainable:,}",
            buffers=f"{counts.buffers:,}",
            macs=f"{counts.macs:,}",
            image=f"{network.input_channels} x {height} x {width}",
            torchvision_model=counterpart(network),
            has_graph=any(target.name == "onnx" for target in targets),
            usages=tuple(_usages(network, targets)),
        ),
    )


def _usages(network: Network, targets: Sequence[Target]) -> Iterator[_Usage]:
    for target in targets:
        yield _Usage(target.title, target.usage(network))


def _row(row: Row) -> str:
    output = " x ".join(str(size) for size in row.output)
    counts = f"{row.counts.trainable:,} | {row.counts.macs:,}"
    name = f"{row.title} (`{row.name}`)" if row.title else row.name
    return f"| {name} | {output} | {row.content_text} | {row.shortcuts} | {counts} |"
