"""Which runners there are: records named by entry points, so that other packages can add some."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec

from resnetgen.verify.runners.protocol import Request
from resnetgen.verify.runners.recorder import Recorder

_GROUP = "resnetgen.runners"
_OUR_ORDER = ("torch", "keras", "onnx")


@dataclass(frozen=True, slots=True)
class Runner:
    """How one target is run. Only `run` imports the framework, in a process of its own."""

    target: str
    file: str
    """The file of the model's directory that it runs."""
    requires: Mapping[str, str]
    """The modules that must be importable, and which extra of resnetgen brings each."""
    environment: Mapping[str, str]
    """Variables that must be set before the framework starts."""
    default: bool
    """Whether it is due when nobody names a target."""
    run: Callable[[Request, Recorder], None]
    beside: tuple[str, ...] = ()
    """Other files of the directory that it reads and judges, where they are there."""

    @property
    def files(self) -> tuple[str, ...]:
        """All files that it judges."""
        return (self.file, *self.beside)


def targets() -> tuple[str, ...]:
    """All targets that can be named: ours in the order of emission, then other people's."""
    return tuple(sorted(entry_points(group=_GROUP).names, key=_rank))


def runner(target: str) -> Runner:
    """The runner of a target that `targets` lists."""
    (found,) = entry_points(group=_GROUP, name=target)
    loaded = found.load()
    assert isinstance(loaded, Runner), f"{target}: {found.value} is no runner"
    return loaded


def unavailable(target: str) -> str | None:
    """Why the target cannot run here, as far as can be told without starting it."""
    for module, extra in runner(target).requires.items():
        if find_spec(module) is None:
            return f"{module} is not installed: install resnetgen[{extra}]"
    return None


def _rank(target: str) -> tuple[int, str]:
    framework = target.partition("-")[0]
    ours = framework in _OUR_ORDER
    return (_OUR_ORDER.index(framework) if ours else len(_OUR_ORDER), target)
