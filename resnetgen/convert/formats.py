"""Which weights files each framework can be given, and what writes and runs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resnetgen.diagnostics import DiagnosticError, Span, did_you_mean


@dataclass(frozen=True, slots=True)
class Format:
    """A framework's weights files."""

    endings: tuple[str, ...]
    """How their names may end; where there are several, the ending decides what is written."""
    writer: str
    """The module whose `main` writes one, loads it into the generated model and runs that."""
    runners: tuple[str, ...]
    """The runners of `verify` whose framework it needs; the first that is installed is taken."""
    requires: Mapping[str, str] | None = None
    """The modules that it needs, and the extra that brings each, where not all that those need."""


FORMATS: Mapping[str, Format] = {
    "torch": Format(
        (".pth", ".pt", ".bin", ".safetensors"), "resnetgen.convert.writers.torch", ("torch",)
    ),
    "keras": Format(
        (".weights.h5", ".keras"),
        "resnetgen.convert.writers.keras",
        ("keras-tensorflow", "keras-jax", "keras-torch"),
    ),
    "flax": Format((".safetensors",), "resnetgen.convert.writers.flax", ("flax",)),
    "onnx": Format((".onnx",), "resnetgen.convert.writers.onnx", ("onnx",), requires={}),
}
"""By target. Flax has no file of its own: `load_safetensors` of the generated file reads this."""


def refuse_other_endings(out: Path, target: str) -> None:
    """Raises a DiagnosticError if the file's name does not say what it would be."""
    endings = FORMATS[target].endings
    if out.name.lower().endswith(endings):
        return
    message = f"is no name for a weights file of {target}"
    expected = f"a name that ends in {' or '.join(endings)}"
    hint = did_you_mean(out.suffix, endings) if out.suffix else None
    place = Span.of_file(str(out))
    raise DiagnosticError.of("bad-ending", message, place, hint, expected=expected)
