"""The proof is held to account: faults put into generated files by hand are caught and named."""

from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from faults import FLAX, KERAS, ONNX, TORCH, Fault
from verification import TINY, files, network_of, verify_together

pytestmark = pytest.mark.frameworks

TABLES = [
    pytest.param("torch", "model_torch.py", "torch", TORCH, id="torch"),
    pytest.param("keras-tensorflow", "model_keras.py", "tensorflow", KERAS, id="keras"),
    pytest.param("flax", "model_flax.py", "flax", FLAX, id="flax"),
    pytest.param("onnx", "model.onnx", "onnxruntime", ONNX, id="onnx"),
]


@pytest.mark.parametrize(("target", "file", "module", "faults"), TABLES)
def test_faults_are_caught_and_named(
    target: str, file: str, module: str, faults: tuple[Fault, ...], tmp_path: Path
) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    network = network_of(TINY, tmp_path)
    untouched = files(network, tmp_path / "untouched")
    directories = [untouched]
    for fault in faults:
        directory = files(network, tmp_path / fault.name)
        _break(directory / file, fault)
        directories.append(directory)

    results = verify_together(target, directories)

    assert results.pop("untouched")["status"] == "passed"
    wrong = {
        name: result
        for name, result in results.items()
        if not _names(result, next(fault for fault in faults if fault.name == name))
    }
    assert not wrong


def _break(path: Path, fault: Fault) -> None:
    if path.suffix == ".py":
        path.write_text(fault.edit(path.read_text()))
    else:
        model = onnx.load(path, load_external_data=False)
        fault.edit(model)
        path.write_bytes(model.SerializeToString())


def _names(result: dict[str, object], fault: Fault) -> bool:
    return (
        result["status"] == "failed"
        and result["first_divergence"] == fault.layer
        and (fault.cause is None or fault.cause in str(result["cause"]))
    )
