"""Which module may import which: one way through the passes, and no framework at start-up."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnetgen import __file__ as package_file

PACKAGE = Path(package_file).parent

# What the modules of each room may import of ours, beside their own room and `diagnostics`.
CONTRACT = {
    "diagnostics": set[str](),
    "resources": set[str](),
    "plugins": set[str](),
    "records": set[str](),
    "digests": set[str](),
    "locks": set[str](),
    "scratch": {"locks"},
    "whole_file": {"locks"},
    "child": set[str](),
    "spec": {"resources", "digests"},
    "ir": set[str](),
    "lower": {"spec", "ir"},
    "weights": {"spec", "ir", "lower", "difference", "child", "scratch"},
    "emit": {"ir", "weights.layout", "resources", "plugins", "records", "digests", "locks",
             "whole_file"},
    "verify": {"ir", "weights", "plugins", "records", "digests", "child", "scratch"},
    "convert": {"ir", "weights", "emit", "verify", "child", "scratch", "whole_file"},
    "difference": {"spec", "ir", "lower"},
    "report": {"spec", "ir", "verify.result", "difference"},
    "output": {"spec", "ir", "weights", "emit", "records", "digests"},
    "certificates": {"ir", "verify", "records", "whole_file"},
    "pipeline": {"spec", "ir", "lower", "weights", "emit", "verify", "output", "certificates",
                 "records", "child.exhausted"},
    "cli": {"spec", "ir", "lower", "weights", "emit", "verify", "difference", "report", "output",
            "certificates", "pipeline", "records", "digests", "convert", "child", "whole_file"},
    "__main__": {"cli"},
}  # fmt: skip

FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "flax", "onnxruntime", "h5py"}
# They are installed with the core, and slow to import: only functions that need them do.
SLOW = {"numpy", "onnx", "jinja2", "rich", "safetensors"}
# What child processes run: the rooms that may import frameworks, and by which functions they do.
IN_CHILDREN = (
    "resnetgen.child.",
    "resnetgen.convert.writers.",
    "resnetgen.verify.runners.",
    "resnetgen.weights.readers.",
)
IMPORTERS = {"framework", "import_module", "__import__"}
STARTS_LATE = ("resnetgen.verify", "resnetgen.weights", "resnetgen.convert")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


MODULES = dict(modules())


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module, names, level):
                assert level == 0, "imports are absolute"
                assert module is not None
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass


def imported_by_calls(tree: ast.AST) -> Iterator[str]:
    """What `framework("torch")` and its like import; `?` stands for a name known at run time."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name(called) | ast.Attribute(attr=called), arguments, keywords) if (
                called in IMPORTERS
            ):
                values = [*arguments, *(keyword.value for keyword in keywords)]
                names = [
                    value.value
                    for value in values
                    if isinstance(value, ast.Constant) and isinstance(value.value, str)
                ]
                yield from names or ["?"]
            case _:
                pass


def at_start(tree: ast.Module) -> Iterator[str]:
    """What importing the module imports: not what functions do, nor what only types need."""
    for statement in tree.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                pass
            case ast.If(ast.Name("TYPE_CHECKING")):
                pass
            case _:
                yield from imported(statement)


def room(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "resnetgen"])
def test_rooms_import_one_way(name: str) -> None:
    allowed = {"diagnostics", room(name), *CONTRACT[room(name)]} - (
        {"diagnostics"} if room(name) == "resources" else set()
    )
    for target in imported(MODULES[name]):
        if target.split(".")[0] != "resnetgen":
            continue
        within = target.removeprefix("resnetgen").removeprefix(".")
        assert any(f"{within}.".startswith(f"{room}.") for room in allowed), (
            f"{name} imports {target}"
        )


@pytest.mark.parametrize("name", MODULES)
def test_frameworks_are_imported_by_what_child_processes_run_alone(name: str) -> None:
    if name.startswith(IN_CHILDREN):
        return
    static = set(imported(MODULES[name]))
    roots = {target.split(".")[0] for target in static | set(imported_by_calls(MODULES[name]))}
    assert not roots & {*FRAMEWORKS, "?"}
    # Under another name, a function that imports would not be seen at its calls.
    assert not {target.rpartition(".")[2] for target in static} & IMPORTERS


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('torch = framework("torch")', {"torch"}),
        ('def run():\n    return importlib.import_module(name="jax.numpy").array', {"jax.numpy"}),
        ('jax, nnx = framework("jax"), __import__("flax")', {"jax", "flax"}),
        ("framework(backend)", {"?"}),
        ('missing({"torch": "torch"})', set[str]()),
    ],
)
def test_imports_by_calls_are_seen(source: str, names: set[str]) -> None:
    assert set(imported_by_calls(ast.parse(source))) == names


def test_every_room_that_imports_frameworks_is_seen_to() -> None:
    for prefix in set(IN_CHILDREN) - {"resnetgen.child."}:
        calls = {
            target.split(".")[0]
            for name, tree in MODULES.items()
            if name.startswith(prefix)
            for target in imported_by_calls(tree)
        }
        assert calls & FRAMEWORKS, prefix


@pytest.mark.parametrize("name", MODULES)
def test_importing_a_module_imports_nothing_slow(name: str) -> None:
    slow = FRAMEWORKS if name.startswith(STARTS_LATE) else FRAMEWORKS | SLOW
    roots = {target.split(".")[0] for target in at_start(MODULES[name])}
    assert not roots & slow


@pytest.mark.parametrize("name", MODULES)
def test_only_the_command_line_prints_or_exits(name: str) -> None:
    if room(f"{name}.") in ("cli", "__main__"):
        return
    for node in ast.walk(MODULES[name]):
        match node:
            case ast.Call(ast.Name("print" | "exit" | "quit" as called)):
                pytest.fail(f"{name}:{node.lineno} calls {called}")
            case ast.Attribute(ast.Name("sys"), "exit" | "stdout" | "stderr" as used):
                pytest.fail(f"{name}:{node.lineno} uses sys.{used}")
            case _:
                pass


def loaded_by(arguments: list[str], directory: Path) -> set[str]:
    """The top-level modules that a run of the command line has loaded when it ends."""
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, sep='\\n', file=sys.stderr))\n"
        "from resnetgen.cli import main\n"
        f"sys.argv = ['resnetgen', *{arguments!r}]\n"
        "sys.exit(main())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=directory, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return {module.split(".")[0] for module in run.stderr.split()}


def test_help_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    loaded = loaded_by(["--help"], tmp_path)
    assert not loaded & {*FRAMEWORKS, *SLOW, "pydantic", "ruamel"}


def test_build_without_verification_loads_no_framework(tmp_path: Path) -> None:
    arguments = ["build", "resnet18", "--no-verify", "--no-weights"]
    assert not loaded_by(arguments, tmp_path) & FRAMEWORKS


@pytest.mark.parametrize("arguments", ["show resnet18", "check resnet18", "diff resnet18 resnet34"])
def test_looking_at_a_spec_does_not_load_numpy(tmp_path: Path, arguments: str) -> None:
    assert not loaded_by(arguments.split(), tmp_path) & {*FRAMEWORKS, "numpy", "onnx"}
