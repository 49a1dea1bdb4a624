"""The wheel, installed away from the checkout among its declared dependencies and nothing else."""

import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax", "onnxruntime")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as installers build it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the wheel and sees its dependencies alone."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, symlinks=True)
    executables = root / ("Scripts" if sys.platform == "win32" else "bin")
    command = [sys.executable, "-m", "pip", "--python", executables / "python"]
    command += ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*command, wheel], check=True)
    (packages,) = root.glob("lib/python*/site-packages")
    (installed,) = distributions(name="resnetgen", path=[str(packages)])
    for dependency in closure(installed):
        link(dependency, packages)
    return executables


def closure(start: Distribution) -> list[Distribution]:
    """The distributions that `start` requires without extras, directly or not."""
    found: dict[str, Distribution] = {}
    pending = [start]
    while pending:
        for line in pending.pop().requires or ():
            requirement = Requirement(line)
            name = requirement.name
            if name in found or not (
                requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            ):
                continue
            found[name] = distribution(name)
            assert requirement.specifier.contains(found[name].version, prereleases=True)
            pending.append(found[name])
    return list(found.values())


def link(dependency: Distribution, packages: Path) -> None:
    for top in {Path(file).parts[0] for file in dependency.files or ()} - {"..", "__pycache__"}:
        source = Path(str(dependency.locate_file(top)))
        if source.exists() and not (packages / top).exists():
            (packages / top).symlink_to(source)


def run(environment: Path, *arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    return subprocess.run(
        [environment / arguments[0], *arguments[1:]],
        cwd=directory, env=variables, capture_output=True, text=True,
    )  # fmt: skip


def test_wheel_holds_templates_and_specs(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "specs"):
        files = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {f"resnetgen/{path.as_posix()}" for path in files} <= shipped
    assert "resnetgen/py.typed" in shipped
    assert not [name for name in shipped if name.startswith(("tests", "generated", "bench"))]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_core_brings_no_framework(environment: Path, framework: str, tmp_path: Path) -> None:
    ran = run(environment, "python", "-c", f"import {framework}", directory=tmp_path)
    assert f"No module named '{framework}'" in ran.stderr


def test_installed_command_builds_a_bundled_network(environment: Path, tmp_path: Path) -> None:
    where = run(
        environment, "python", "-c", "import resnetgen; print(resnetgen.__file__)",
        directory=tmp_path,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(environment.parent)
    ran = run(environment, "resnetgen", "build", "resnet18", "--no-verify", directory=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "generated" / "resnet18").iterdir()} == {
        "README.md", "manifest.json", "model.onnx", "model.onnxtxt", "model.safetensors",
        "model_flax.py", "model_keras.py", "model_torch.py", "spec.yaml",
    }  # fmt: skip
    assert run(environment, "resnetgen", "build", "--check", directory=tmp_path).returncode == 0


def test_missing_framework_is_named_with_its_extra(environment: Path, tmp_path: Path) -> None:
    arguments = ("build", "resnet20", "--target", "torch")
    ran = run(environment, "resnetgen", *arguments, directory=tmp_path)
    assert ran.returncode == 3, ran.stderr
    assert "install resnetgen[torch]" in ran.stdout
    assert "Traceback" not in ran.stderr
