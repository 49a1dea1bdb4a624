"""Reads a network's weights from a file of another library: tensors in our layout, and remarks."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetgen.diagnostics import Diagnostic, DiagnosticError, Span, quote
from resnetgen.ir.network import Network
from resnetgen.ir.ops import BatchNorm2d, GroupNorm
from resnetgen.spec.model import ModelSpec
from resnetgen.weights.checkpoint import Checkpoint, Single
from resnetgen.weights.customs import otherwise
from resnetgen.weights.initial import initial
from resnetgen.weights.layout import layout
from resnetgen.weights.match import MOST_LISTED, Match, match
from resnetgen.weights.open import opened
from resnetgen.weights.reordering import Reordering, reorderings


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """A network's weights from a file; those of a head for other classes come from `seed`."""

    network: Network
    checkpoint: Checkpoint
    match: Match
    seed: int | None

    @property
    def format(self) -> str:
        """The word for whose names the file has."""
        return self.match.origin.name

    @property
    def fresh_seed(self) -> int | None:
        """The seed, if any tensor is drawn from it."""
        return self.seed if self.match.fresh and self.seed is not None else None

    def remarks(self, spec: ModelSpec) -> Iterator[str]:
        """What was found out and decided, a line each; the network is that of `spec`."""
        file = self.checkpoint.file
        prefix = f", behind {quote(self.match.prefix)}" if self.match.prefix else ""
        yield f"{file}: {self.match.origin.title}{prefix}"
        yield from (f"{file}: {remark}" for remark in self.checkpoint.remarks)
        for kind, number in sorted(self._converted().items()):
            yield f"{file}: {number:,} tensors converted from {kind} to float32"
        if self.match.origin.zeros_around and self._reordered():
            yield (
                f"{file}: channels reordered, since these ports put half of a shortcut's zeros in "
                "front"
            )
        if unlike := otherwise(self.match.origin, spec):
            yield f"{file}: {unlike}"
        if self.fresh_seed is not None:
            names, classes = ", ".join(self.match.fresh), self.match.classes
            theirs = "no head" if classes is None else f"{classes:,}"
            yield (
                f"{names}: initialized anew for {self.network.classes:,} classes, the file has "
                f"{theirs}"
            )

    def tensors(self) -> Iterator[Single]:
        """All tensors in the layout's order."""
        reordered = self._reordered()
        drawn = self._drawn()
        for entry in layout(self.network).entries:
            if entry.name in drawn:
                yield drawn[entry.name]
                continue
            foreign = self.match.foreign[entry.name]
            found = self.checkpoint.tensors[self.match.prefix + foreign.name]
            values = found.single().transpose(foreign.axes)
            for each in reordered.get(entry.name, ()):
                values = np.take(values, each.order, axis=each.axis)
            yield values

    def _reordered(self) -> Mapping[str, tuple[Reordering, ...]]:
        is_reordered = self.match.origin.zeros_around and _pads_channels(self.network)
        return reorderings(self.network) if is_reordered else {}

    def _drawn(self) -> dict[str, Single]:
        if self.fresh_seed is None:
            return {}
        names = [entry.name for entry in layout(self.network).entries]
        drawn = zip(names, initial(self.network, seed=self.fresh_seed), strict=True)
        return {name: tensor for name, tensor in drawn if name in self.match.fresh}

    def _converted(self) -> Counter[str]:
        """How many tensors are of which other kind of floating-point numbers."""
        tensors = self.checkpoint.tensors
        kinds = (tensors[self.match.prefix + each.name] for each in self.match.foreign.values())
        return Counter(each.floats or "" for each in kinds if each.floats != "float32")


@contextmanager
def loaded(
    path: Path,
    network: Network,
    *,
    origin: str | None,
    seed: int | None,
    key: str | None = None,
) -> Generator[LoadedWeights]:
    """The network's weights in the file at `path`, which can be read within.

    `key` is that of the mapping to read, where the file holds several; `origin` names whose names
    to expect instead of finding out. With a `seed`, a head for another number of classes, or none,
    is initialized anew. Raises a DiagnosticError with all that does not fit.
    """
    batch_norm = any(isinstance(op, BatchNorm2d) for op in network.ops)
    with opened(path, batch_norm=batch_norm, key=key) as checkpoint:
        matched = match(network, checkpoint, origin=origin, fresh_head=seed is not None)
        _refuse_values(checkpoint, matched)
        _refuse_mixed_groups(checkpoint, matched, network)
        yield LoadedWeights(network, checkpoint, matched, seed)


def _refuse_values(checkpoint: Checkpoint, matched: Match) -> None:
    """Raises a DiagnosticError for tensors that hold no finite floating-point numbers, or negative
    variances."""
    wrong: list[str] = []
    for ours, foreign in matched.foreign.items():
        tensor = checkpoint.tensors[matched.prefix + foreign.name]
        if tensor.floats is None:
            wrong.append(f"{quote(foreign.name)} holds no floating-point numbers: {tensor.dtype}")
            continue
        values = tensor.single()
        if not np.isfinite(values).all():
            wrong.append(f"{quote(foreign.name)} is not finite in float32")
        elif ours.endswith(".running_var") and (values < 0).any():
            wrong.append(f"{quote(foreign.name)} is negative, and a variance")
    if wrong:
        place = Span.of_file(checkpoint.file)
        shown = wrong[:MOST_LISTED]
        if len(wrong) > len(shown):
            shown.append(f"so are {len(wrong) - len(shown):,} more tensors")
        raise DiagnosticError([Diagnostic("bad-values", message, place) for message in shown])


def _refuse_mixed_groups(checkpoint: Checkpoint, matched: Match, network: Network) -> None:
    """Raises a DiagnosticError where channels in another order would fall into other groups."""
    grouped = any(isinstance(op, GroupNorm) for op in network.ops)
    if not (matched.origin.zeros_around and grouped and _pads_channels(network)):
        return
    message = (
        f"{matched.origin.title}: such files put half of a shortcut's zeros in front, and group "
        "norms would take other channels together"
    )
    expected = "a network with batch norms, or one with projections"
    place = Span.of_file(checkpoint.file)
    raise DiagnosticError.of("mixed-groups", message, place, expected=expected)


def _pads_channels(network: Network) -> bool:
    return any(block.shortcut == "zero_pad" for block in network.blocks)
