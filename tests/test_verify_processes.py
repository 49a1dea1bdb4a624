"""What becomes of a runner's process is a result of its target, and nothing is left behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import verification as in_one_process
from verification import SMALL, files, network_of

from resnetgen.ir.network import Network
from resnetgen.verify.check import Options, verify
from resnetgen.verify.result import TargetResult, Verification

FAITHFUL = """
def build():
    return lambda name, value: value
"""

HANGING = """
import subprocess, time
child = subprocess.Popen(["sleep", "600"])
with open({note!r}, "w") as note:
    print(child.pid, file=note)
time.sleep(600)
"""


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """A small network, and another package's runner installed."""
    packages = Path(__file__).parent / "other_runner"
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    return network_of(SMALL, tmp_path)


def judged(network: Network, folder: Path, model: str, *, timeout: float = 60.0) -> Verification:
    directory = files(network, folder / "built", spec=SMALL)
    (directory / "model_other.py").write_text(f'__all__ = ["build"]\n{model}')
    options = Options(("other",), timeout=timeout)
    return verify(network, directory, options=options, progress=lambda *_: None)


def failed(verification: Verification) -> TargetResult:
    result = verification.targets["other"]
    assert verification.status == result.status == "failed"
    return result


def test_another_package_brings_a_runner(network: Network, tmp_path: Path) -> None:
    verdict = judged(network, tmp_path, FAITHFUL)

    result = verdict.targets["other"]
    assert (verdict.status, result.reason) == ("passed", None)
    assert result.output_shape == (2, 3)
    assert result.runs[0].values > 0
    assert result.runs[0].max_rel_diff == 0.0


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("import os\nos._exit(0)", "ended with exit code 0 before it gave a result"),
        ("import os\nos._exit(7)", "ended with exit code 7 before it gave a result"),
        ("import os\nos.kill(os.getpid(), 9)", "was ended by signal SIGKILL"),
        ("import os\nos.abort()", "was ended by signal SIGABRT"),
        ("print('last words', flush=True)\nimport os\nos._exit(1)", "it printed: last words"),
        ("def build():\n    return None", "TypeError: 'NoneType' object is not callable"),
        ("def build():\n    raise ValueError('no such thing')", "ValueError: no such thing"),
        ("build = 1", "TypeError: 'int' object is not callable"),
        ("def build(", "SyntaxError"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        (
            "import os\nopen('report.json', 'w').write('[1')\nos._exit(0)",
            "left a report that cannot be read",
        ),
    ],
)
def test_a_broken_file_is_its_targets_failure(
    model: str, reason: str, network: Network, tmp_path: Path
) -> None:
    result = failed(judged(network, tmp_path, model))

    assert result.reason is not None
    assert reason in result.reason
    assert str(tmp_path) not in result.reason


def test_a_hanging_process_is_ended_with_all_it_started(network: Network, tmp_path: Path) -> None:
    note = tmp_path / "child"
    model = HANGING.format(note=str(note))
    started = time.monotonic()
    result = failed(judged(network, tmp_path, model, timeout=3.0))

    assert result.reason == "gave no result within 3 s, the limit that --timeout sets"
    assert time.monotonic() - started < 30
    assert not _lives(int(note.read_text()))


def test_nothing_outlives_whoever_asked_for_the_run(network: Network, tmp_path: Path) -> None:
    note = tmp_path / "child"
    directory = files(network, tmp_path / "built", spec=SMALL)
    (directory / "model_other.py").write_text(HANGING.format(note=str(note)))
    command = [sys.executable, in_one_process.__file__, "--processes", "other", str(directory)]
    asking = subprocess.Popen(command, start_new_session=True)
    _wait_until(lambda: note.exists() and note.read_text().endswith("\n"))
    child = int(note.read_text())
    asking.kill()
    asking.wait()

    _wait_until(lambda: not _lives(child))


def test_what_a_file_prints_is_no_result(network: Network, tmp_path: Path) -> None:
    noise = "import os\nfor _ in range(100):\n    os.write(1, b'{\"outcome\": \\xff' * 1000)\n"

    assert judged(network, tmp_path, noise + FAITHFUL).status == "passed"


@pytest.mark.parametrize(
    ("expression", "layer", "words"),
    [
        ("value * float('nan')", "conv1", "is not finite"),
        ("value + (name == 'layer1.1.act') * 1e-9", "layer1.1.act", "is off by"),
        ("value[:, :-1] if name == 'bn1' else value", "bn1", "has shape"),
    ],
)
def test_wrong_values_are_found_where_they_start(
    expression: str, layer: str, words: str, network: Network, tmp_path: Path
) -> None:
    model = f"def build():\n    return lambda name, value: {expression}"
    result = failed(judged(network, tmp_path, model))

    assert result.first_divergence == layer
    assert result.reason is not None
    assert words in result.reason


def test_a_missing_framework_is_not_a_failure(network: Network, tmp_path: Path) -> None:
    directory = files(network, tmp_path / "built", spec=SMALL)
    (directory / "model_other.py").write_text(f'__all__ = ["build"]\n{FAITHFUL}')
    verification = verify(
        network, directory, options=Options(("other", "missing")), progress=lambda *_: None
    )

    assert verification.status == "partial"
    assert verification.targets["missing"].reason == (
        "no_such_framework is not installed: install resnetgen[all]"
    )


def test_a_file_that_is_not_there_is_a_failure(network: Network, tmp_path: Path) -> None:
    directory = files(network, tmp_path / "built", spec=SMALL)
    verification = verify(network, directory, options=Options(("other",)), progress=lambda *_: None)

    assert failed(verification).reason == "model_other.py is not there"


def test_weights_of_another_network_are_a_failure(network: Network, tmp_path: Path) -> None:
    directory = files(network, tmp_path / "built", spec=SMALL)
    (directory / "model_other.py").write_text(f'__all__ = ["build"]\n{FAITHFUL}')
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    verification = verify(network, directory, options=Options(("other",)), progress=lambda *_: None)

    reason = failed(verification).reason
    assert reason == "model.safetensors: the data of layer1.1.conv2.weight lies outside the file"


def _lives(pid: int) -> bool:
    """Whether the process is there and is no zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
