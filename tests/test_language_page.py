"""The page that explains the language says what the schema says, and its examples are right."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, TypeAdapter

from resnetgen.report.language import language
from resnetgen.spec.schema import Convolution, Document, Input, RegNet, Stage, Stem

PAGE = Path(__file__).parent.parent / "docs" / "language.md"


def test_page_is_what_the_schema_gives() -> None:
    assert PAGE.read_text("utf-8") == language(), "run `make docs`"


@pytest.mark.parametrize("model", [Document, Input, Stem, RegNet, Stage, Convolution])
def test_every_key_has_an_example_that_it_takes(model: type[BaseModel]) -> None:
    for key, field in model.model_fields.items():
        assert field.examples, key
        metadata = field.metadata or ["no bounds"]
        taken: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, *metadata])
        for example in field.examples:
            taken.validate_python(tuples(example))


def tuples(value: Any) -> Any:
    """Sequences as a spec's reader gives them."""
    if isinstance(value, list):
        return tuple(map(tuples, value))
    if isinstance(value, dict):
        return {key: tuples(each) for key, each in value.items()}
    return value
