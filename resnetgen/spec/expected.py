"""What a field of the document takes, in a person's words: read from the schema, so never stale."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from resnetgen.spec.fields import Expected
from resnetgen.spec.nodes import Path
from resnetgen.spec.schema import Convolution, Document, Input, RegNet, Stage, Stem

_MODELS: dict[str | None, type[BaseModel]] = {
    None: Document,
    "input": Input,
    "stem": Stem,
    "regnet": RegNet,
    "stages": Stage,
    "block": Convolution,
}
"""The form of the mapping at a key, or of those in the list at a key."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is right for a value, and its words where it takes words."""

    text: str
    words: tuple[str, ...]
    types: tuple[type, ...]


def keys_at(path: Path) -> tuple[str, ...]:
    """The keys that the mapping at `path` may have."""
    return tuple(_MODELS[_last_key(path)].model_fields)


def keys_below() -> tuple[str, ...]:
    """All keys of the mappings inside the document."""
    below = (model.model_fields for name, model in _MODELS.items() if name)
    return tuple(dict.fromkeys(key for fields in below for key in fields))


def owners(key: str) -> tuple[str, ...]:
    """The keys under which `key` would be right."""
    return tuple(name for name, model in _MODELS.items() if name and key in model.model_fields)


def expectation(path: Path) -> Expectation:
    """What is right for the field at `path`, or for the field that holds the item at `path`."""
    names = [step for step in path if isinstance(step, str)]
    if isinstance(path[-1], int) and names[-1] in _MODELS:
        return Expectation(_mapping(_MODELS[names[-1]]), (), ())
    model = _MODELS[names[-2] if len(names) > 1 else None]
    field = model.model_fields[names[-1]]
    parts = [*field.metadata, *_parts(field.annotation)]
    types = tuple(part for part in parts if isinstance(part, type) and part is not NoneType)
    listed: list[object] = [
        each for part in parts if get_origin(part) is Literal for each in get_args(part)
    ]
    words = tuple(each for each in listed if isinstance(each, str))
    types += tuple({type(each) for each in listed if not isinstance(each, str)})
    return Expectation(_text(parts, listed, types), words, types)


def _text(parts: list[Any], listed: list[object], types: tuple[type, ...]) -> str:
    stated = [part.text for part in parts if isinstance(part, Expected)]
    if stated:
        return stated[0]
    if listed:
        *others, last = (f"`{each}`" for each in listed)
        return f"{', '.join(others)} or {last}"
    if bool in types:
        return "`true` or `false`"
    if int in types or float in types:
        noun = "an integer" if int in types else "a number"
        return f"{noun} {_range(parts)}"
    return _mapping(next(kind for kind in types if issubclass(kind, BaseModel)))


def _mapping(model: type[BaseModel]) -> str:
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    return f"a mapping with {', '.join(required)}"


def _range(parts: list[Any]) -> str:
    high = next(part.le for part in parts if isinstance(part, Le))
    for part in parts:
        if isinstance(part, Gt):
            return f"above {part.gt:g} and up to {high:g}"
        if isinstance(part, Ge):
            low = part.ge
            return (
                f"from {low:,} to {high:,}" if isinstance(low, int) else f"from {low:g} to {high:g}"
            )
    raise AssertionError(f"a number without bounds: {parts}")


def _parts(annotation: Any) -> Iterator[Any]:
    """The types of an annotation without their wrapping, and all that is said about them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *said = get_args(annotation)
        for item in said:
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)
        yield from _parts(base)
    elif origin in (Union, UnionType):
        for choice in get_args(annotation):
            yield from _parts(choice)
    else:
        yield annotation


def _last_key(path: Path) -> str | None:
    names = [step for step in path if isinstance(step, str)]
    return names[-1] if names else None
