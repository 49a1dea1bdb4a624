"""Says which versions of other people's packages a result was found with."""

import platform
from importlib.metadata import packages_distributions, version


def versions(*modules: str) -> str:
    """Python's and those of the modules that are installed, whatever their packages are called."""
    packages = packages_distributions()
    found = (f"{each} {version(packages[each][0])}" for each in modules if each in packages)
    return ", ".join((f"Python {platform.python_version()}", *found))
