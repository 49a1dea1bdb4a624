"""Finds the cases that a narrow type can run, and in which it would prove something."""

from dataclasses import replace

from resnetgen.ir.network import Network
from resnetgen.verify.bounded import Beyond, walk_within
from resnetgen.verify.cases import Case, KnownCase, LeftOut
from resnetgen.verify.compare import beyond_proof, part
from resnetgen.verify.conditioning import narrow_growths
from resnetgen.verify.dtypes import FORMATS, Dtype
from resnetgen.verify.rounding import rounded
from resnetgen.verify.stored import Stored

_HEADROOM = 4
"""How many times a value has to fit into a type, since what a layer adds up on the way to it may be
larger than what it gives."""


def largest_value(dtype: Dtype) -> float:
    """What no value of a case may exceed."""
    return FORMATS[dtype].largest / _HEADROOM


def fit(network: Network, case: Case, stored: Stored, *, dtype: Dtype) -> KnownCase | LeftOut:
    """The case in a narrow type; `stored` gives tensors that are rounded to it."""
    if dtype not in case.dtypes:
        return LeftOut(case, f"{dtype} does not hold an image that is so small")
    case = replace(case, image=rounded(case.image, dtype))
    run = walk_within(network, case, stored.tensors, largest=largest_value(dtype))
    if isinstance(run, Beyond):
        held = f"{dtype} ends at {FORMATS[dtype].largest:.1e}"
        return LeftOut(case, f"{run.op} reaches {run.peak:.1e}, and {held}")
    growths = narrow_growths(network, case, stored, dtype=dtype, values=run.values)
    for name, growth in growths.items():
        if (lost := beyond_proof(dtype, growth=growth)) is not None:
            moved = f"rounding may move {name} by {part(lost)}"
            return LeftOut(case, f"{moved}, and nothing would be proven")
    return KnownCase(case, run.values, growths)
