"""Writes the graph with its weights inside, and runs it in ONNX Runtime."""

from collections.abc import Mapping

import numpy as np

from resnetgen.child.framework import framework


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the file `out`, and what the graph makes of the image."""
    onnx, runtime = framework("onnx"), framework("onnxruntime")
    # The graph's weights lie beside it; saved again, they lie in it.
    onnx.save(onnx.load(arguments["model"]), arguments["out"])
    onnx.checker.check_model(arguments["out"], full_check=True)
    session = runtime.InferenceSession(arguments["out"], providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    (output,) = session.run(None, {given.name: np.load(arguments["image"])})
    np.save(arguments["output"], output)
    return {}
