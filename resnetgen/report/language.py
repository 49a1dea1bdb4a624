"""The reference of the spec language, in Markdown: written from the schema, so never stale."""

import json
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from resnetgen.spec.dialects import DIALECTS
from resnetgen.spec.expected import expectation
from resnetgen.spec.nodes import Path
from resnetgen.spec.schema import Convolution, Document, Input, RegNet, Stage, Stem

_PARTS: tuple[tuple[str, type[BaseModel], Path], ...] = (
    ("A spec", Document, ()),
    ("`input`", Input, ("input",)),
    ("`stem`", Stem, ("stem",)),
    ("`regnet`", RegNet, ("regnet",)),
    ("Each of the `stages`", Stage, ("stages",)),
    ("Each of a `block`'s convolutions", Convolution, ("block",)),
)
"""The mappings of a spec, and where they stand."""


def language() -> str:
    """A section for each mapping, and in it for each key: meaning, values, default and example."""
    lines = [
        "# The spec language",
        "",
        "What a spec may say, key by key, as `resnetgen schema --format markdown` prints it.",
    ]
    for title, model, path in _PARTS:
        lines += ["", f"## {title}", "", model.__doc__ or ""]
        for key, field in model.model_fields.items():
            lines += _section(key, field, (*path, key))
    return "\n".join(lines) + "\n"


def _section(key: str, field: FieldInfo, path: Path) -> Iterator[str]:
    yield from ("", f"### `{key}`", "", field.description or "", "")
    yield f"Takes {expectation(path).text}. {_default(path, field)}"
    yield from ("", "```yaml")
    yield from (f"{key}: {_yaml(example)}" for example in field.examples or ())
    yield "```"


def _default(path: Path, field: FieldInfo) -> str:
    key = str(path[-1])
    if field.is_required():
        # Items of a list are replaced whole, and every network has a name of its own.
        own = path == ("name",) or (len(path) > 1 and path[0] in ("stages", "block"))
        return "Must be stated." if own else "Must be stated, or inherited."
    decided = {name: getattr(said, key) for name, said in DIALECTS.items() if hasattr(said, key)}
    if decided:
        values = (f"`{_yaml(value)}` in the dialect `{name}`" for name, value in decided.items())
        return f"By default {', '.join(values)}."
    if field.default is None or field.default == ():
        return "May be left out."
    return f"`{_yaml(field.default)}` by default."


def _yaml(value: object) -> str:
    """A value in YAML's flow style."""
    match value:
        case dict():
            items = (f"{key}: {_yaml(each)}" for key, each in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  (examples are of any type)
            return f"{{{', '.join(items)}}}"
        case list() | tuple():
            return f"[{', '.join(map(_yaml, value))}]"  # pyright: ignore[reportUnknownArgumentType]  (examples are of any type)
        case str():
            return value
        case _:
            return json.dumps(value)
