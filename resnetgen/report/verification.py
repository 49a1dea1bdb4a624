"""What a verification found, as a table and as sentences."""

import math
from collections.abc import Iterator, Mapping, Sequence

from resnetgen.diagnostics import listed
from resnetgen.report.cells import sized
from resnetgen.report.grid import Column, Grid
from resnetgen.verify.result import TargetResult, TrainingFigures, Verification


def verification_grid(name: str, verification: Verification) -> Grid:
    """A row for each target; differences are relative to the reference's largest value.

    The bound is that of what is computed forwards; that of gradients is among the remarks.
    """
    gradients = verification.level == "train"
    return Grid(
        title=f"{name} against its spec",
        columns=(
            Column("target"),
            Column("status"),
            Column("device", drop=2),
            Column("dtype", drop=3),
            Column("params", "right", drop=4),
            Column("output", "right", drop=1),
            Column("difference", "right"),
            Column("bound", "right"),
            *((Column("gradients", "right"),) if gradients else ()),
        ),
        rows=tuple(
            (*_row(target, result), *((_gradients(result),) if gradients else ()))
            for target, result in verification.targets.items()
        ),
    )


def remarks(verification: Verification) -> Iterator[str]:
    """What is wrong with a target, or why it did not run, a line each."""
    for target, result in verification.targets.items():
        if result.first_divergence is not None:
            cause = "" if result.cause is None else f": {_clause(result.cause)}"
            yield f"{target}: the first wrong layer is {result.first_divergence}{cause}"
        if result.reason is not None:
            yield f"{target}: {result.reason}"
    trained = [each.training for each in verification.targets.values() if each.training]
    if trained:
        yield from _of_training(trained[0])
    if (peer := verification.reference) in verification.targets:
        yield f"the others are compared with what {peer} computes, and that with the spec"
    if verification.ran:
        for each in verification.left_out:
            yield f"left out {each.case}: {each.reason}"
    if verification.ran and not verification.certifies and verification.unwritten is None:
        why = "no target gave a result"
        if verification.changed:
            why = f"{listed(verification.changed)} changed meanwhile"
        yield f"no certificate was written: {why}"
    if verification.weights == "absent" and verification.ran:
        yield "there is no model.safetensors: fresh weights were used"


def verdict(verification: Verification) -> str:
    """One line that says how it went."""
    targets = verification.targets
    passed = [name for name, result in targets.items() if result.status == "passed"]
    failed = [name for name, result in targets.items() if result.status == "failed"]
    not_run = [name for name, result in targets.items() if result.status == "not_run"]
    agree = "agrees" if len(passed) == 1 else "agree"
    extent = {"shapes": " in shapes", "forward": "", "train": ", in training too"}
    narrow = f" in {verification.narrow}" if verification.narrow else ""
    parts = (
        [f"{listed(passed)} {agree} with the spec{narrow}{extent[verification.level]}"]
        if passed
        else []
    )
    parts += [f"{listed(failed)} failed"] if failed else []
    parts += [f"{listed(not_run)} did not run"] if not_run else []
    if not verification.ran:
        parts.insert(0, "nothing was proven, and no certificate was written")
    return f"{verification.status}: {'; '.join(parts)}"


def summary_grid(verifications: Mapping[str, Verification]) -> Grid:
    """A row for each network and a column for each target."""
    targets = list(dict.fromkeys(name for each in verifications.values() for name in each.targets))
    return Grid(
        title=f"{len(verifications)} networks",
        columns=(
            Column("network"),
            Column("status"),
            # All or none: those that are left would look like all.
            *(Column(target, drop=1) for target in targets),
        ),
        rows=tuple(
            (name, each.status, *(_state(each.targets.get(target)) for target in targets))
            for name, each in verifications.items()
        ),
    )


def _row(target: str, result: TargetResult) -> tuple[str, ...]:
    widest = result.widest
    return (
        target,
        _state(result),
        result.device,
        widest.dtype if widest else "",
        "" if result.params is None else f"{result.params:,}",
        "" if result.output_shape is None else sized(result.output_shape),
        f"{widest.max_rel_diff:.1e}" if widest and math.isfinite(widest.max_rel_diff) else "",
        f"{widest.bound:.1e}" if widest else "",
    )


def _gradients(result: TargetResult) -> str:
    """The largest difference of all steps."""
    return f"{max(each.max_rel_diff for each in result.training):.1e}" if result.training else ""


def _of_training(steps: Sequence[TrainingFigures]) -> Iterator[str]:
    """What is the same for all targets: what the reference itself was measured to do."""
    first, *scaled = steps
    line = (
        f"training: gradients are held to {first.bound:.1e} of their scale; moving images and "
        f"norms' inputs by one part in 1e15 moves them by {first.conditioning:.1e}"
    )
    for figures in scaled:
        line += f", with images times {figures.scale:g} by {figures.conditioning:.1e}"
        if figures.bound != first.bound:
            line += f" (held to {figures.bound:.1e})"
    yield line
    if switched_off := first.switched_off:
        number = len(switched_off)
        layers = (
            "layer that draws at random was" if number == 1 else "layers that draw at random were"
        )
        yield f"training: {number} {layers} switched off"


def _clause(cause: str) -> str:
    """A cause as a clause: one that begins with its verb is about the layer."""
    first = cause.split(maxsplit=1)[0]
    return f"it {cause}" if first.endswith("s") and first != "its" else cause


def _state(result: TargetResult | None) -> str:
    return "" if result is None else result.status.replace("_", " ")
