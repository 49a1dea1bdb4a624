"""The proof is held to account: faults put into generated files by hand are caught and named."""

from pathlib import Path

import onnx
import pytest
from faults import (
    FLAX,
    FLAX_CHANNELING,
    FLAX_DILATING,
    FLAX_SAME,
    FLAX_SQUEEZING,
    KERAS,
    KERAS_CHANNELING,
    KERAS_DILATING,
    KERAS_SAME,
    KERAS_SQUEEZING,
    ONNX,
    ONNX_CHANNELING,
    ONNX_DILATING,
    ONNX_SAME,
    ONNX_SQUEEZING,
    TORCH,
    TORCH_CHANNELING,
    TORCH_DILATING,
    TORCH_SAME,
    TORCH_SQUEEZING,
    Fault,
)
from skips import skip_without
from verification import (
    CHANNELING,
    DILATING,
    SAME,
    SQUEEZING,
    TINY,
    files,
    network_of,
    verify_together,
)

pytestmark = pytest.mark.frameworks

TABLES = [
    pytest.param(
        "torch",
        "model_torch.py",
        "torch",
        (TORCH, TORCH_SQUEEZING, TORCH_CHANNELING, TORCH_DILATING, TORCH_SAME),
        id="torch",
    ),
    pytest.param(
        "keras-tensorflow",
        "model_keras.py",
        "tensorflow",
        (KERAS, KERAS_SQUEEZING, KERAS_CHANNELING, KERAS_DILATING, KERAS_SAME),
        id="keras",
    ),
    pytest.param(
        "flax",
        "model_flax.py",
        "flax",
        (FLAX, FLAX_SQUEEZING, FLAX_CHANNELING, FLAX_DILATING, FLAX_SAME),
        id="flax",
    ),
    pytest.param(
        "onnx",
        "model.onnx",
        "onnxruntime",
        (ONNX, ONNX_SQUEEZING, ONNX_CHANNELING, ONNX_DILATING, ONNX_SAME),
        id="onnx",
    ),
]


@pytest.mark.parametrize(("target", "file", "module", "tables"), TABLES)
def test_faults_are_caught_and_named(
    target: str, file: str, module: str, tables: tuple[tuple[Fault, ...], ...], tmp_path: Path
) -> None:
    skip_without(module)
    untouched: list[Path] = []
    broken: dict[Path, Fault] = {}
    specs = (TINY, SQUEEZING, CHANNELING, DILATING, SAME)
    for spec, faults in zip(specs, tables, strict=True):
        network = network_of(spec, tmp_path)
        untouched.append(files(network, tmp_path / network.name, spec=spec))
        for fault in faults:
            directory = tmp_path / f"{network.name}-{fault.name}"
            broken[files(network, directory, spec=spec)] = fault
            _break(directory / file, fault)

    results = verify_together(target, [*untouched, *broken])

    assert {results[each.name]["status"] for each in untouched} == {"passed"}
    wrong = {
        directory.name: results[directory.name]
        for directory, fault in broken.items()
        if not fault.is_named(results[directory.name])
    }
    assert not wrong


def _break(path: Path, fault: Fault) -> None:
    if path.suffix == ".py":
        path.write_text(fault.edit(path.read_text()))
    else:
        model = onnx.load(path, load_external_data=False)
        fault.edit(model)
        path.write_bytes(model.SerializeToString())
