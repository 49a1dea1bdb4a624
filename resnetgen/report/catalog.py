"""The list of networks that ship with resnetgen."""

import re
from collections.abc import Mapping
from pathlib import Path

from resnetgen.ir.network import Network
from resnetgen.ir.summary import total
from resnetgen.report.cells import COUNTS, counted, sized
from resnetgen.report.facts import Facts, network_facts
from resnetgen.report.grid import Column, Grid
from resnetgen.spec.load import shipped_as

_NUMBER = re.compile(r"([0-9]+)")


def catalog_grid(networks: Mapping[Path, Network]) -> Grid:
    """A row for each spec's file and the network that it describes."""
    return Grid(
        title="Bundled specs",
        columns=(
            Column("name"),
            Column("depth", "right"),
            *COUNTS,
            Column("input", "right"),
            Column("file", drop=1),
        ),
        rows=tuple(
            (
                network.name,
                str(network.depth),
                *counted(total(network)),
                sized((network.input_channels, *network.input_size)),
                shipped_as(path),
            )
            for path, network in _sorted(networks)
        ),
    )


def catalog_facts(networks: Mapping[Path, Network]) -> list[Facts]:
    """The same as JSON."""
    return [
        {
            **network_facts(network),
            "input": [network.input_channels, *network.input_size],
            "file": str(path),
        }
        for path, network in _sorted(networks)
    ]


def _sorted(networks: Mapping[Path, Network]) -> list[tuple[Path, Network]]:
    """By folder, and there by name, whose numbers count as such: resnet18 before resnet101."""

    def key(item: tuple[Path, Network]) -> tuple[Path, list[str | int]]:
        # Texts and numbers take turns, so that neither is compared with the other.
        parts = _NUMBER.split(item[1].name)
        return item[0].parent, [int(part) if part.isdigit() else part for part in parts]

    return sorted(networks.items(), key=key)
