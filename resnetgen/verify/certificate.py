"""Writes down what a verification proved: of which bytes, with which versions, how closely."""

import hashlib
import platform
from pathlib import Path

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.verify.result import TargetResult, Verification
from resnetgen.verify.runners.registry import runner
from resnetgen.weights.layout import WEIGHTS_FILE

_ALWAYS_READ = ("spec.yaml", WEIGHTS_FILE)


def certificate(verification: Verification, network: Network, directory: Path) -> dict[str, object]:
    """The content of `certificate.json`.

    It holds neither a clock nor a path: the same files, versions and machine give the same
    certificate, but for the last digits of what was measured.
    """
    return {
        "name": network.name,
        "spec_sha256": network.spec_sha256,
        "status": verification.status,
        "level": verification.level,
        "reference": verification.reference,
        "weights": verification.weights,
        "seed": verification.seed,
        "files": _hashes(verification, directory),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "machine": platform.machine(),
        "inputs": [
            {"weights": case.weights, "shape": list(case.shape), "scale": case.scale}
            for case in verification.cases
        ],
        "targets": {name: _target(result) for name, result in verification.targets.items()},
    }


def _hashes(verification: Verification, directory: Path) -> dict[str, str]:
    """The SHA-256, in hex, of every file that was judged."""
    ran = [name for name, result in verification.targets.items() if result.status != "not_run"]
    judged = {*_ALWAYS_READ, *(file for name in ran for file in runner(name).files)}
    hashes: dict[str, str] = {}
    for path in sorted(directory / name for name in judged):
        if path.is_file():
            with path.open("rb") as file:
                hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _target(result: TargetResult) -> dict[str, object]:
    return {
        **result.to_json(),
        "device_name": result.device_name,
        "versions": dict(result.versions or {}),
        "parameters_compared": result.parameters_compared,
        "shapes_compared": result.shapes_compared,
        "blocks_compared": result.blocks_compared,
    }
