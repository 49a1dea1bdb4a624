"""Writes a state_dict for PyTorch, loads it into the generated model, and runs that."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnetgen.child.framework import framework
from resnetgen.verify.runners.source import factory, load_source


def main(arguments: Mapping[str, str]) -> dict[str, str]:
    """Leaves the file `out`, and what the model with its weights makes of the image."""
    torch = framework("torch")
    tensors_of = framework("safetensors.torch").load_file
    out = Path(arguments["out"])
    build = factory(load_source(Path(arguments["model"])))
    if out.suffix == ".safetensors":
        shutil.copyfile(arguments["weights"], out)
        tensors = tensors_of(out)
    else:
        model = build()
        model.load_state_dict(tensors_of(arguments["weights"]), strict=True)
        torch.save(model.state_dict(), out)
        tensors = torch.load(out, weights_only=True)
    model = build()
    model.load_state_dict(tensors, strict=True)
    model.double().eval()
    with torch.inference_mode():
        output = model(torch.from_numpy(np.load(arguments["image"])))
    np.save(arguments["output"], output.numpy())
    return {"dtype": "float64"}
