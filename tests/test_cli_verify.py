"""`verify`, and `build` with its proof: tables, JSON, exit codes, and what is written."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import Event
from typing import Any, NoReturn

import pytest
from commands import Run
from conftest import FRAMEWORKS
from skips import skip_without
from test_cli_build import TINY, tiny

from resnetgen.cli.checks import check_peer
from resnetgen.cli.printing import say_waiting
from resnetgen.diagnostics import DiagnosticError
from resnetgen.ir.network import Network
from resnetgen.pipeline import Built
from resnetgen.verify.check import Options, Progress
from resnetgen.verify.document import TargetStatus
from resnetgen.verify.hashes import hashes
from resnetgen.verify.prepare import Prepared, weights_state
from resnetgen.verify.result import RunFigures, TargetResult, TrainingFigures, Verification
from resnetgen.verify.runners.launch import Died
from resnetgen.verify.runners.registry import runner
from resnetgen.verify.target import Trial

DEFAULT_TARGETS = ["torch", "keras-tensorflow", "keras-jax", "keras-torch", "flax", "onnx"]


def contents(directory: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def bring_runners(
    folder: Path, monkeypatch: pytest.MonkeyPatch, package: str, source: str, *entries: str
) -> None:
    """Installs a package below the folder that registers runners."""
    information = folder / "packages" / f"{package}-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (information / "entry_points.txt").write_text("\n".join(("[resnetgen.runners]", *entries)))
    (folder / "packages" / f"{package}.py").write_text(source)
    monkeypatch.syspath_prepend(folder / "packages")


RUNNERS = """
from resnetgen.verify.runners.registry import Runner

def runner(target, file):
    return Runner(target, file, requires={}, environment={}, due="always", run=None)

SAME_FILE = runner("swift", "model.onnx")
OTHER_FILE = runner("onnx-like", "model_like.py")
"""


def test_build_of_one_target_runs_what_runs_its_files(
    resnetgen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what another package happens to call alike, and nothing broken that it has no say in."""
    bring_runners(
        tmp_path, monkeypatch, "rivals", RUNNERS,
        "swift = rivals:SAME_FILE", "onnx-like = rivals:OTHER_FILE",
        "onnx-broken = not_there:RUNNER",
    )  # fmt: skip
    chosen: list[tuple[str, ...] | None] = []

    def verify(network: Network, directory: Path, *, options: Options, **_: object) -> Verification:
        chosen.append(options.targets)
        return finding({})(network, directory, options=options)

    monkeypatch.setattr("resnetgen.verify.check.verify", verify)
    resnetgen("build", tiny(), "--target", "onnx")
    assert chosen == [("onnx", "swift")]


def finding(results: Mapping[str, TargetResult]) -> Callable[..., Verification]:
    """What to put in the place of `verify`: it runs nothing, and finds this."""
    ran = [target for target, result in results.items() if result.status != "not_run"]

    def verify(_: Network, directory: Path, *, options: Options, **__: object) -> Verification:
        judged = [file for target in ran for file in runner(target).files]
        files = hashes(directory, ["spec.yaml", "model.safetensors", *judged])
        state = weights_state(directory)
        return Verification(options.level, "ir", state, options.seed, (), (), files, results)

    return verify


def pass_without_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every verification find that PyTorch agrees with the spec."""
    found = finding({"torch": TargetResult("passed", None, "cpu")})
    monkeypatch.setattr("resnetgen.verify.check.verify", found)


find_no_gpu = finding({"torch": TargetResult("not_run", "torch finds no CUDA device", "cuda")})


def uninstall_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """None makes a module look as if it were not installed."""
    for framework in FRAMEWORKS:
        monkeypatch.setitem(sys.modules, framework, None)


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs another package's runner, which needs no framework; a function that writes, into
    the built directory, the file that it runs."""
    packages = Path(__file__).parent / "other_runner"
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", str(packages))

    def write(model: str) -> None:
        Path("generated/tiny/model_other.py").write_text(f'__all__ = ["build"]\n{model}')

    return write


@pytest.mark.frameworks
def test_build_ends_with_the_proof(resnetgen: Run) -> None:
    for framework in ("torch", "tensorflow", "keras", "jax", "flax", "onnxruntime"):
        pytest.importorskip(framework)
    ran = resnetgen("build", tiny(), "--json")
    assert ran.code == 0
    assert sorted(ran.err.splitlines()) == sorted(
        f"tiny: {name} passed" for name in DEFAULT_TARGETS
    )
    found = ran.json["verification"]
    assert (found["status"], found["level"], found["reference"], found["weights"]) == (
        "passed", "forward", "ir", "shipped",
    )  # fmt: skip
    assert sorted(found["targets"]) == sorted(DEFAULT_TARGETS)
    for target in found["targets"].values():
        assert (target["status"], target["device"], target["params"]) == ("passed", "cpu", 9938)
        assert target["output_shape"][1:] == [10]
        assert target["max_rel_diff"] <= target["bound"]
        assert (target["reason"], target["first_divergence"], target["cause"]) == (None,) * 3
    assert "certificate.json" in ran.json["files"]
    certificate = json.loads(Path("generated/tiny/certificate.json").read_text())
    assert certificate["status"] == "passed"
    assert certificate["spec_sha256"] == ran.json["spec_sha256"]
    assert resnetgen("build", "--check").code == 0


