"""The records in a network's directory: what their files are called, and how they are read."""

import json
from pathlib import Path

SPEC = "spec.yaml"
"""The resolved spec."""
MANIFEST = "manifest.json"
LISTED = "files"
"""The manifest's key for the files that a build wrote, by name."""
CERTIFICATE = "certificate.json"


def read_json(path: Path) -> object:
    """What the JSON says; None where there is no JSON to read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
