"""The list of networks that ship with resnetgen."""

import os
from collections.abc import Mapping
from pathlib import Path

from resnetgen.ir.network import Network
from resnetgen.ir.summary import total
from resnetgen.report.cells import COUNTS, counted, sized
from resnetgen.report.facts import Facts, network_facts
from resnetgen.report.grid import Column, Grid


def catalog_grid(networks: Mapping[Path, Network]) -> Grid:
    """A row for each spec's file and the network that it describes."""
    return Grid(
        title="Bundled specs",
        columns=(
            Column("name"),
            Column("depth", "right"),
            *COUNTS,
            Column("input", "right"),
            Column("file"),
        ),
        rows=tuple(_row(path, network) for path, network in _sorted(networks)),
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
    """By input, family and variant, then by depth rather than by the digits' order."""

    def key(item: tuple[Path, Network]) -> tuple[int, str, str, int]:
        network = item[1]
        family, _, variant = network.name.partition("_")
        return (-network.input_size[0], family.rstrip("0123456789"), variant, network.depth)

    return sorted(networks.items(), key=key)


def _row(path: Path, network: Network) -> tuple[str, ...]:
    return (
        network.name,
        str(network.depth),
        *counted(total(network)),
        sized((network.input_channels, *network.input_size)),
        _shown(path),
    )


def _shown(path: Path) -> str:
    """The path from here, if it lies below here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
