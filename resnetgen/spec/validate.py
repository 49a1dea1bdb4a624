"""Gives a merged document its form: nodes in, a Document out, or a diagnostic per bad value."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from resnetgen.diagnostics import (
    Diagnostic,
    DiagnosticError,
    called_elsewhere,
    did_you_mean,
    nearest,
    quote,
)
from resnetgen.spec import names
from resnetgen.spec.expected import Expectation, expectation, keys_at, keys_below, owners
from resnetgen.spec.nodes import (
    MappingNode,
    Node,
    Path,
    ScalarNode,
    SequenceNode,
    describe,
    dotted,
    find,
    locate,
    plain_scalar,
)
from resnetgen.spec.schema import TAGGED, Document

_NOTHING = object()
"""Stands for an empty value, which is not the same as a key that is absent."""
_OPTIONS = {"A": "zero_pad", "B": "projection", "C": "projection_all"}
"""What the paper calls the shortcuts (section 4.1)."""


def validate(document: MappingNode) -> Document:
    """The document's form; raises DiagnosticError with all that is wrong with it."""
    errors: list[tuple[Path, Any]] = []
    # What gives the stages is one of two keys, of which the form alone requires neither.
    if not document.entries.keys() & {"stages", "regnet"}:
        errors.append((("stages",), {"type": "missing"}))
    try:
        checked = Document.model_validate(_plain(document))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        errors = [*((_path(item["loc"]), item) for item in found), *errors]
    else:
        if not errors:
            return checked
    if _lacks_keys(errors) and not _states_block(document):
        # Each stage may have its own instead, so the form alone does not require it.
        errors.append((("block",), {"type": "missing"}))
    misspelled = {
        (*path[:-1], meant)
        for path, item in errors
        if (meant := _meant_key(path, item)) is not None
    }
    problems: dict[Path, Diagnostic] = {}
    for path, item in errors:
        if path in misspelled or _is_echo(document, path, item):
            continue
        # What is extended would bring what is missing.
        if ("extends",) in misspelled and _lacks_keys([(path, item)]):
            continue
        problems.setdefault(path, _diagnostic(document, path, item))
    raise DiagnosticError(problems.values())


def _lacks_keys(errors: Iterable[tuple[Path, Any]]) -> bool:
    """Whether one of these is that the network itself lacks a key."""
    return any(len(path) == 1 and error["type"] == "missing" for path, error in errors)


def _states_block(document: MappingNode) -> bool:
    stages = find(document, ("stages",))
    rows = stages.items if isinstance(stages, SequenceNode) else ()
    return any(find(node, ("block",)) is not None for node in (document, *rows))


def _plain(node: Node) -> Any:
    match node:
        case MappingNode():
            return {name: _plain(entry.value) for name, entry in node.entries.items()}
        case SequenceNode():
            return tuple(_plain(item) for item in node.items)
        case ScalarNode():
            return _NOTHING if node.value is None else node.value


def _path(location: tuple[int | str, ...]) -> Path:
    """Pydantic's location without the tags of unions; of a missing key, its place if it were."""
    holders = (None, *location)
    return tuple(
        step
        for holder, step in zip(holders, location, strict=False)
        if not (holder in TAGGED and isinstance(step, str))
    )


def _meant_key(path: Path, error: Any) -> str | None:
    """The known key that an unknown one is a misspelling of: that it is missing is no news."""
    return (
        nearest(str(path[-1]), keys_at(path[:-1])) if error["type"] == "extra_forbidden" else None
    )


def _is_echo(document: MappingNode, path: Path, error: Any) -> bool:
    """Whether a list is too short only because Pydantic does not count its invalid items."""
    node = find(document, path)
    return error["type"] == "too_short" and isinstance(node, SequenceNode) and bool(node.items)


def _diagnostic(document: MappingNode, path: Path, error: Any) -> Diagnostic:
    match error["type"]:
        case "missing":
            return _missing(document, path)
        case "extra_forbidden":
            return _unknown(document, path)
        case _:
            return _bad_value(document, path, error)


