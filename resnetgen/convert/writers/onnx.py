"""Writes the graph with its weights inside, and runs it in ONNX's own evaluator."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.verify.runners.onnx_evaluator import reference_session


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the file `out`, and what the graph makes of the image."""
    onnx = framework("onnx")
    # The graph's weights lie beside it; saved again, they lie in it.
    onnx.save(onnx.load(arguments["model"]), arguments["out"])
    onnx.checker.check_model(arguments["out"], full_check=True)
    out = Path(arguments["out"])
    session = reference_session(onnx, onnx.load(out), "float64", folder=out.parent)
    (output,) = session(np.load(arguments["image"])).values()
    np.save(arguments["output"], output)
    return {"dtype": "float64"}
