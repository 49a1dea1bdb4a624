"""Emits a network as files, one module and one template folder per target."""

from collections.abc import Sequence

from resnetgen.emit.card import FILE as CARD_FILE
from resnetgen.emit.card import card
from resnetgen.emit.target import Target, targets
from resnetgen.ir.network import Network
from resnetgen.records import SPEC

__all__ = ["Target", "emit", "source", "targets"]


def emit(
    network: Network, *, names: Sequence[str], spec_yaml: str, described: Sequence[str]
) -> dict[str, bytes]:
    """The files of `build` but the weights and the manifest: content by file name.

    `names` are targets' names, and so are the `described`, of which the model card speaks.
    """
    files: dict[str, bytes] = {}
    for name in names:
        files.update(targets()[name].emit(network))
    files[SPEC] = spec_yaml.encode()
    files[CARD_FILE] = card(network, [targets()[name] for name in described]).encode()
    return files


def source(network: Network, name: str) -> str:
    """The file of target `name` that a person reads."""
    target = targets()[name]
    return target.emit(network)[target.source].decode()
