"""The table of a difference: what each change from one spec to another does alone."""

from collections.abc import Iterator

from resnetgen.difference import Change, Difference, Effect, Measures
from resnetgen.report.cells import COUNTS, counted, sized
from resnetgen.report.facts import Facts
from resnetgen.report.grid import Column, Grid
from resnetgen.spec.facts import plain, written
from resnetgen.spec.nodes import Node, dotted

INDENT = "    "
_ABSENT = "not stated"


def difference_grid(difference: Difference, *, before: str, after: str) -> Grid:
    """A row for each change; below them both networks, and what the changes do together."""
    together = difference.together
    return Grid(
        title=_title(before, after),
        columns=(
            Column("fact"),
            Column(before),
            Column(after),
            *COUNTS,
            Column("effect"),
        ),
        rows=tuple(_row(change) for change in difference.changes),
        totals=(
            (before, "", "", *_measured(difference.before)),
            (after, "", "", *_measured(difference.after)),
            ("together", "", "", *_signed(together), _effect(together)),
        ),
    )


def difference_lines(difference: Difference, *, before: str, after: str) -> Iterator[str]:
    """The same where the table has no room: each change on a line, and below it what it does."""
    yield _title(before, after)
    for change in difference.changes:
        fact, effect = change.fact, change.effect
        yield f"{_label(change)}: {_shown(fact.before)} -> {_shown(fact.after)}"
        if isinstance(effect, str):
            yield f"{INDENT}not valid alone"
        else:
            yield _effect_line(*_signed(effect), _effect(effect))
    yield ""
    yield from (before, _effect_line(*_measured(difference.before)))
    yield from (after, _effect_line(*_measured(difference.after)))
    yield from (
        "together",
        _effect_line(*_signed(difference.together), _effect(difference.together)),
    )
    yield ""


def remarks(difference: Difference) -> Iterator[str]:
    """What the table does not say by itself."""
    invalid = [change for change in difference.changes if isinstance(change.effect, str)]
    if difference.together.same_network:
        yield "They are the same network: nothing that differs is computed, trained or counted."
    if invalid:
        yield "Not valid alone:"
        yield from (f"  {_label(change)}: {change.effect}" for change in invalid)
    elif not difference.adds_up:
        yield "The effects do not add up: what one change does depends on the others."


def difference_facts(difference: Difference, *, before: Facts, after: Facts) -> Facts:
    """The same as JSON; `before` and `after` are the networks' own facts."""
    return {
        "a": {**before, **_shapes(difference.before)},
        "b": {**after, **_shapes(difference.after)},
        "same_network": difference.together.same_network,
        "facts": [_change_facts(change) for change in difference.changes],
        "together": _effect_facts(difference.together),
        "adds_up": difference.adds_up,
    }


def _title(before: str, after: str) -> str:
    return f"From {before} to {after}: what each change does alone"


def _row(change: Change) -> tuple[str, ...]:
    fact, effect = change.fact, change.effect
    cells = ("", "") if isinstance(effect, str) else _signed(effect)
    return (
        _label(change),
        _shown(fact.before),
        _shown(fact.after),
        *cells,
        "not valid alone" if isinstance(effect, str) else _effect(effect),
    )


def _effect_line(params: str, macs: str, effect: str) -> str:
    return f"{INDENT}{params} params, {macs} MACs{', ' * bool(effect)}{effect}"


def _label(change: Change) -> str:
    path = dotted(change.fact.path)
    return path if change.stage is None else f"{path} ({change.stage})"


def _shown(node: Node | None) -> str:
    return _ABSENT if node is None else written(node)


def _signed(effect: Effect) -> tuple[str, str]:
    """The cells below `COUNTS`, as differences."""
    return (_with_sign(effect.params), _with_sign(effect.macs))


def _with_sign(number: int) -> str:
    return f"{number:+,}" if number else "0"


def _effect(effect: Effect) -> str:
    """What the counts do not show."""
    if effect.same_network:
        return "nothing"
    if effect.reshapes:
        return _output(effect.after)
    return "" if effect.counted else "numbers alone"


def _measured(measures: Measures) -> tuple[str, str, str]:
    return (*counted(measures.counts), _output(measures))


def _output(measures: Measures) -> str:
    return f"{sized(measures.features)} features, {sized(measures.output)} outputs"


def _change_facts(change: Change) -> Facts:
    fact, effect = change.fact, change.effect
    return {
        "fact": dotted(fact.path),
        "stage": change.stage,
        "a": None if fact.before is None else plain(fact.before),
        "b": None if fact.after is None else plain(fact.after),
        "effect": None if isinstance(effect, str) else _effect_facts(effect),
        "invalid": effect if isinstance(effect, str) else None,
    }


def _effect_facts(effect: Effect) -> Facts:
    return {
        "params": effect.params,
        "macs": effect.macs,
        **_shapes(effect.after),
        "same_counts": not effect.counted,
        "same_network": effect.same_network,
    }


def _shapes(measures: Measures) -> Facts:
    """Without the batch: the last block's output, and the network's."""
    return {
        "features_shape": list(measures.features),
        "output_shape": list(measures.output),
    }
