"""What becomes of a runner's process is a result of its target, and nothing is left behind."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import verification as in_one_process
from verification import SMALL, files, network_of

from resnetgen.ir.network import Network
from resnetgen.verify.certificate import certificate
from resnetgen.verify.check import Options, of_what_stayed, verify
from resnetgen.verify.dtypes import Dtype
from resnetgen.verify.observed import boundaries
from resnetgen.verify.result import Level, TargetResult, Verification
from resnetgen.verify.runners.registry import runner

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


def faithful(network: Network, folder: Path, *, spec: str = SMALL) -> Path:
    directory = files(network, folder / "built", spec=spec)
    (directory / "model_other.py").write_text(f'__all__ = ["build"]\n{FAITHFUL}')
    return directory


def verified(
    network: Network, directory: Path, *targets: str, dtype: Dtype | None = None
) -> Verification:
    options = Options(targets or ("other",), dtype=dtype)
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
    # BLAS may sum in another order where it has another number of threads.
    assert result.runs[0].max_rel_diff < 1e-15
    (run,) = certificate(verdict, network)["targets"]["other"]["runs"]
    assert set(run["max_rel_diff_at"]) == set(boundaries(network))
    assert max(run["max_rel_diff_at"].values()) == result.runs[0].max_rel_diff


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("import os\nos._exit(0)", "ended with exit code 0 before it gave a result"),
        ("import os\nos._exit(7)", "ended with exit code 7 before it gave a result"),
        (
            "import os\nos.kill(os.getpid(), 9)",
            "was killed (SIGKILL), perhaps for want of memory, before it gave a result",
        ),
        ("import os\nos.abort()", "was ended by signal SIGABRT"),
        ("import os\nos.kill(os.getpid(), 40)", "was ended by signal 40"),
        ("print('last words', flush=True)\nimport os\nos._exit(1)", "it printed: last words"),
        ("def build():\n    return None", "TypeError: 'NoneType' object is not callable"),
        ("def build():\n    raise ValueError('no such thing')", "ValueError: no such thing"),
        (
            "def build():\n    raise ValueError('\\x1b[1mbold\\x1b[0m, \\x1b]0;title\\x07')",
            "ValueError: bold, \\x1b]0;title\\x07",
        ),
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


@pytest.mark.parametrize(
    "raised",
    [
        "MemoryError('1 TiB')",
        "OSError(28, 'No space left on device')",
        'RuntimeError("[enforce fail] DefaultCPUAllocator: can\'t allocate memory: 9 bytes")',
        "type('XlaRuntimeError', (RuntimeError,), {})('RESOURCE_EXHAUSTED: Out of memory')",
        "type('ResourceExhaustedError', (Exception,), {})('OOM when allocating tensor')",
    ],
)
def test_a_machine_that_is_too_small_says_nothing_of_the_file(
    raised: str, network: Network, tmp_path: Path
) -> None:
    verification = judged(network, tmp_path, f"def build():\n    raise {raised}")

    result = failed(verification)
    assert result.reason is not None
    assert result.reason.startswith("memory or disk came to an end here: model_other.py:3: ")
    assert not verification.certifies


def test_a_hanging_process_is_ended_with_all_it_started(network: Network, tmp_path: Path) -> None:
    note = tmp_path / "child"
    model = HANGING.format(note=str(note))
    result = failed(judged(network, tmp_path, model, timeout=10.0))

    assert result.reason == "gave no result within 10 s, the limit that --timeout sets"
    assert not _lives(int(note.read_text()))


def test_nothing_outlives_whoever_asked_for_the_run(network: Network, tmp_path: Path) -> None:
    note = tmp_path / "child"
    directory = files(network, tmp_path / "built", spec=SMALL)
    (directory / "model_other.py").write_text(HANGING.format(note=str(note)))
    command = [sys.executable, in_one_process.__file__, "--processes", "other", "0", str(directory)]
    asking = subprocess.Popen(command, start_new_session=True)
    _wait_until(lambda: note.exists() and note.read_text().endswith("\n"))
    child = int(note.read_text())
    asking.kill()
    asking.wait()

    _wait_until(lambda: not _lives(child))


def test_what_a_framework_puts_into_the_temporary_folder_goes(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("TMPDIR", str(scratch))
    litter = "import tempfile\nopen(tempfile.mkstemp()[1], 'w').close()\n"
    assert judged(network, tmp_path, litter + FAITHFUL).status == "passed"
    assert list(scratch.iterdir()) == []


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


@pytest.mark.parametrize("tensor", ["bn1.bias", "layer1.1.conv2.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(
    tensor: str, value: float, network: Network, tmp_path: Path
) -> None:
    directory = faithful(network, tmp_path)
    put(directory / "model.safetensors", tensor, value)

    assert failed(verified(network, directory)).reason == (
        f"model.safetensors: {tensor} is not finite"
    )


def test_finite_weights_that_give_nothing_finite_are_no_frameworks_fault(
    network: Network, tmp_path: Path
) -> None:
    directory = faithful(network, tmp_path)
    put(directory / "model.safetensors", "bn1.running_var", -1.0)

    assert failed(verified(network, directory)).reason == (
        "model.safetensors: these weights make bn1 NaN or infinite"
    )


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    """The table of a weights file, and its data."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(text: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + data


