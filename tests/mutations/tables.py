"""The faults that were written by hand for one network's files each, as mutants."""

from collections.abc import Iterator, Sequence

import faults
import training_faults
from faults import Fault
from verification import CHANNELING, DILATING, SAME, SQUEEZING, TINY

from mutations.kind import Mutant, Target
from resnetgen.verify.result import Level

_PREFIXES: dict[Target, str] = {
    "torch": "TORCH",
    "keras-tensorflow": "KERAS",
    "flax": "FLAX",
    "onnx": "ONNX",
}
HAND_EDITED = (TINY, SQUEEZING, CHANNELING, DILATING, SAME)
"""The specs of the networks whose files they are of."""
_SUFFIXES = ("", "_SQUEEZING", "_CHANNELING", "_DILATING", "_SAME")
"""What the names of their tables end with."""


def table_mutants(target: Target) -> Iterator[Mutant]:
    """All of a target's, those that only training shows included."""
    prefix = _PREFIXES[target]
    for spec, suffix in zip(HAND_EDITED, _SUFFIXES, strict=True):
        table: Sequence[Fault] = getattr(faults, prefix + suffix)
        yield from (_mutant(fault, target, spec, "forward") for fault in table)
    table = getattr(training_faults, prefix, ())
    yield from (_mutant(fault, target, TINY, "train") for fault in table)


def _mutant(fault: Fault, target: Target, spec: str, level: Level) -> Mutant:
    return Mutant(
        kind=fault.name,
        target=target,
        spec=spec,
        layer=fault.layer,
        cause=fault.cause,
        level=level,
        change=fault.edit,
        reason=fault.reason,
        exact=True,
    )
