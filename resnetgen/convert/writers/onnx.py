"""Writes the graph with its weights inside, and runs it in ONNX's own evaluator."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from resnetgen.child.framework import Unavailable, framework
from resnetgen.verify.runners.onnx_evaluator import reference_session


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the file `out`, and what the graph makes of the image.

    Where ONNX Runtime is installed, it runs the file, too, in the float32 that it is written in.
    """
    onnx = framework("onnx")
    # The graph's weights lie beside it; saved again, they lie in it.
    onnx.save(onnx.load(arguments["model"]), arguments["out"])
    onnx.checker.check_model(arguments["out"], full_check=True)
    out = Path(arguments["out"])
    session = reference_session(onnx, onnx.load(out), "float64", folder=out.parent)
    image = np.load(arguments["image"])
    (output,) = session(image).values()
    np.save(arguments["output"], output)
    with suppress(Unavailable):
        _run(framework("onnxruntime"), out, image, arguments["whole"])
    return {"dtype": "float64"}


def _run(runtime: Any, file: Path, image: Any, output: str) -> None:
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    np.save(output, session.run(None, {name: image.astype(np.float32)})[0])
