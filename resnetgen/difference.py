"""Compares two specs: in which facts they differ, and what each of these does to the network."""

from dataclasses import dataclass

from resnetgen.diagnostics import DiagnosticError
from resnetgen.ir.network import Network
from resnetgen.ir.rules import Counts, Shape, count, shapes
from resnetgen.lower import feasibility, lower
from resnetgen.spec.facts import Fact, changed, differing, documents, stage_name
from resnetgen.spec.load import meaning
from resnetgen.spec.model import ModelSpec
from resnetgen.spec.nodes import MappingNode
from resnetgen.spec.problems import refuse


@dataclass(frozen=True, slots=True)
class Measures:
    """What a network comes to at its spec's image size; shapes are for one image."""

    counts: Counts
    features: Shape
    """The last block's output."""
    output: Shape


@dataclass(frozen=True, slots=True)
class Effect:
    """A network after one change, and what became of the one before."""

    after: Measures
    params: int
    """Trainable parameters more than before; fewer where negative."""
    macs: int
    reshapes: bool
    """Whether features or output have another shape."""
    same_network: bool
    """Whether nothing that is computed, trained or counted is another."""

    @property
    def counted(self) -> bool:
        """Whether a count or a shape shows it."""
        return bool(self.params or self.macs or self.reshapes)


@dataclass(frozen=True, slots=True)
class Change:
    """A fact and what it does alone; `effect` is why it cannot be alone where it cannot."""

    fact: Fact
    stage: str | None
    """The name of the stage that the fact is about."""
    effect: Effect | str


@dataclass(frozen=True, slots=True)
class Difference:
    """Two specs, from the first to the second."""

    before: Measures
    after: Measures
    changes: tuple[Change, ...]
    together: Effect

    @property
    def adds_up(self) -> bool:
        """Whether the effects of the single changes sum to that of all of them."""
        effects = [change.effect for change in self.changes]
        alone = [effect for effect in effects if isinstance(effect, Effect)]
        summed = (sum(each.params for each in alone), sum(each.macs for each in alone))
        complete = len(alone) == len(effects)
        return complete and summed == (self.together.params, self.together.macs)


def compare(before: ModelSpec, after: ModelSpec) -> Difference:
    """The facts of `after` that are not those of `before`, each tried alone on `before`."""
    first, second = _measured(lower(before)), _measured(lower(after))
    document, target = documents(before, after)
    return Difference(
        before=first.measures,
        after=second.measures,
        changes=tuple(
            Change(
                fact,
                stage_name(document, fact.path) or stage_name(target, fact.path),
                _alone(fact, document, first),
            )
            for fact in differing(document, target)
        ),
        together=_effect(first, second),
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    """A network and what it comes to."""

    network: Network
    measures: Measures


def _alone(fact: Fact, document: MappingNode, before: _Measured) -> Effect | str:
    candidate = changed(document, fact.path, fact.after)
    try:
        spec = meaning(candidate)
        refuse(candidate, feasibility.problems(spec))
    except DiagnosticError as error:
        return error.diagnostics[0].message
    return _effect(before, _measured(lower(spec)))


def _effect(before: _Measured, after: _Measured) -> Effect:
    old, new = before.measures, after.measures
    return Effect(
        after=new,
        params=new.counts.trainable - old.counts.trainable,
        macs=new.counts.macs - old.counts.macs,
        reshapes=(new.features, new.output) != (old.features, old.output),
        same_network=tuple(before.network.ops) == tuple(after.network.ops)
        and before.network.input_size == after.network.input_size,
    )


def _measured(network: Network) -> _Measured:
    known = shapes(network)
    last = network.stages[-1].blocks[-1]
    measures = Measures(
        counts=count(network.ops, known),
        features=known[last.ops[-1].name],
        output=known[network.head[-1].name],
    )
    return _Measured(network, measures)
