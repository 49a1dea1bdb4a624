"""Writes down what a verification proved: of which bytes, with which versions, how closely."""

import platform

import numpy as np

from resnetgen.ir.network import Network
from resnetgen.verify.document import CertificateJson, CertifiedRunJson, CertifiedTargetJson
from resnetgen.verify.result import RunFigures, TargetResult, Verification, finite

KEYS = frozenset({"name", "spec_sha256", "status", "level", "files", "targets"})
"""What certificates of every version have."""


def certificate(verification: Verification, network: Network) -> CertificateJson:
    """The content of `certificate.json`.

    It holds neither a clock nor a path: the same files, versions and machine give the same
    certificate, but for the last digits of what was measured.
    """
    document: CertificateJson = {
        "name": network.name,
        "spec_sha256": network.spec_sha256,
        "status": verification.status,
        "level": verification.level,
        "reference": verification.reference,
        "weights": verification.weights,
        "seed": verification.seed,
        "files": dict(verification.files),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "machine": platform.machine(),
        "inputs": [case.to_json() for case in verification.cases],
        "targets": {name: _target(result) for name, result in verification.targets.items()},
    }
    if verification.left_out:
        document["inputs_left_out"] = [each.to_json() for each in verification.left_out]
    return document


def _target(result: TargetResult) -> CertifiedTargetJson:
    return {
        **result.to_json(),
        "device_name": result.device_name,
        "versions": dict(result.versions or {}),
        "parameters_compared": result.parameters_compared,
        "shapes_compared": result.shapes_compared,
        "blocks_compared": result.blocks_compared,
        "runs": [_run(run) for run in result.runs],
    }


def _run(run: RunFigures) -> CertifiedRunJson:
    """The figures, of each block too, and which of the certificate's inputs they are of."""
    return {
        **run.to_json(),
        "inputs_compared": list(run.cases),
        "max_rel_diff_at": {name: finite(value) for name, value in run.max_rel_diff_at.items()},
    }