def put(path: Path, tensor: str, value: float) -> None:
    """Overwrites the tensor's first number."""
    table, data = header(path)
    offset = len(path.read_bytes()) - len(data) + table[tensor]["data_offsets"][0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(np.float32(value).tobytes())


def endless(path: Path) -> None:
    """A hole that claims to be a header."""
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 10**8 + 1))
        file.truncate(10**8 + 9)


def unreadable(path: Path) -> None:
    """Reading from address 0 of a process is an error for root, too."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def overlapping(path: Path) -> None:
    table, data = header(path)
    table["bn1.bias"]["data_offsets"] = table["bn1.weight"]["data_offsets"]
    path.write_bytes(with_header(json.dumps(table), data))


def shaped(extent: str) -> Callable[[Path], None]:
    facts = f'{{"dtype": "F32", "shape": [{extent}], "data_offsets": [0, 0]}}'
    return lambda path: path.write_bytes(with_header(f'{{"conv1.weight": {facts}}}')) and None


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda path: path.write_bytes(with_header('{"a": ' + "[" * 10**5)),
            "is no safetensors file: its header is too deep",
        ),
        (endless, "is no safetensors file: its header is too long"),
        (unreadable, "cannot be read: Input/output error"),
        (shaped("1e400"), "is no safetensors file: inf is no natural number"),
        (shaped("-1"), "is no safetensors file: -1 is no natural number"),
        (shaped("1.5"), "is no safetensors file: 1.5 is no natural number"),
        (overlapping, "the data of bn1.bias and bn1.weight overlap"),
    ],
)
def test_a_broken_weights_file_is_a_failure(
    spoil: Callable[[Path], None], reason: str, network: Network, tmp_path: Path
) -> None:
    directory = faithful(network, tmp_path)
    spoil(directory / "model.safetensors")

    assert reason in str(failed(verified(network, directory)).reason)


def test_a_runner_that_shows_no_value_of_the_network_fails(
    network: Network, tmp_path: Path
) -> None:
    result = verified(network, faithful(network, tmp_path), "blind").targets["blind"]

    assert (result.status, result.runs, result.blocks_compared) == ("failed", (), 0)
    assert result.reason == "shows no value of layer1.0.act"


@pytest.mark.parametrize("level", ["shapes", "forward"])
def test_a_runner_that_leaves_out_inputs_fails(
    level: Level, network: Network, tmp_path: Path
) -> None:
    directory = faithful(network, tmp_path)
    options = Options(("other", "once"), level=level)
    verification = verify(network, directory, options=options, progress=lambda *_: None)

    once, whole = verification.targets["once"], verification.targets["other"]
    assert (whole.status, once.status) == ("passed", "failed")
    assert str(once.reason).startswith("shows nothing named conv1 on an input of 1x1x19x19")


def test_a_parameter_seen_twice_is_a_problem_and_counts_once(
    network: Network, tmp_path: Path
) -> None:
    directory = faithful(network, tmp_path)
    verification = verified(network, directory, "other", "twice")

    twice, once = verification.targets["twice"], verification.targets["other"]
    assert (twice.status, twice.reason) == ("failed", "has conv1.weight more than once")
    assert twice.parameters_compared == once.parameters_compared


def test_a_file_that_changes_under_its_own_verification_fails(
    network: Network, tmp_path: Path
) -> None:
    directory = faithful(network, tmp_path)
    file = directory / "model_other.py"
    file.write_text(f"{file.read_text()}\nopen(__file__, 'a').write('# more')\n")
    ran = hashlib.sha256(file.read_bytes()).hexdigest()

    verification = of_what_stayed(verified(network, directory), directory)

    result = failed(verification)
    assert (result.reason, result.runs) == ("model_other.py changed while it was verified", ())
    assert verification.changed == ("model_other.py",)
    assert not verification.certifies
    hashes = certificate(verification, network)["files"]
    assert isinstance(hashes, dict)
    assert hashes["model_other.py"] == ran
    assert set(hashes) == {"model.safetensors", "model_other.py", "spec.yaml"}


def test_a_listed_file_that_a_runner_judges_must_be_there(network: Network, tmp_path: Path) -> None:
    directory = faithful(network, tmp_path)
    assert verified(network, directory).status == "passed"
    (directory / "manifest.json").write_text('{"files": {"model_other.txt": ""}}')

    assert failed(verified(network, directory)).reason == "model_other.txt is not there"


def test_a_manifest_nested_without_end_is_none(network: Network, tmp_path: Path) -> None:
    directory = faithful(network, tmp_path)
    (directory / "manifest.json").write_text("[" * 10**5)

    assert verified(network, directory).status == "passed"


def test_shipped_weights_that_a_dtype_cannot_run_leave_the_target_unproven(
    network: Network, tmp_path: Path
) -> None:
    """Fresh weights make a residual sum larger at every block."""
    deep = SMALL.replace("repeats: 2", "repeats: 300")
    network = network_of(deep, tmp_path)
    directory = faithful(network, tmp_path, spec=deep)

    single = verified(network, directory, dtype="float32")
    result = single.targets["other"]
    assert (result.status, single.status) == ("not_run", "failed")
    assert result.reason == (
        "the shipped weights were not run: their values leave the range of float32"
    )
    assert inputs_compared(single, network) == [1, 2, 3, 4, 5]

    double = verified(network, directory)
    assert double.status == "passed"
    assert inputs_compared(double, network) == [0, 1, 2, 3, 4, 5]

    (directory / "model.safetensors").unlink()
    absent = verified(network, directory, dtype="float32")
    assert (absent.status, absent.weights) == ("passed", "absent")


def inputs_compared(verification: Verification, network: Network) -> list[int]:
    document: Any = certificate(verification, network)
    (run,) = document["targets"]["other"]["runs"]
    own = "fresh" if verification.weights == "absent" else "shipped"
    assert [each["weights"] for each in document["inputs"]] == [own] + ["drawn"] * 5
    return run["inputs_compared"]


def test_a_target_waits_until_it_runs(network: Network, tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    options = Options(("other", "blind"), jobs=1)
    verify(
        network,
        faithful(network, tmp_path),
        options=options,
        progress=lambda target, what: told.append((target, what)),
    )

    assert told[:3] == [("other", "waiting"), ("blind", "waiting"), ("other", "running")]
    assert set(told[3:5]) == {("other", "passed"), ("blind", "running")}
    assert told[5:] == [("blind", "failed")]


def package(folder: Path, name: str, runners: str) -> None:
    """Installs a package that brings these runners."""
    information = folder / f"{name}-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[resnetgen.runners]\n{runners}\n")


def test_broken_runners_of_others_are_told_of_and_end_nothing(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path / "packages", "halved", "halved = not_there:RUNNER\nnumber = math:pi")
    package(tmp_path / "packages", "rival", "other = elsewhere:RUNNER\ntorch = elsewhere:RUNNER")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    directory = faithful(network, tmp_path)
    for file in directory.glob("model*"):
        if file.name != "model.safetensors":
            file.unlink()

    verification = verify(network, directory, options=Options(), progress=lambda *_: None)

    reasons = {name: result.reason for name, result in verification.targets.items()}
    assert reasons == {
        "halved": "not_there:RUNNER of halved cannot be loaded: "
        "ModuleNotFoundError: No module named 'not_there'",
        "number": "math:pi of halved is float, not Runner",
        "other": "other-runner and rival each bring a runner named other: uninstall all but one",
    }
    assert {result.status for result in verification.targets.values()} == {"not_run"}
    assert runner("torch").target == "torch"


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
