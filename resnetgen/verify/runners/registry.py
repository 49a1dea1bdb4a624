"""Which runners there are: records named by entry points, so that other packages can add some."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Literal

from resnetgen import plugins
from resnetgen.child.framework import missing
from resnetgen.ir.network import Network
from resnetgen.verify.dtypes import Dtype

# Both import NumPy, and completing a target's name does not need it.
if TYPE_CHECKING:
    from resnetgen.verify.runners.protocol import Request
    from resnetgen.verify.runners.recorder import Recorder

_GROUP = "resnetgen.runners"
_OUR_ORDER = ("torch", "keras-tensorflow", "keras-jax", "keras-torch", "flax", "onnx")

Due = Literal["always", "where_installed", "never"]
Variance = Literal["biased", "unbiased"]


def _nothing(_network: Network, _dtype: Dtype) -> None:
    """Of a framework that computes in what it is given."""


@dataclass(frozen=True, slots=True)
class Runner:
    """How one target is run. Only `run` imports the framework, in a process of its own."""

    target: str
    file: str | None
    """The file of the model's directory that it runs; None where the model is somebody else's."""
    requires: Mapping[str, str]
    """The modules that must be importable, and which extra of resnetgen brings each."""
    environment: Mapping[str, str]
    """Variables that must be set before the framework starts."""
    due: Due
    """When it runs though nobody named it."""
    run: "Callable[[Request, Recorder], None]"
    running_variance: Variance | None = None
    """Which variance of a batch its batch norms keep, of n values: the mean square of deviations,
    or n / (n - 1) times that. None where it computes inference alone."""
    beside: tuple[str, ...] = ()
    """Other files of the directory that it reads and judges, where they are there."""
    widens: Callable[[Network, Dtype], str | None] = _nothing
    """Says which op of a network the framework computes in a wider dtype than it is given, if it
    does: the network is then not run in that dtype."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files that it judges."""
        return self.beside if self.file is None else (self.file, *self.beside)


class BrokenRunnerError(Exception):
    """A package's runner cannot be used; the message names the package and says why."""


def targets() -> tuple[str, ...]:
    """All targets that can be named: ours in the order of emission, then other people's."""
    return plugins.names(_GROUP, ours=_OUR_ORDER)


def runner(target: str) -> Runner:
    """The runner of a target that `targets` lists, or of somebody's MODULE:FUNCTION.

    Raises BrokenRunnerError.
    """
    if ":" in target:
        from resnetgen.verify.runners.peer import peer

        return peer(target)
    found = _entry_point(target)
    try:
        loaded: object = found.load()
    except Exception as error:  # Other people's code is run here, and may raise anything.
        reason = f"{found.value} of {plugins.package(found)} cannot be loaded"
        raise BrokenRunnerError(f"{reason}: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, Runner):
        kind = type(loaded).__name__
        raise BrokenRunnerError(f"{found.value} of {plugins.package(found)} is {kind}, not Runner")
    return loaded


def is_due(target: str) -> bool:
    """Whether the target runs where its file is there and nobody names targets.

    One whose runner is broken is due: who installed it will want to know.
    """
    try:
        found = runner(target)
    except BrokenRunnerError:
        return True
    match found.due:
        case "always":
            return True
        case "where_installed":
            return missing(found.requires) is None
        case "never":
            return False


def unavailable(target: str) -> str | None:
    """Why the target cannot run here, as far as can be told without starting it."""
    try:
        return missing(runner(target).requires)
    except BrokenRunnerError as error:
        return str(error)


def _entry_point(target: str) -> EntryPoint:
    """The one that names the target's runner: ours, or else the only one."""
    chosen = plugins.candidates(_GROUP, target)
    if len(chosen) > 1:
        names = " and ".join(sorted(map(plugins.package, chosen)))
        raise BrokenRunnerError(
            f"{names} each bring a runner named {target}: uninstall all but one"
        )
    return chosen[0]