def _missing(document: MappingNode, path: Path) -> Diagnostic:
    *holder, key = path
    if isinstance(key, int):
        # What a list lacks has no name: the list itself is what is wrong.
        node = find(document, tuple(holder))
        assert node is not None, f"nothing at {holder}"
        message = f"`{dotted(tuple(holder))}` is {describe(node)} that is too short"
        span, expected = locate(document, tuple(holder)), expectation(tuple(holder)).text
        return Diagnostic("bad-value", message, span, expected=expected)
    inside = f" in `{dotted(tuple(holder))}`" if holder else ""
    span = locate(document, tuple(holder))
    expected = f"`{key}: ...`, {expectation(path).text}"
    return Diagnostic("missing-key", f"`{key}` is missing{inside}", span, expected=expected)


def _unknown(document: MappingNode, path: Path) -> Diagnostic:
    holder, key = path[:-1], str(path[-1])
    known = keys_at(holder)
    inside = f" in `{dotted(holder)}`" if holder else ""
    first, _, rest = key.partition(".")
    if first in known and rest:
        written = f"; here it is `{first}: {{{rest}: ...}}`" if rest.isidentifier() else ""
        hint = f"`--set` alone takes paths{written}"
    elif key.partition(":")[0] in known:
        hint = "a space belongs behind its `:`"
    elif owners(key):
        hint = f"`{key}` is {_key_of(key)}"
    elif holder and (of_network := _key_of_network(key)) is not None:
        hint = f"`{of_network}` is a key of the network as a whole"
    else:
        hint = did_you_mean(key, known) or (None if holder else _misspelt_below(key))
    return Diagnostic(
        "unknown-key",
        f"unknown key {quote(key)}{inside}",
        locate(document, path, key=True),
        hint,
        f"one of {', '.join(known)}",
    )


def _misspelt_below(key: str) -> str | None:
    """A hint at the key further down that this one at the top is probably a misspelling of."""
    meant = nearest(key, keys_below())
    if meant is None:
        return None
    return f"did you mean `{meant}`, {_key_of(meant)}?"


def _key_of(key: str) -> str:
    return "a key of " + " and of ".join(f"`{owner}`" for owner in owners(key))


def _key_of_network(key: str) -> str | None:
    """The key at the top that this is, or that other tools call so."""
    known = keys_at(())
    return key if key in known else called_elsewhere(key, known)


def _bad_value(document: MappingNode, path: Path, error: Any) -> Diagnostic:
    node = find(document, path)
    assert node is not None, f"nothing at {path}"
    expected = expectation(path)
    span = locate(document, path)
    if error["type"] == "name":
        text = node.text if isinstance(node, ScalarNode) else ""
        legal = names.nearest_legal(text)
        hint = None if legal is None else f"did you mean `{legal}`?"
        message = f"`{dotted(path)}` cannot be {quote(text)}: {error['ctx']['objection']}"
        if names.form_objection(text) is None:
            hint = f"`{text}_net` could be its name"
            return Diagnostic("bad-name", message, span, hint, "a name that is still free")
        return Diagnostic("bad-name", message, span, hint, expected.text)
    message = f"`{dotted(path)}` is {describe(node)}"
    return Diagnostic("bad-value", message, span, _hint(node, expected), expected.text)


def _hint(node: Node, expected: Expectation) -> str | None:
    """How to write what was probably meant."""
    if not isinstance(node, ScalarNode):
        return None
    wants_number = int in expected.types or float in expected.types
    match node.value:
        case None if "none" in expected.words:
            return "write the word `none`"
        case str() as text if bool in expected.types and text.lower() in ("yes", "no", "on", "off"):
            return "only `true` and `false` are booleans"
        case str() as text if "zero_pad" in expected.words and text.upper() in _OPTIONS:
            return f"the paper's option {text.upper()} is `{_OPTIONS[text.upper()]}`"
        case str() as text if expected.words:
            return did_you_mean(text, expected.words)
        case str() as text if wants_number and node.quoted and _is_number(plain_scalar(text)):
            return f"write {text} without quotes"
        case str() as text if wants_number and re.fullmatch(r"0[xob]?[0-9a-fA-F]+|[0-9_]+", text):
            return "write plain decimal digits"
        case float() as number if int in expected.types and number.is_integer():
            return f"write {number:.0f}"
        case _:
            return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
