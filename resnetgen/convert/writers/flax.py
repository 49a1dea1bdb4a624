"""Writes the safetensors file that `model_flax.py` loads, loads it, and runs the model."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.verify.runners.flax import built, cast
from resnetgen.verify.runners.source import LOADER, factory, load_source


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the file `out`, and what the model with its weights makes of the image."""
    jax, nnx = framework("jax"), framework("flax.nnx")
    module = load_source(Path(arguments["model"]))
    shutil.copyfile(arguments["weights"], arguments["out"])
    model = built(jax, nnx, factory(module))
    getattr(module, LOADER)(model, Path(arguments["out"]))
    cast(jax, nnx, model, "float64")
    model.eval()
    image = np.load(arguments["image"]).transpose(0, 2, 3, 1)
    np.save(arguments["output"], np.array(model(jax.numpy.asarray(image))))
    return {"dtype": "float64"}
