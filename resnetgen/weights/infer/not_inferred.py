"""What keeps names and shapes from being those of a network, as a diagnostic."""

from resnetgen.diagnostics import DiagnosticError, quote
from resnetgen.ir.rules import Shape


def not_inferred(
    message: str, expected: str | None = None, hint: str | None = None
) -> DiagnosticError:
    """A diagnostic without a place: who read the file knows its name."""
    return DiagnosticError.of("not-inferred", message, None, hint, expected=expected)


def missing(name: str, because: str) -> DiagnosticError:
    """A tensor that others call for."""
    return not_inferred(f"there is no tensor {quote(name)}, {because}")


def shaped(name: str, shape: Shape, expected: str) -> DiagnosticError:
    """A tensor whose shape cannot be."""
    return not_inferred(f"{quote(name)} has the shape {list(shape)}", expected)
