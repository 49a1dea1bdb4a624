"""Writes a file of weights or a whole model for Keras, loads it, and runs that."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.child.task import Refused
from resnetgen.verify.runners.keras import set_up_dtype
from resnetgen.verify.runners.source import LOADER, factory, load_source


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the file `out`, and what the model with its weights makes of the image.

    A whole model is also run as it is, in the float32 that it was saved in.
    """
    keras = framework("keras")
    image = np.load(arguments["image"]).transpose(0, 2, 3, 1)
    module = load_source(Path(arguments["model"]))
    build = factory(module)
    any_size = (None, None, image.shape[-1])
    out = Path(arguments["out"])
    model: Any = build(input_shape=any_size)
    getattr(module, LOADER)(model, Path(arguments["weights"]))
    if out.suffix == ".keras":
        try:
            model.save(out)
            whole: Any = keras.saving.load_model(out)
        except RecursionError as error:
            hint = "a .weights.h5 file has no such limit"
            raise Refused(f"is too deep for Keras to load from a .keras file: {hint}") from error
        np.save(arguments["whole"], _run(keras, whole, image, "float32"))
        weights: Any = whole.get_weights()
    else:
        model.save_weights(out)
        weights = None
    dtype = set_up_dtype(keras, None)
    model = build(input_shape=any_size)
    if weights is None:
        model.load_weights(out)
    else:
        model.set_weights(weights)
    np.save(arguments["output"], _run(keras, model, image, dtype))
    return {"dtype": dtype}


def _run(keras: Any, model: Any, image: Any, dtype: str) -> Any:
    output = model(keras.ops.convert_to_tensor(image.astype(dtype)), training=False)
    return np.array(keras.ops.convert_to_numpy(output))
