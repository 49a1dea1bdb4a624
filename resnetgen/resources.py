"""Where the templates and the bundled specs lie: in the wheel, or at the top of a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def templates_directory() -> Path:
    """The folder with one subfolder of Jinja templates per target."""
    return _locate("templates")


def specs_directory() -> Path:
    """The folder of the specs that ship with resnetgen."""
    return _locate("specs")


def _locate(name: str) -> Path:
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name
