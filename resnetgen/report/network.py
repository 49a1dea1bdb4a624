"""The table of a network as the paper prints it, and the line above it."""

from resnetgen.ir.network import Network
from resnetgen.ir.summary import Row, rows, total
from resnetgen.report.cells import COUNTS, counted, sized
from resnetgen.report.grid import Bracket, Cell, Column, Grid
from resnetgen.report.row import label, stage_of


def headline(network: Network) -> str:
    """Name, depth and counts."""
    counts = total(network)
    return (
        f"{network.name}: {network.depth} layers, {counts.trainable:,} parameters,"
        f" {counts.macs:,} MACs"
    )


def network_grid(network: Network) -> Grid:
    """A row for the stem, each stage and the head."""
    image = (network.input_channels, *network.input_size)
    return Grid(
        title=f"{headline(network)} at {sized(image)}",
        columns=(
            Column("stage"),
            Column("output", "right", drop=2),
            Column("blocks"),
            Column("shortcuts", drop=1),
            *COUNTS,
        ),
        rows=tuple(_row(row, network) for row in rows(network)),
        totals=(("total", "", "", "", *counted(total(network))),),
    )


def _row(row: Row, network: Network) -> tuple[Cell, ...]:
    # Behind the flatten there is no height and width, but the number of classes.
    output = sized(row.output[1:] or row.output)
    return (label(row), output, _content(row, network), row.shortcuts, *counted(row.counts))


def _content(row: Row, network: Network) -> Cell:
    stage = stage_of(row, network)
    if stage is None:
        return row.content
    first = stage.blocks[0]
    convolutions = tuple(
        f"{conv.kernel}x{conv.kernel}, {conv.out_channels}" for conv in first.convolutions
    )
    return Bracket(row.content, convolutions, len(stage.blocks), first.stride, stage.dilation)
