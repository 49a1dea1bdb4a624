"""Mistakes in what a document means: at paths, and as diagnostics once paths have places."""

from collections.abc import Iterable
from dataclasses import dataclass

from resnetgen.diagnostics import Diagnostic, DiagnosticError
from resnetgen.spec.nodes import MappingNode, Path, locate


@dataclass(frozen=True, slots=True)
class Problem:
    """What the value at `path` has wrong with it; the words are those of a Diagnostic."""

    code: str
    path: Path
    message: str
    expected: str | None = None
    hint: str | None = None


def refuse(document: MappingNode, problems: Iterable[Problem]) -> None:
    """Raises DiagnosticError if there is any problem."""
    diagnostics = [
        Diagnostic(
            problem.code,
            problem.message,
            locate(document, problem.path),
            problem.hint,
            problem.expected,
        )
        for problem in problems
    ]
    if diagnostics:
        raise DiagnosticError(diagnostics)
