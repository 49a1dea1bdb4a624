"""Kinds of fault that happen between frameworks, and how to put each into a network's files."""

from mutations import (
    convolutions,
    files,
    functions,
    images,
    norms,
    shortcuts,
    sizes,
    training,
    weights,
)

KINDS = (
    *convolutions.KINDS,
    *weights.KINDS,
    *images.KINDS,
    *norms.KINDS,
    *functions.KINDS,
    *shortcuts.KINDS,
    *sizes.KINDS,
    *files.KINDS,
    *training.KINDS,
)