@pytest.mark.frameworks
def test_verify_judges_the_files_as_they_are_now(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--no-verify")
    before = contents("generated/tiny")
    ran = resnetgen("verify", "generated/tiny", "--target", "torch")
    assert (ran.code, ran.err) == (0, "tiny: torch passed\n")
    assert ran.out.endswith("passed: torch agrees with the spec\n")
    after = contents("generated/tiny")
    assert after.keys() - before.keys() == {"certificate.json"}
    assert before.items() <= after.items()

    model = Path("generated/tiny/model_torch.py")
    source = model.read_text()
    assert "stride=2" in source
    model.write_text(source.replace("stride=2", "stride=1"))
    ran = resnetgen("verify", "generated/tiny", "--target", "torch")
    assert ran.code == 1
    assert "torch: the first wrong layer is layer2.0" in ran.out
    assert ran.out.endswith("failed: torch failed\n")
    assert json.loads(after["certificate.json"])["status"] == "passed"
    assert json.loads(Path("generated/tiny/certificate.json").read_text())["status"] == "failed"


@pytest.mark.frameworks
def test_certificate_can_go_elsewhere(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--no-verify", "--target", "torch")
    before = contents("generated/tiny")
    arguments = ("--target", "torch", "--level", "shapes", "--output", "proof.json")
    assert resnetgen("verify", "generated/tiny", *arguments).code == 0
    assert contents("generated/tiny") == before
    assert json.loads(Path("proof.json").read_text())["level"] == "shapes"


@pytest.mark.frameworks
def test_several_networks_are_verified_and_summed_up(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    Path("b.yaml").write_text(TINY.replace("tiny", "b"))
    options = ("--target", "torch", "--level", "shapes")
    ran = resnetgen("build", tiny("a"), "b.yaml", *options)
    assert ran.code == 0
    assert "a against its spec" in ran.out
    summary = ran.out[ran.out.index("2 networks") :].split()
    assert summary[2:5] == ["network", "status", "torch"]
    assert summary[6:] == ["a", "passed", "passed", "b", "passed", "passed"]
    ran = resnetgen("build", "a.yaml", "b.yaml", *options, "--json", "--jobs", 2)
    assert [each["verification"]["status"] for each in ran.json["networks"]] == ["passed"] * 2


@pytest.mark.frameworks
def test_named_target_that_is_not_installed_has_its_own_code(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    # None makes a module look as if it were not installed.
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = resnetgen("build", tiny(), "--target", "torch,onnx", "--level", "shapes", "--json")
    assert ran.code == 3
    found = ran.json["verification"]
    assert found["status"] == "partial"
    assert found["targets"]["torch"]["status"] == "not_run"
    assert "install resnetgen[torch]" in found["targets"]["torch"]["reason"]
    ran = resnetgen("verify", "generated/tiny", "--level", "shapes")
    assert ran.code == 0
    assert ran.out.endswith("partial: onnx agrees with the spec in shapes; torch did not run\n")
    ran = resnetgen("verify", "generated/tiny", "--target", "torch")
    assert ran.code == 3


@pytest.mark.parametrize("arguments", [["empty"], ["nothing"], ["a_file"]])
def test_directory_that_build_did_not_write_is_bad_input(
    resnetgen: Run, arguments: list[str]
) -> None:
    Path("empty").mkdir()
    Path("a_file").write_text("")
    ran = resnetgen("verify", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "expected: a directory that `resnetgen build` wrote" in ran.err


def test_certificate_that_cannot_be_written_is_refused_at_once(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    ran = resnetgen("verify", "generated/tiny", "-o", "nowhere/proof.json")
    assert ran.code == 2
    assert ran.err == (
        "nowhere: error: does not exist\n"
        "hint: --output takes a file in a directory that exists and can be written to\n"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("generated/tiny/model_torch.py", "is no certificate, and would be overwritten"),
        ("generated/tiny/manifest.json", "is no certificate, and would be overwritten"),
        ("generated", "is in the way: it is no file"),
        ("dangling", "is in the way: it is no file"),
        ("/dev/null", "is in the way: it is no file"),
    ],
)
def test_certificate_replaces_nothing_but_a_certificate(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    """And says so before anything runs."""
    monkeypatch.setattr("resnetgen.verify.check.verify", lambda *_, **__: pytest.fail("it ran"))
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    Path("dangling").symlink_to("nowhere")
    before = contents("generated/tiny")
    ran = resnetgen("verify", "generated/tiny", "-o", name)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"{name}: error: {reason}\nhint: move it away")
    assert contents("generated/tiny") == before


def test_verification_leaves_a_newer_proof_alone(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a build and its own verification overtake, which ends first, or just behind it."""
    found = finding({"torch": TargetResult("passed", None, "cpu")})
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    newer = b""

    def overtaken(*arguments: Any, **options: Any) -> Verification:
        nonlocal newer
        verification = found(*arguments, **options)
        monkeypatch.setattr("resnetgen.verify.check.verify", found)
        assert resnetgen("build", tiny(), "--set", "classes=4", "--no-weights").code == 0
        newer = Path("generated/tiny/certificate.json").read_bytes()
        return verification

    monkeypatch.setattr("resnetgen.verify.check.verify", overtaken)
    ran = resnetgen("verify", "generated/tiny")
    assert ran.code == 1
    assert "torch: model_torch.py changed while it was verified" in ran.out
    assert "no certificate was written: model_torch.py and spec.yaml changed meanwhile" in ran.out
    assert Path("generated/tiny/certificate.json").read_bytes() == newer
    monkeypatch.setattr("resnetgen.verify.check.verify", found)
    assert resnetgen("verify", "generated/tiny", "--seed", 1).code == 0
    assert Path("generated/tiny/certificate.json").read_bytes() != newer


def test_certificate_replaces_no_file_that_has_appeared_meanwhile(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = finding({"torch": TargetResult("passed", None, "cpu")})
    resnetgen("build", tiny(), "--no-verify", "--no-weights")

    def slow(*arguments: Any, **options: Any) -> Verification:
        Path("proof.json").write_text("mine")
        return found(*arguments, **options)

    monkeypatch.setattr("resnetgen.verify.check.verify", slow)
    ran = resnetgen("verify", "generated/tiny", "-o", "proof.json")
    assert (ran.code, "torch agrees with the spec" in ran.out) == (2, True)
    assert "proof.json: error: cannot be written: another file has appeared there" in ran.err
    assert Path("proof.json").read_text() == "mine"


def test_certificate_replaces_an_older_one(resnetgen: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pass_without_running(monkeypatch)
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    arguments = ("verify", "generated/tiny", "--output", "proof.json")
    assert resnetgen(*arguments, "--seed", 1).code == 0
    assert resnetgen(*arguments, "--seed", 2).code == 0
    assert json.loads(Path("proof.json").read_text())["seed"] == 2


@pytest.mark.parametrize(
    ("level", "weights", "targets", "said"),
    [
        ("forward", "absent", {"torch": "passed", "flax": "passed"}, "flax had passed"),
        ("forward", "absent", {"torch": "passed", "flax": "failed", "onnx": "not_run"}, None),
        (
            "shapes",
            "absent",
            {"torch": "passed", "flax": "passed"},
            "flax had passed at the level shapes",
        ),
        ("shapes", "absent", {"torch": "passed"}, None),
        (
            "forward",
            "shipped",
            {"torch": "passed"},
            "torch had passed with the weights that were here",
        ),
    ],
)
def test_certificate_that_says_less_than_the_one_before_is_not_silent(
    resnetgen: Run,
    monkeypatch: pytest.MonkeyPatch,
    level: str,
    weights: str,
    targets: dict[str, str],
    said: str | None,
) -> None:
    pass_without_running(monkeypatch)
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    certificate = Path("generated/tiny/certificate.json")
    statuses = {name: {"status": status} for name, status in targets.items()}
    document = {"level": level, "weights": weights, "targets": statuses}
    certificate.write_text(json.dumps(document))
    ran = resnetgen("verify", "generated/tiny")
    remark = f"{certificate}: replaced one in which {said}; --output FILE writes elsewhere\n"
    assert (ran.code, ran.err) == (0, remark if said else "")
    assert json.loads(certificate.read_text())["targets"].keys() == {"torch"}


def test_certificate_of_shapes_that_replaces_one_of_values_is_not_silent(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_without_running(monkeypatch)
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    assert resnetgen("verify", "generated/tiny").err == ""
    ran = resnetgen("verify", "generated/tiny", "--level", "shapes")
    assert "replaced one in which torch had passed at the level forward;" in ran.err


def test_what_each_target_has_lost_is_said_of_it_alone(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = RunFigures("torch", "float32", (0,), 1, 1e-7, 1e-7, {}, 1e-5, 1e-5, 1e-7)
    found = {"torch": TargetResult("passed", None, "cpu", runs=(figures,))}
    monkeypatch.setattr("resnetgen.verify.check.verify", finding(found))
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    proven = {name: {"status": "passed", "dtype": "float64"} for name in ("torch", "flax", "onnx")}
    certificate = Path("generated/tiny/certificate.json")
    certificate.write_text(json.dumps({"level": "forward", "targets": proven}))
    assert resnetgen("verify", "generated/tiny").err == (
        f"{certificate}: replaced one in which torch had passed in float64, "
        "and flax and onnx had passed; --output FILE writes elsewhere\n"
    )


def test_target_that_gives_no_result_in_time_is_missed_in_the_certificate(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = TargetResult("failed", "gave no result within 1 s", "cpu", died=True)
    pass_without_running(monkeypatch)
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    resnetgen("verify", "generated/tiny")
    certificate = Path("generated/tiny/certificate.json")
    before = certificate.read_bytes()
    monkeypatch.setattr("resnetgen.verify.check.verify", finding({"torch": died}))
    ran = resnetgen("verify", "generated/tiny")
    assert (ran.code, ran.err) == (1, "")
    assert "no certificate was written: no target gave a result" in ran.out
    assert certificate.read_bytes() == before
    found = {"torch": died, "onnx": TargetResult("passed", None, "cpu")}
    monkeypatch.setattr("resnetgen.verify.check.verify", finding(found))
    ran = resnetgen("verify", "generated/tiny")
    assert ran.code == 1
    assert "replaced one in which torch had passed;" in ran.err


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("target", "modules", "reason"),
    [
        ("torch", ("torch",), "torch finds no CUDA device"),
        ("keras-tensorflow", ("keras", "tensorflow"), "tensorflow finds no CUDA device"),
        ("keras-jax", ("keras", "jax"), "jax finds no CUDA device"),
        ("keras-torch", ("keras", "torch"), "torch finds no CUDA device"),
        ("flax", ("flax",), "jax finds no CUDA device"),
        ("onnx", ("onnxruntime",), "this ONNX Runtime has no CUDAExecutionProvider"),
    ],
)
def test_target_says_that_there_is_no_gpu_for_it(
    resnetgen: Run, target: str, modules: tuple[str, ...], reason: str
) -> None:
    for module in modules:
        pytest.importorskip(module)
    if Path("/dev/nvidia0").exists():
        pytest.skip("there is a GPU")
    resnetgen("build", tiny(), "--no-verify")
    ran = resnetgen("verify", "generated/tiny", "--device", "cuda", "--target", target, "--json")
    result = ran.json["verification"]["targets"][target]
    assert (result["status"], result["reason"]) == ("not_run", reason)
    assert ran.code == 1


@pytest.mark.frameworks
def test_verification_in_which_nothing_ran_leaves_the_certificate_alone(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    resnetgen("build", tiny(), "--target", "torch", "--level", "shapes")
    certificate = Path("generated/tiny/certificate.json")
    before = certificate.read_bytes()
    assert json.loads(before)["status"] == "passed"
    arguments = ("verify", "generated/tiny", "--device", "cuda")
    ran = resnetgen(*arguments)
    assert ran.code == 1
    assert ran.out.endswith(
        "failed: nothing was proven, and no certificate was written; torch did not run\n"
    )
    ran = resnetgen(*arguments, "--output", "proof.json", "--json")
    assert (ran.code, ran.json["verification"]["status"]) == (1, "failed")
    assert certificate.read_bytes() == before
    assert not Path("proof.json").exists()


def test_where_nothing_could_run_it_says_what_to_do(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of what a run would have done."""
    uninstall_everything(monkeypatch)
    ran = resnetgen("build", tiny(), "--no-weights")
    assert ran.code == 1
    assert "torch: torch is not installed: install resnetgen[torch]\n" in ran.out
    assert "failed: nothing was proven, and no certificate was written; " in ran.out
    assert "weights were drawn" not in ran.out
    install = "hint: install what is missing"
    assert ran.err == f"{install}, or give --no-verify to write the files alone\n"
    assert resnetgen("verify", "generated/tiny").err == f"{install}\n"
    ran = resnetgen("verify", "generated/tiny", "--json")
    assert (ran.code, ran.json["verification"]["status"], ran.err) == (1, "failed", "")
    monkeypatch.setattr("resnetgen.verify.check.verify", find_no_gpu)
    monkeypatch.setattr("resnetgen.verify.runners.registry.unavailable", lambda _: None)
    assert resnetgen("verify", "generated/tiny").err == "hint: run on --device cpu\n"


@pytest.mark.frameworks
def test_remarks_name_the_layer_and_what_is_wrong_with_it(resnetgen: Run) -> None:
    """In a sentence, whether the cause begins with a verb or has a subject of its own."""
    pytest.importorskip("torch")
    arguments = ("build", tiny(), "--set", "stem={width: 8, kernel: 7, stride: 2, pool: max}")
    model = Path("generated/tiny/model_torch.py")
    for written, instead, said in (
        ("self.relu(x + shortcut)", "x + shortcut", "layer1.0.act: it is missing"),
        ("stride=2, padding=3", "stride=2, padding=2", "conv1: its padding is 2, not 3"),
    ):
        resnetgen(*arguments, "--no-verify", "--force")
        assert written in model.read_text()
        model.write_text(model.read_text().replace(written, instead, 1))
        ran = resnetgen("verify", "generated/tiny", "--target", "torch")
        assert f"torch: the first wrong layer is {said}\n" in ran.out


NONSENSE = "ModuleNotFoundError: No module named 'nonsense'"
LOOKUP = "AttributeError: 'str' object has no attribute 'nonsense'"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("import nonsense", f"model_other.py:2: {NONSENSE}"),
        ("\ndef build(", "model_other.py:3: SyntaxError: '(' was never closed"),
        (
            "def build():\n    return lambda name, _: name.nonsense",
            f"model_other.py:3: {LOOKUP} (fresh weights, input 2x3x16x16)",
        ),
    ],
)
def test_what_a_file_raises_is_said_with_its_line_and_no_layer_is_blamed(
    resnetgen: Run, other: Callable[[str], None], model: str, said: str
) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    other(model)
    arguments = ("verify", "generated/tiny", "--target", "other")
    ran = resnetgen(*arguments)
    assert ran.code == 1
    assert f"\nother: {said}\n" in ran.out
    assert "first wrong layer" not in ran.out
    target = resnetgen(*arguments, "--json").json["verification"]["targets"]["other"]
    assert (target["first_divergence"], target["reason"]) == (None, said)


@pytest.mark.frameworks
def test_target_that_crashes_takes_no_other_with_it(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "--target", "torch,onnx")
    Path("generated/tiny/model_torch.py").write_text("import os\n\nos.abort()\n")
    ran = resnetgen("verify", "generated/tiny", "--target", "torch,onnx", "--json")
    targets = ran.json["verification"]["targets"]
    assert ran.code == 1
    assert {name: found["status"] for name, found in targets.items()} == {
        "torch": "failed",
        "onnx": "passed",
    }
    assert "was ended by signal SIGABRT" in targets["torch"]["reason"]


def test_layer_that_was_wrong_before_a_run_broke_off_is_blamed(
    resnetgen: Run, other: Callable[[str], None]
) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    other(
        "def build():\n    return lambda name, value: value + 1 if name == 'bn1' else"
        " {'layer1.0.conv1': None}.get(name, value).real\n"
    )
    ran = resnetgen("verify", "generated/tiny", "--target", "other")
    assert "\nother: the first wrong layer is bn1\n" in ran.out
    assert "; then model_other.py:3: AttributeError: " in ran.out


@pytest.mark.frameworks
@pytest.mark.parametrize("broken", ["def (", "raise ValueError"])
def test_model_that_could_not_be_built_has_no_parameters(resnetgen: Run, broken: str) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    model = Path("generated/tiny/model_torch.py")
    model.write_text(f"{model.read_text()}\n{broken}\n")
    arguments = ("verify", "generated/tiny", "--target", "torch")
    row = next(line for line in resnetgen(*arguments).out.splitlines() if line.startswith("torch "))
    assert row.split() == ["torch", "failed", "cpu"]
    target = resnetgen(*arguments, "--json").json["verification"]["targets"]["torch"]
    assert target["params"] is None


def test_full_scratch_disk_is_one_message(resnetgen: Run, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk; the drawn weights exceed it."""
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from resnetgen.cli import main\n"
        "sys.argv = ['resnetgen', 'verify', 'generated/tiny']\n"
        "sys.exit(main())\n"
    )
    (tmp_path / "scratch").mkdir()
    ran = subprocess.run(
        [sys.executable, "-B", "-c", program], capture_output=True, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch")},
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"{tmp_path / 'scratch'}: error: the verification stopped: File too large\n"
        "hint: TMPDIR names the directory for its scratch files\n"
    )
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not Path("generated/tiny/certificate.json").exists()


@pytest.mark.parametrize(("status", "code"), [("passed", 2), ("failed", 1)])
def test_certificate_that_the_disk_has_no_room_for_is_one_message_after_the_verdict(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, status: TargetStatus, code: int
) -> None:
    found = finding({"torch": TargetResult(status, "as was said", "cpu")})
    monkeypatch.setattr("resnetgen.verify.check.verify", found)
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    before = contents("generated/tiny")
    write_text = Path.write_text

    def fill_the_disk(path: Path, text: str, **keywords: str) -> int:
        if "certificate" in path.name:
            write_text(path, text[:10], **keywords)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(path, text, **keywords)

    monkeypatch.setattr(Path, "write_text", fill_the_disk)
    ran = resnetgen("verify", "generated/tiny")
    assert (ran.code, "torch: as was said" in ran.out) == (code, True)
    assert "no certificate was written" not in ran.out
    assert ran.err == (
        "generated/tiny/certificate.json: error: cannot be written: No space left on device\n"
    )
    ran = resnetgen("verify", "generated/tiny", "--json")
    assert (ran.code, ran.json["verification"]["targets"]["torch"]["status"]) == (code, status)
    assert [each["code"] for each in ran.json["diagnostics"]] == ["not-written"]
    assert contents("generated/tiny") == before


def test_edited_spec_is_said_before_the_source_is_blamed(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_without_running(monkeypatch)
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    spec = Path("generated/tiny/spec.yaml")
    built = spec.read_text()
    spec.write_text(f"# A comment.\n{built}")
    assert resnetgen("verify", "generated/tiny").err == ""
    spec.write_text(built.replace("width: 16", "width: 24"))
    ran = resnetgen("verify", "generated/tiny")
    assert ran.err == (
        "generated/tiny/spec.yaml: was edited since the build, so the other files are those of"
        " another network; `resnetgen build generated/tiny/spec.yaml -o DIR` compiles it\n"
    )


@pytest.mark.frameworks
def test_error_of_a_framework_behind_what_is_wrong_is_cut_short(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    spec = Path("generated/tiny/spec.yaml")
    spec.write_text(spec.read_text().replace("width: 16", "width: 24"))
    ran = resnetgen("verify", "generated/tiny", "--target", "torch")
    (reason,) = (line for line in ran.out.splitlines() if "; then " in line)
    assert reason.startswith("torch: layer2.0.conv1.weight has shape [16, 8, 3, 3], not [24, 8")
    assert reason.endswith(" ...")
    assert len(reason) < 300


def test_edited_spec_that_is_wrong_is_bad_input(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    spec = Path("generated/tiny/spec.yaml")
    spec.write_text(spec.read_text().replace("classes: 10", "classes: none"))
    ran = resnetgen("verify", "generated/tiny")
    assert ran.code == 2
    assert ran.err.startswith("generated/tiny/spec.yaml:")


@pytest.mark.parametrize("target", ["keras", "tensorflow"])
def test_target_that_is_no_runner_names_the_nearest(resnetgen: Run, target: str) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    ran = resnetgen("verify", "generated/tiny", "--target", target)
    assert ran.code == 2
    assert "hint: did you mean `keras-tensorflow`?" in ran.err


def test_target_that_ends_is_a_line_where_stderr_is_no_terminal(
    resnetgen: Run, other: Callable[[str], None]
) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    for expression, status in (("value", "passed"), ("value + 1", "failed")):
        other(f"def build():\n    return lambda name, value: {expression}\n")
        for form in ((), ("--json",)):
            ran = resnetgen("verify", "generated/tiny", "--target", "other", *form)
            assert ran.err == f"tiny: other {status}\n"
        assert ran.json["verification"]["status"] == status


@pytest.mark.parametrize("columns", [60, 80])
def test_verdicts_fit_into_the_terminal(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    figures = RunFigures("torch", "float64", (0,), 1, 1e-15, 1e-15, {}, 1e-14, 2.9e-13, 1e-15)
    passed = TargetResult("passed", None, "cpu", params=103_456_789, output_shape=(2, 1000))
    found = dict.fromkeys(DEFAULT_TARGETS, replace(passed, runs=(figures,)))
    monkeypatch.setattr("resnetgen.verify.check.verify", finding(found))
    lines = resnetgen("build", tiny("a"), tiny("b"), "--no-weights").out.splitlines()
    assert max(len(line) for line in lines if "agree" not in line) <= columns
    head, row = (line.split() for line in (lines[3], lines[5]))
    assert (head[:2], row[:2]) == (["target", "status"], ["torch", "passed"])
    assert (head[-2:], row[-2:]) == (["difference", "bound"], ["1.0e-15", "2.9e-13"])
    assert ("dtype" in head) == (columns == 80)
    assert "a        passed" in "\n".join(lines)


@pytest.mark.parametrize("columns", [60, 80])
def test_verdict_on_training_fits_into_the_terminal(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    figures = RunFigures("torch", "float64", (0,), 1, 1e-15, 1e-15, {}, 1e-14, 2.9e-13, 1e-15)
    step = TrainingFigures(
        dtype="float64", batch=2, scale=1.0, loss=2.3, loss_rel_diff=1e-16, gradients=5,
        max_rel_diff=4e-14, tolerance=1e-9, conditioning=2e-14, bound=1e-9, minimum_tolerance=4e-14,
        statistics=4, statistics_max_rel_diff=1e-16, running_variance="biased",
        switched_off=("drop",),
    )  # fmt: skip
    large = replace(step, scale=1e3, conditioning=2e-7, bound=2e-5)
    passed = TargetResult("passed", None, "cpu", params=103_456_789, output_shape=(2, 1000))
    found = dict.fromkeys(DEFAULT_TARGETS, replace(passed, runs=(figures,), training=(step, large)))
    found["onnx"] = TargetResult("not_run", "why", "cpu", due=False)
    monkeypatch.setattr("resnetgen.verify.check.verify", finding(found))
    ran = resnetgen("build", tiny(), "--no-weights", "--level", "train")
    lines = ran.out.splitlines()
    table = lines[2 : 5 + len(DEFAULT_TARGETS)]
    assert max(map(len, table)) <= columns
    assert [line.split()[-3:] for line in (table[0], table[2])] == [
        ["difference", "bound", "gradients"], ["1.0e-15", "2.9e-13", "4.0e-14"],
    ]  # fmt: skip
    assert (
        "training: gradients are held to 1.0e-09 of their scale; moving images and norms' "
        "inputs by one part in 1e15 moves them by 2.0e-14, with images times 1000 by 2.0e-07 "
        "(held to 2.0e-05)" in lines
    )
    assert "training: 1 layer that draws at random was switched off" in ran.out
    assert ran.code == 0
    assert lines[-1].startswith("passed: torch, ")
    assert lines[-1].endswith("agree with the spec, in training too; onnx did not run")
    printed = resnetgen("build", tiny(), "--no-weights", "--level", "train", "--json")
    targets = printed.json["verification"]["targets"]
    assert "training" not in targets["onnx"]
    assert targets["torch"]["training"]["gradients_compared"] == 5
    assert targets["torch"]["training"]["switched_off"] == ["drop"]


def test_training_is_compared_in_float64_alone(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    ran = resnetgen("verify", "generated/tiny", "--level", "train", "--dtype", "float32")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: --level train compares gradients, and --dtype float32 rounds them too far\n"
        "hint: leave --dtype out, or compare with --level forward\n"
    )


@pytest.mark.frameworks
def test_graph_that_does_not_train_is_not_due(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    arguments = ("--target", "torch,onnx", "--level", "train", "--json")
    ran = resnetgen("build", tiny(), *arguments)
    found = ran.json["verification"]
    assert (ran.code, found["status"], found["level"]) == (0, "passed", "train")
    graph = found["targets"]["onnx"]
    assert (graph["status"], graph["reason"]) == (
        "not_run", "there is no level train for onnx, which computes inference alone: "
        "`verify --target onnx --output FILE` proves that",
    )  # fmt: skip
    training = found["targets"]["torch"]["training"]
    assert training["max_rel_diff"] <= training["bound"] == training["tolerance"] == 1e-9
    certificate = json.loads(Path("generated/tiny/certificate.json").read_text())
    assert certificate["targets"]["torch"]["training"] == training
    assert [each.get("training") for each in certificate["inputs"]] == [None] * 6 + [True] * 3
    ran = resnetgen("verify", "generated/tiny", "--target", "torch")
    assert "replaced one in which torch had passed at the level train;" in ran.err


def test_interrupt_starts_no_target_that_still_waited(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, str]] = []
    started = Event()

    @contextmanager
    def progress() -> Generator[Callable[[str], Progress]]:
        yield lambda _: lambda target, state: found.append((target, state))

    def run(trial: Trial, _: Prepared) -> Died:
        started.set()
        trial.stop.wait()
        return Died("was stopped")

    def interrupt(*_: object) -> None:
        started.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr("resnetgen.verify.check.unavailable", lambda _: None)
    monkeypatch.setattr("resnetgen.verify.check._judge", interrupt)
    monkeypatch.setattr("resnetgen.cli.verify.progress", progress)
    monkeypatch.setattr(Trial, "run", run)
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    ran = resnetgen("verify", "generated/tiny", "--jobs", 1)
    assert (ran.code, ran.err) == (130, "interrupted\n")
    assert found[-1] == (found[0][0], "running")
    assert [state for _, state in found].count("running") == 1


def verifying(parent: int) -> list[int]:
    """The parent's processes that verify a network each; what ends meanwhile is none."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            of = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if of == parent and b"spawn_main" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_verification_whose_process_is_killed_is_said_to_be_none(
    resnetgen: Run, tmp_path: Path
) -> None:
    command = ("build", tiny("a"), tiny("b"), "--target", "onnx", "--jobs", "2")
    with subprocess.Popen(
        [sys.executable, "-m", "resnetgen", *command],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:  # fmt: skip
        while not (found := verifying(process.pid)):
            assert process.poll() is None
        os.kill(found[0], signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "has not been verified: the process that was to do it was killed (SIGKILL)" in err
    assert "Traceback" not in err + out


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "no memory")])
def test_want_of_memory_is_a_diagnostic(
    resnetgen: Run, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise error

    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    monkeypatch.setattr("resnetgen.verify.check.verify", refuse)
    ran = resnetgen("verify", "generated/tiny")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "error: there is not enough memory for this, or too much is running\n"
        "hint: `build` and `verify` take the least with --jobs 1\n"
    )
    ran = resnetgen("verify", "generated/tiny", "--json")
    assert (ran.code, ran.json["diagnostics"][0]["code"]) == (2, "no-memory")


GREEDY = """
from resnetgen.verify.runners.registry import Runner

class Everything(dict):
    def items(self):
        raise MemoryError

RUNNER = Runner("greedy", "model.onnx", requires=Everything(), environment={}, due="always",
                run=None)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_want_of_memory_in_a_process_that_verifies_is_a_diagnostic(
    resnetgen: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """As in this one. Another package's runner, which is asked what it requires, wants it all."""
    bring_runners(tmp_path, monkeypatch, "greedies", GREEDY, "greedy = greedies:RUNNER")
    ran = resnetgen("build", tiny("a"), tiny("b"), "--target", "onnx", "--jobs", jobs)
    assert (ran.code, ran.out.count("->"), "against its spec" in ran.out) == (2, 2, False)
    assert ran.err == (
        "error: there is not enough memory for this, or too much is running\n"
        "hint: `build` and `verify` take the least with --jobs 1\n"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "there is not enough memory for this, or too much is running"),
        (
            OSError(errno.EAGAIN, "Resource temporarily unavailable"),
            "there is not enough memory for this, or too much is running",
        ),
        (DiagnosticError.of("not-verified", "has not been verified"), "has not been verified"),
    ],
)
def test_verdicts_before_a_process_that_broke_off_are_printed(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    verify = finding({"torch": TargetResult("passed", None, "cpu")})

    def in_processes(
        built: Sequence[Built], options: Options, at_once: int, _: object
    ) -> Iterator[Verification]:
        assert at_once == 2
        yield verify(built[0].network, built[0].directory, options=options)
        raise error

    monkeypatch.setattr("resnetgen.cli.proofs._in_processes", in_processes)
    ran = resnetgen("build", tiny("a"), tiny("b"), tiny("c"), "--jobs", 2)
    assert ran.code == 2
    assert [line for line in ran.out.splitlines() if "against" in line] == ["a against its spec"]
    assert "passed: torch agrees with the spec\n" in ran.out
    assert ran.err.startswith(f"error: {said}\n")


@pytest.mark.parametrize(
    "command",
    [
        ("verify", "locked/net"),
        ("verify", "generated/tiny", "-o", "locked/deep/certificate.json"),
        ("build", "net.yaml", "--no-verify", "-o", "locked/deep"),
        ("convert", "net.pth", "--spec", "net.yaml", "--to", "torch", "-o", "locked/deep/x.pth"),
        ("build", "net.yaml", "--no-verify", "-o", "n" * 5000),
        ("verify", "n" * 5000),
    ],
)
def test_what_the_system_refuses_is_a_diagnostic(
    resnetgen: Run, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("net.yaml").write_text(Path(tiny()).read_text())
    resnetgen("build", "net.yaml", "--no-verify", "--no-weights")
    Path("locked").mkdir()
    real = os.stat

    def refuse(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        # Permissions stop no superuser, as whom tests may run.
        if str(path).startswith("locked/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refuse)
    ran = resnetgen(*command)
    assert ran.code == 2, ran.err
    assert "error: " in ran.err


def test_certificate_of_the_users_in_a_directory_without_a_manifest_stays(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    Path("generated/tiny/manifest.json").unlink()
    path = Path("generated/tiny/certificate.json")
    path.write_text('{"mine": 1}')
    ran = resnetgen("verify", "generated/tiny")
    assert (ran.code, path.read_text()) == (2, '{"mine": 1}')
    assert "certificate.json: error: is no certificate, and would be overwritten" in ran.err


@pytest.mark.frameworks
def test_files_that_are_gone_are_called_so_and_replace_the_certificate(resnetgen: Run) -> None:
    """Nothing has changed while it was verified."""
    skip_without("onnxruntime")
    resnetgen("build", tiny(), "--target", "onnx")
    certificate = Path("generated/tiny/certificate.json")
    for name in ("model.onnx", "model.onnxtxt"):
        path = Path("generated/tiny", name)
        kept = path.read_bytes()
        path.unlink()
        ran = resnetgen("verify", "generated/tiny")
        assert (ran.code, f"onnx: {name} is not there\n" in ran.out) == (1, True), ran.out
        assert json.loads(certificate.read_text())["status"] == "failed"
        path.write_bytes(kept)


def test_paths_that_frameworks_cannot_be_given_are_refused(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "-o", "bad\udcff")
    for arguments in (("verify", "bad\udcff/tiny"), ("build", "tiny", "-o", "bad\udcff")):
        ran = resnetgen(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "error: has a path that is not UTF-8, in which frameworks find no file\n" in ran.err


def test_certificate_is_compared_also_where_no_framework_finds_a_file(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_without_running(monkeypatch)
    resnetgen("build", tiny(), "--no-weights")
    Path("generated").rename("bad\udcff")
    certificate = "bad\udcff/tiny/certificate.json"
    ran = resnetgen("verify", "bad\udcff/tiny", "--certificate", certificate)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("tiny is as certified in ")


def test_verification_says_that_it_waits_for_a_build(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_without_running(monkeypatch)
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    descriptor = os.open("generated", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def finish_the_build(parent: Path) -> None:
        say_waiting(parent)
        os.close(descriptor)

    monkeypatch.setattr("resnetgen.cli.verify.say_waiting", finish_the_build)
    ran = resnetgen("verify", "generated/tiny")
    assert (ran.code, ran.err) == (
        0,
        f"waiting for another build in {Path('generated').resolve()}\n",
    )
    assert Path("generated/tiny/certificate.json").exists()


@pytest.mark.frameworks
@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupt_ends_the_frameworks(resnetgen: Run, tmp_path: Path, jobs: int) -> None:
    """Unverified, quietly, and with the built directories in place."""
    pytest.importorskip("torch")
    process = subprocess.Popen(
        [sys.executable, "-m", "resnetgen", "build", tiny("a"), tiny("b"),
         "--target", "torch", "--jobs", str(jobs)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    while not list(tmp_path.glob("resnetgen-*/**/log.txt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (
        130,
        "written: generated/a, generated/b\nnot verified: generated/a, generated/b\ninterrupted\n",
    )
    assert out.count("->") == 2
    assert not list(tmp_path.glob("resnetgen-*"))
    assert Path("generated/b/model_torch.py").exists()


def other_model(change: str = "", *, by: str = "") -> None:
    """Puts a model that is not ours, but for a `change`, beside the directory of the networks."""
    text = Path("generated/tiny/model_torch.py").read_text()
    assert change in text
    Path("theirs.py").write_text(text.replace(change, by, 1))


@pytest.mark.frameworks
def test_somebody_elses_model_is_what_targets_are_compared_with(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--no-verify")
    other_model()
    # What lies here beside the model hides nothing of Python's, and nothing that is installed.
    for name in ("platform.py", "safetensors.py"):
        Path(name).write_text("raise RuntimeError")
    against = ("verify", "generated/tiny", "--against", "theirs:tiny")
    ran = resnetgen(*against, "--target", "torch,onnx", "--json")
    found = ran.json["verification"]
    assert (ran.code, found["status"], found["reference"]) == (0, "passed", "theirs:tiny")
    targets = found["targets"]
    assert {name: each["status"] for name, each in targets.items()} == dict.fromkeys(
        ("theirs:tiny", "torch", "onnx"), "passed"
    )
    # It computes exactly what our own PyTorch model does, and what the interpreter does nearly.
    assert targets["torch"]["max_abs_diff"] == 0.0
    assert targets["theirs:tiny"]["max_abs_diff"] > 0.0
    certificate = json.loads(Path("generated/tiny/certificate.json").read_text())
    assert certificate["reference"] == "theirs:tiny"
    ran = resnetgen("verify", "generated/tiny", "--target", "torch", "--against", "theirs:tiny")
    assert (
        "the others are compared with what theirs:tiny computes, and that with the spec" in ran.out
    )
    path = "generated/tiny/certificate.json"
    ran = resnetgen("verify", "generated/tiny", "--certificate", path)
    assert (ran.code, ran.out) == (
        0, f"tiny is as certified in {path}: passed at the level forward, in torch\n"
    )  # fmt: skip
    said = (
        "theirs:tiny, with which they were compared, is none of these files: it was not looked at"
    )
    assert ran.err == f"{said}\n"


@pytest.mark.frameworks
def test_somebody_elses_model_that_is_another_network_fails_and_says_where(
    resnetgen: Run,
) -> None:
    """Though Python has a module of its name, too."""
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--no-verify")
    other_model("BatchNorm2d(out_channels)", by="BatchNorm2d(out_channels, eps=1e-4)")
    Path("theirs.py").rename("test.py")
    ran = resnetgen("verify", "generated/tiny", "--target", "torch", "--against", "test:tiny",
                    "--json")  # fmt: skip
    found = ran.json["verification"]
    # Nothing is compared with a model that is not the network.
    assert (ran.code, found["status"], found["reference"]) == (1, "failed", "ir")
    assert found["targets"]["torch"]["status"] == "passed"
    assert found["targets"]["test:tiny"]["first_divergence"] == "layer1.0.bn1"


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ("", "theirs has no tiny"),
        (
            "raise RuntimeError('no such operator')",
            "importing theirs failed: RuntimeError: no such operator",
        ),
    ],
)
def test_model_that_cannot_be_imported_leaves_the_certificate_alone(
    resnetgen: Run, theirs: str, reason: str
) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--target", "torch")
    certificate = Path("generated/tiny/certificate.json").read_bytes()
    Path("theirs.py").write_text(theirs)
    ran = resnetgen("verify", "generated/tiny", "--target", "torch", "--against", "theirs:tiny")
    assert ran.code == 2
    assert f"cannot compare with theirs:tiny: {reason}" in ran.err
    assert Path("generated/tiny/certificate.json").read_bytes() == certificate


def test_model_to_compare_with_that_cannot_run_leaves_the_certificate_alone(
    resnetgen: Run, other: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    other("def build():\n    return lambda name, value: value")
    assert resnetgen("verify", "generated/tiny", "--target", "other").code == 0
    certificate = Path("generated/tiny/certificate.json").read_bytes()
    Path("theirs.py").write_text("")
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = resnetgen("verify", "generated/tiny", "--target", "other", "--against", "theirs:tiny")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot compare with theirs:tiny: torch is not installed" in ran.err
    assert Path("generated/tiny/certificate.json").read_bytes() == certificate


@pytest.mark.parametrize("seconds", ["nan", "0", "soon"])
def test_time_limits_are_numbers_of_seconds(resnetgen: Run, seconds: str) -> None:
    ran = resnetgen("verify", "generated/tiny", "--timeout", seconds)
    assert (ran.code, ran.out) == (2, "")
    assert "--timeout" in ran.err


@pytest.mark.frameworks
def test_target_that_was_not_built_is_not_run(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--target", "torch")
    certificate = Path("generated/tiny/certificate.json").read_bytes()
    ran = resnetgen("verify", "generated/tiny", "--target", "onnx")
    assert ran.code == 1
    assert "onnx: model.onnx was not built here" in ran.out
    assert Path("generated/tiny/certificate.json").read_bytes() == certificate


@pytest.mark.frameworks
def test_somebody_elses_model_with_other_names_fails(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--no-verify")
    Path("theirs.py").write_text(
        "import torch\n\ndef linear():\n    return torch.nn.Linear(2, 2)\n"
    )
    ran = resnetgen("build", tiny(), "--target", "torch", "--against", "theirs:linear", "--json")
    found = ran.json["verification"]["targets"]["theirs:linear"]
    assert (ran.code, found["status"]) == (1, "failed")
    assert found["reason"].startswith("has no conv1.weight")


@pytest.mark.frameworks
def test_torchvision_is_what_resnet18_is_compared_with(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without("torch", "torchvision")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    Path("theirs.py").write_text(
        "from peers import torchvision_models\n\nresnet18 = torchvision_models().resnet18\n"
    )
    ran = resnetgen("build", "resnet18", "--target", "torch", "--against", "theirs:resnet18",
                    "--json")  # fmt: skip
    found = ran.json["verification"]
    assert (ran.code, found["reference"]) == (0, "theirs:resnet18")
    assert {each["params"] for each in found["targets"].values()} == {11689512}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "torchvision"], "--against cannot be `torchvision`"),
        (["--against", "a b:c"], "--against cannot be `a b:c`"),
        (["--against", "not_there:f"], "there is no module `not_there`, which --against names"),
        (["--against", "json:loads", "--no-verify"], "--against means nothing to --no-verify"),
        (["--against", "json:loads", "resnet18"], "--against names one network, and there are 2"),
    ],
)
def test_against_what_cannot_be_compared_builds_nothing(
    resnetgen: Run, arguments: list[str], message: str
) -> None:
    ran = resnetgen("build", tiny(), *arguments)
    assert ran.code == 2
    assert message in ran.err
    assert not Path("generated").exists()


def test_against_finds_what_a_finder_of_its_own_provides(monkeypatch: pytest.MonkeyPatch) -> None:
    """As packages have that are installed to be edited, and so lie nowhere on sys.path."""

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            return ModuleSpec(name, None) if name == "edited" else None

    with pytest.raises(DiagnosticError, match="there is no module `edited`"):
        check_peer("edited.models:net")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    check_peer("edited.models:net")


def test_training_on_one_class_is_refused(resnetgen: Run) -> None:
    """Its loss is 0, and so are all gradients: nothing would be compared."""
    spec = tiny()
    ran = resnetgen("build", spec, "--set", "classes=1", "--level", "train")
    assert (ran.code, ran.out) == (2, "")
    assert "--level train compares gradients, and tiny has one class" in ran.err
    assert not Path("generated").exists()
    resnetgen("build", spec, "--set", "classes=1", "--no-verify")
    assert resnetgen("verify", "generated/tiny", "--level", "train").code == 2


def test_network_named_without_its_folder_is_found(resnetgen: Run) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights", "--target", "torch")
    ran = resnetgen("verify", "tiny")
    assert ran.code == 2
    assert ran.err.endswith("hint: did you mean `generated/tiny`?\n")
