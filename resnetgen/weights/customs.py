"""What networks whose tensors have an origin's names usually compute otherwise than a spec says.

It shows in no name and no shape, so a checkpoint may fit a spec that it was not trained for.
"""

from resnetgen.diagnostics import DiagnosticError, listed
from resnetgen.difference import Effect, compare
from resnetgen.lower import feasibility
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.dialects import DIALECTS
from resnetgen.spec.facts import Fact, written
from resnetgen.spec.load import meaning
from resnetgen.spec.model import Dialect, ModelSpec
from resnetgen.spec.nodes import dotted
from resnetgen.spec.overrides import override
from resnetgen.spec.problems import refuse
from resnetgen.spec.source import parse
from resnetgen.weights.origins import Origin

_COMPUTED = ("stride_on", "stride_block", "epsilon", "conv_padding", "pool_padding")
"""What a dialect decides of how features are computed, but for biases, which are tensors."""


def otherwise(origin: Origin, spec: ModelSpec) -> str | None:
    """What is otherwise, in words; None where nothing is, or no custom is known.

    Of several dialects in which such networks come, the nearest counts.
    """
    found = [_unlike(spec, dialect) for dialect in origin.dialects.get(spec.order, ())]
    facts = min((each for each in found if each is not None), key=len, default=())
    if not facts:
        return None
    theirs = listed([_words(fact, spec.name) for fact in facts])
    return f"names do not tell, but such networks usually have {theirs}"


def _unlike(spec: ModelSpec, dialect: Dialect) -> list[Fact] | None:
    """What of the dialect would make another network of the spec's; None where it has none."""
    customs = [f"{key}={getattr(DIALECTS[dialect], key)}" for key in _COMPUTED]
    document = override(parse(to_yaml(spec), file=spec.name), customs)
    try:
        theirs = meaning(document)
        refuse(document, feasibility.problems(theirs))
    except DiagnosticError:
        return None
    return [
        change.fact
        for change in compare(spec, theirs).changes
        if isinstance(change.effect, Effect) and not change.effect.same_network
    ]


def _words(fact: Fact, name: str) -> str:
    assert fact.before is not None, "what a dialect decides is stated"
    assert fact.after is not None, "what a dialect decides is stated"
    return f"{dotted(fact.path)} {written(fact.after)} ({name}: {written(fact.before)})"
