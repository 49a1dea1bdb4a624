"""One thing that is wrong with a target, and where in the network it is."""

from dataclasses import dataclass

from resnetgen.ir.network import Network
from resnetgen.verify.runners.protocol import SeenRun


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong. `op` names where and `position` orders it in the network, if that is known;
    `run` is the run that showed it."""

    position: int
    op: str | None
    reason: str
    run: SeenRun | None = None
    explains: bool = False
    """Whether it accounts for whatever its op computes, so that a closer look would add nothing."""
    cause: str | None = None
    """What is wrong with the op, where that is known already."""


def positions(network: Network) -> dict[str, int]:
    """Each op's place in the network's order."""
    return {op.name: number for number, op in enumerate(network.ops)}
