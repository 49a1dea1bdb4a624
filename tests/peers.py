"""Other people's models, to stand beside ours."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Computed:
    """What a model gave in a process of its own: logits of each image in both precisions."""

    params: int
    single: tuple[NDArray[np.float32], ...]
    double: tuple[NDArray[np.float64], ...]


def computed(
    program: str, name: str, folder: Path, images: Sequence[NDArray[np.float32]], *files: str
) -> Computed:
    """Runs a program that lies beside this, since some frameworks bear no other in their process.

    `PROGRAM MODEL FOLDER FILE...` builds the model with weights and statistics drawn at random and
    writes the files in the folder, each in the format that its name says. It computes the logits of
    `image0.npy` and those that follow, in NCHW, and leaves them there as `float32.0.npy` and so on.
    The last line that it prints is the number of its parameters.
    """
    for number, image in enumerate(images):
        np.save(folder / f"image{number}.npy", image)
    path = Path(__file__).with_name(program)
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [sys.executable, path, name, folder, *files],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"{last}\n{done.stderr}")
    numbers = range(len(images))
    return Computed(
        json.loads(done.stdout.splitlines()[-1]),
        tuple(np.load(folder / f"float32.{number}.npy") for number in numbers),
        tuple(np.load(folder / f"float64.{number}.npy") for number in numbers),
    )


def images_in(folder: Path) -> list[NDArray[np.float32]]:
    """What `computed` left for its program."""
    number = len(list(folder.glob("image*.npy")))
    return [np.load(folder / f"image{each}.npy") for each in range(number)]


def leave(logits: NDArray[Any], folder: Path, dtype: str, number: int) -> None:
    """Puts an image's logits where `computed` looks for them."""
    assert logits.dtype == dtype, f"{dtype}: computed in {logits.dtype}"
    np.save(folder / f"{dtype}.{number}.npy", logits)


def torchvision_models() -> ModuleType:
    """`torchvision.models`, also where torchvision was built for CUDA and PyTorch was not.

    Then its detection operators do not exist, and describing them to PyTorch fails the import; the
    classification models need none of them.
    """
    import torch

    register = torch.library.register_fake

    def register_fake(op: Any, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(op, str) and op.startswith("torchvision::"):
            return lambda function: function
        return register(op, *arguments, **keywords)

    with mock.patch.object(torch.library, "register_fake", register_fake):
        return importlib.import_module("torchvision.models")
