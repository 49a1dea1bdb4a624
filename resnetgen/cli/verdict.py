"""What build and verify share: which targets are due, how a verdict prints, and its exit code."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnetgen.cli.printing import (
    BAD_INPUT,
    FAILED,
    NOT_INSTALLED,
    PASSED,
    console,
    diagnose,
    diagnostic_facts,
    print_grids,
    say,
)
from resnetgen.diagnostics import listed
from resnetgen.verify.dtypes import FORMATS

if TYPE_CHECKING:
    from resnetgen.certificates import Proof
    from resnetgen.verify.result import TargetResult, Verification


def runners_of(named: Sequence[str], made: Collection[str]) -> tuple[str, ...]:
    """The runners that are due where the targets `named` made files: Keras has one per backend.

    Nobody knows what a broken one runs, unless it has a target's name.
    """
    from resnetgen.verify.runners import registry

    def runs_one(name: str) -> bool:
        try:
            return registry.runner(name).file in made
        except registry.BrokenRunnerError:
            return name in named

    return tuple(name for name in registry.targets() if registry.is_due(name) and runs_one(name))


def print_verdict(name: str, verification: "Verification", *, building: bool) -> None:
    """The table of targets, what there is to say about them, and the verdict.

    Where nothing could run, also what to do about that; and what kept the certificate from being
    written.
    """
    from rich.text import Text

    from resnetgen.report.terminal import STYLES
    from resnetgen.report.verification import remarks, verdict, verification_grid

    print_grids([verification_grid(name, verification)])
    screen = console()
    for remark in remarks(verification):
        screen.print(remark, soft_wrap=True)
    text = Text(verdict(verification), STYLES[verification.status])
    screen.print(text, soft_wrap=True)
    if not verification.ran and (ways := list(_ways_out(verification, building=building))):
        say(f"hint: {', or '.join(ways)}")
    if (unwritten := verification.unwritten) is not None:
        diagnose([unwritten], unwritten.render(), as_json=False)


def verification_facts(verification: "Verification | None") -> dict[str, object]:
    """What the JSON of a network has of its verification, if there was one."""
    if verification is None:
        return {"verification": {"status": "not_run"}}
    found: dict[str, object] = {"verification": verification.to_json()}
    if verification.unwritten is not None:
        found["diagnostics"] = [diagnostic_facts(verification.unwritten)]
    return found


def exit_code(verifications: Iterable["Verification"], *, named: Sequence[str]) -> int:
    """1 where a target failed, 3 where one that was named is not installed, 2 where a certificate
    could not be written, else by status."""
    from resnetgen.verify.runners import registry

    found = list(verifications)
    if any(result.status == "failed" for each in found for result in each.targets.values()):
        return FAILED
    if any(registry.unavailable(name) is not None for name in named):
        return NOT_INSTALLED
    if any(each.unwritten is not None for each in found):
        return BAD_INPUT
    return FAILED if any(each.status == "failed" for each in found) else PASSED


def announce_losses(
    path: Path, proven: Mapping[str, "Proof"], verification: "Verification", *, way_out: str
) -> None:
    """Names what the certificate before proved of targets that this one says less about."""
    if not verification.certifies:
        return
    lost: dict[str, list[str]] = {}
    for name, before in proven.items():
        if _says_less(verification, name, before):
            lost.setdefault(_how(verification, name, before), []).append(name)
    if not lost:
        return
    passed = ", and ".join(f"{listed(names)} had passed{how}" for how, names in lost.items())
    say(f"{path}: replaced one in which {passed}; {way_out}")


def _how(verification: "Verification", name: str, before: "Proof") -> str:
    """In what a target's proof before went beyond what it was now asked for."""
    how = f" at the level {before.level}" if before.level != verification.level else ""
    result = verification.targets.get(name)
    if result is not None and _is_narrower(result, before):
        how += f" in {before.dtype}"
    if _lacks_weights(verification, before):
        how += " with the weights that were here"
    return how


def _says_less(verification: "Verification", name: str, before: "Proof") -> bool:
    from resnetgen.verify.result import LEVELS

    if name not in verification.targets:
        return True
    result = verification.targets[name]
    # One that was seen to be wrong is in the table; one that gave no result proves nothing.
    if result.status != "passed" and not result.parameters_compared:
        return True
    beyond = LEVELS[LEVELS.index(verification.level) + 1 :]
    narrower = _is_narrower(result, before)
    return before.level in beyond or narrower or _lacks_weights(verification, before)


def _lacks_weights(verification: "Verification", before: "Proof") -> bool:
    return before.has_weights and verification.weights == "absent"


def _is_narrower(result: "TargetResult", before: "Proof") -> bool:
    """Whether it was compared in a dtype with fewer digits than before."""
    now = result.widest
    if now is None or before.dtype is None:
        return False
    return FORMATS[now.dtype].digits < FORMATS[before.dtype].digits


def _ways_out(verification: "Verification", *, building: bool) -> Iterator[str]:
    """What lets a command succeed none of whose targets could run."""
    from resnetgen.verify.runners import registry

    results = verification.targets.items()
    missing = {name for name, _ in results if registry.unavailable(name) is not None}
    if missing:
        yield "install what is missing"
    if any(result.device != "cpu" for name, result in results if name not in missing):
        yield "run on --device cpu"
    if building:
        yield "give --no-verify to write the files alone"
