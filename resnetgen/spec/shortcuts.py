"""Which blocks have a shortcut, and so what depends on one: arithmetic on the spec."""

from resnetgen.spec.model import ModelSpec


def projects(spec: ModelSpec, *, strided: bool) -> bool:
    """Whether any stage has projections; with `strided`, any that has a stride."""
    return any(
        stage.shortcut in ("projection", "projection_all") and (stage.stride > 1 or not strided)
        for stage in spec.stages
    )


def may_drop_paths(spec: ModelSpec) -> bool:
    """Whether any block but the first, which never drops its main path, has a shortcut."""
    _, *others = (stage for stage in spec.stages for _ in range(min(stage.repeats, 2)))
    return any(stage.shortcut != "none" for stage in others)
