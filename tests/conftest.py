"""The command line as a fixture, and a run without frameworks for machines that have none."""

import sys
from pathlib import Path

import draws
import pytest
from commands import Run, runner
from hypothesis import settings

# The same examples at each run, so that what fails is what was changed; make fuzz looks for more.
settings.load_profile("ci")

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax", "onnxruntime", "torchvision", "timm")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-frameworks",
        action="store_true",
        help="make every framework unimportable, and skip the tests that run them in processes",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "frameworks: runs frameworks in processes of their own")
    if config.getoption("--without-frameworks"):
        # None makes an import fail as if the module were not there.
        sys.modules.update(dict.fromkeys(FRAMEWORKS))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--without-frameworks"):
        skipped = pytest.mark.skip(reason="runs without frameworks")
        for item in items:
            if item.get_closest_marker("frameworks"):
                item.add_marker(skipped)


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    draws.restart()


@pytest.fixture
def resnetgen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """Runs the command line in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)
    return runner(capsys, monkeypatch)
