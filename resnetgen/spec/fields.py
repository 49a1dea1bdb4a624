"""The types of a document's fields: bounds that keep numbers within what frameworks can hold."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from resnetgen.spec import names
from resnetgen.spec.file import REFERENCE

LARGEST_SIZE = 65_536
LARGEST_KERNEL = 31
LARGEST_WIDTH = 65_536
_MOST_HIDDEN = 8
_MOST_REPEATS = 100_000
_LICENSE_TERM = r"\(*[A-Za-z0-9.+-]+\)*"
_LICENSE = rf"^{_LICENSE_TERM}( (AND|OR|WITH) {_LICENSE_TERM})*$"
# So that its comment line fits into 100 columns.
_LONGEST_LICENSE = 72


@dataclass(frozen=True, slots=True)
class Expected:
    """What a field takes, where its type and bounds do not say it as a person would."""

    text: str


def _legal_name(name: str) -> str:
    return _checked(name, names.objection(name))


def _legal_stage_name(name: str) -> str:
    return _checked(name, names.form_objection(name))


def _checked(name: str, objection: str | None) -> str:
    if objection is not None:
        raise PydanticCustomError("name", "{objection}", {"objection": objection})
    return name


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise PydanticCustomError("odd", "even")
    return number


def _balanced(expression: str) -> str:
    depth = 0
    for character in expression:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            break
    if depth != 0:
        raise PydanticCustomError("balanced", "unbalanced")
    return expression


def _size_form(value: object) -> str:
    return "pair" if isinstance(value, list | tuple) else "number"


def _bias_form(value: object) -> str:
    return "word" if isinstance(value, str) else "boolean"


_NAME_SCHEMA: dict[str, Any] = {"pattern": f"^{names.PATTERN}$"}
_ODD_SCHEMA: dict[str, Any] = {"not": {"multipleOf": 2}}

_NAME_EXPECTED = Expected(names.EXPECTED)

Name = Annotated[
    str, AfterValidator(_legal_name), Field(json_schema_extra=_NAME_SCHEMA), _NAME_EXPECTED
]
StageName = Annotated[
    str, AfterValidator(_legal_stage_name), Field(json_schema_extra=_NAME_SCHEMA), _NAME_EXPECTED
]
Extends = Annotated[str, Expected(REFERENCE)]
License = Annotated[
    str,
    Field(pattern=_LICENSE, max_length=_LONGEST_LICENSE),
    AfterValidator(_balanced),
    Expected("an SPDX expression, such as `Apache-2.0` or `MIT OR BSD-3-Clause`"),
]
Channels = Annotated[int, Field(ge=1, le=65_536)]
Pixels = Annotated[int, Field(ge=1, le=LARGEST_SIZE)]
Size = Annotated[
    Annotated[Pixels, Tag("number")] | Annotated[tuple[Pixels, Pixels], Tag("pair")],
    Discriminator(_size_form),
    Expected(f"an integer from 1 to {LARGEST_SIZE:,}, or two of them: [height, width]"),
]
Classes = Annotated[int, Field(ge=1, le=10_000_000)]
Width = Annotated[int, Field(ge=1, le=LARGEST_WIDTH)]
MOST_CONVOLUTIONS = 64
"""Of a block."""
LARGEST_EXPANSION = 64
Expansion = Annotated[int, Field(ge=1, le=LARGEST_EXPANSION)]
Groups = Annotated[int, Field(ge=1, le=65_536)]
HiddenWidths = Annotated[
    tuple[Width, ...],
    Field(max_length=_MOST_HIDDEN),
    Expected(f"a list of up to {_MOST_HIDDEN} integers from 1 to {LARGEST_WIDTH:,}"),
]
Pruned = Annotated[
    tuple[Annotated[tuple[Width, ...], Field(min_length=1)], ...],
    Field(min_length=1),
    Expected(
        f"a list for each block, of integers from 1 to {LARGEST_WIDTH:,}, one for each convolution"
    ),
]
Kernel = Annotated[
    int,
    Field(ge=1, le=LARGEST_KERNEL, json_schema_extra=_ODD_SCHEMA),
    AfterValidator(_odd),
    Expected(f"an odd integer from 1 to {LARGEST_KERNEL}"),
]
Stride = Annotated[int, Field(ge=1, le=64)]
FirstWidth = Annotated[
    int,
    Field(ge=8, le=LARGEST_WIDTH, multiple_of=8),
    Expected(f"a multiple of 8 up to {LARGEST_WIDTH:,}"),
]
Slope = Annotated[float, Field(ge=0.0, le=65_536.0, allow_inf_nan=False)]
Step = Annotated[float, Field(gt=1.0, le=64.0, allow_inf_nan=False)]
Divisor = Annotated[int, Field(ge=1, le=1024)]
Repeats = Annotated[int, Field(ge=1, le=_MOST_REPEATS)]
RepeatsList = Annotated[
    tuple[Repeats, ...],
    Field(min_length=1),
    Expected(f"a list of integers from 1 to {_MOST_REPEATS:,}, one for each stage"),
]
Depth = Annotated[int, Field(ge=3, le=10_000_000)]
Epsilon = Annotated[float, Field(ge=1e-12, le=1.0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
Rate = Annotated[
    float,
    Field(ge=0.0, lt=1.0, allow_inf_nan=False),
    Expected("a number from 0, which is none, to below 1"),
]
Momentum = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
BiasChoice = Annotated[
    Annotated[bool, Tag("boolean")] | Annotated[Literal["without_norm"], Tag("word")],
    Discriminator(_bias_form),
    Expected("`true`, `false` or `without_norm`"),
]
