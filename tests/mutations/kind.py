"""A kind of fault, described once, and the mutants that it makes of networks."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from verification import edited_graph

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op
from resnetgen.verify.result import Level

Target = Literal["torch", "keras-tensorflow", "flax", "onnx"]
TARGETS: tuple[Target, ...] = ("torch", "keras-tensorflow", "flax", "onnx")
FILES: dict[Target, str] = {
    "torch": "model_torch.py",
    "keras-tensorflow": "model_keras.py",
    "flax": "model_flax.py",
    "onnx": "model.onnx",
}
Edit = Callable[[Op, Any], Any]
"""Puts the fault into an op: gives the changed text of a source, or changes a graph in place."""


@dataclass(frozen=True)
class Kind:
    """One way to get an op wrong, and what a verifier has to say of it.

    `hits` are the ops of a network that the edits can put it into, each of them being the first
    that goes wrong; without an edit a target cannot suffer it.
    """

    name: str
    hits: Callable[[Network], Iterable[Op]]
    cause: str
    """Words of the cause, or of the reason where that says all."""
    torch: Edit | None = None
    keras: Edit | None = None
    flax: Edit | None = None
    onnx: Edit | None = None
    level: Level = "forward"
    becomes: Callable[[Op], Op] | None = None
    """The op that the fault makes of an op, for the kinds that may change nothing."""

    def edit(self, target: Target) -> Edit | None:
        return {
            "torch": self.torch,
            "keras-tensorflow": self.keras,
            "flax": self.flax,
            "onnx": self.onnx,
        }[target]


@dataclass(frozen=True)
class Mutant:
    """A network's file for one target, or another that `file` names, with one fault in one op.

    `layer` is that op's name, or None where a run breaks off and all that it showed is right;
    `cause` has the words of what is to be found, where any cause is known, and `reason` words of
    the reason for the verdict, where no other would do.
    """

    kind: str
    target: Target
    spec: str
    layer: str | None
    cause: str | None
    level: Level
    change: Callable[[Any], Any]
    becomes: Op | None = None
    file: str | None = None
    reason: str | None = None
    exact: bool = False
    """Whether no other layer may be named beside it, and no reason stands for the cause."""

    def write(self, directory: Path) -> None:
        """Puts the fault into the file in the directory."""
        path = directory / (self.file or FILES[self.target])
        if path.suffix == ".py":
            path.write_text(self.change(path.read_text()))
        elif path.suffix == ".safetensors":
            path.write_bytes(self.change(path.read_bytes()))
        else:
            with edited_graph(directory) as model:
                self.change(model)


def mutants(
    kinds: Iterable[Kind], networks: Mapping[str, Network], target: Target, *, most: int
) -> Iterator[Mutant]:
    """Every kind in at most so many of the networks, by spec, that can suffer it: in another op of
    each.

    Which ones they are is spread over networks and ops by a hash of the names.
    """
    for kind in kinds:
        edit = kind.edit(target)
        if edit is None:
            continue
        able = [
            (network.name, spec, ops)
            for spec, network in networks.items()
            if (ops := tuple(kind.hits(network)))
        ]
        able.sort(key=lambda each: _hash(kind.name, each[0]))
        for name, spec, ops in able[:most]:
            op = ops[_hash(name, kind.name) % len(ops)]
            yield Mutant(
                kind=kind.name,
                target=target,
                spec=spec,
                layer=op.name,
                cause=kind.cause,
                level=kind.level,
                change=partial(edit, op),
                becomes=kind.becomes(op) if kind.becomes else None,
            )


def _hash(*names: str) -> int:
    return zlib.crc32(" ".join(names).encode())
