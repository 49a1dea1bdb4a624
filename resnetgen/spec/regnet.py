"""RegNet's rule: from the line that widths are rounded from to stages.

Radosavovic et al., "Designing Network Design Spaces" (arXiv 2003.13678), section 3.3: block j is to
have the width u = w_0 + w_a * j (equation 2); it gets the nearest w_0 * w_m**s with a whole number
s (equations 3 and 4), as a multiple of 8, and blocks of equal width are a stage.
"""

import math
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from resnetgen.spec.fields import LARGEST_SIZE, LARGEST_WIDTH
from resnetgen.spec.problems import Problem

if TYPE_CHECKING:
    from resnetgen.spec.schema import Document, RegNet

_DIVISOR = 8
_STRIDE = 2
MOST_STAGES = int(math.log(LARGEST_SIZE, _STRIDE))


def problems(document: "Document") -> Iterator[Problem]:
    """What keeps the document's rule from deciding its stages."""
    if document.regnet is None:
        return
    stated = [key for key in ("stages", "repeats", "groups") if key in document.model_fields_set]
    for key in stated:
        message = f"`{key}` says what `regnet` says already: its rule gives the stages"
        yield Problem("misfit", (key,), message, "either of them")
    rows = _rounded(document.regnet)
    if len(rows) > MOST_STAGES:
        message = f"`regnet` gives {len(rows):,} stages, each of which halves the image"
        expected = f"at most {MOST_STAGES} stages: a lower `depth` or `w_a`, or a higher `w_m`"
        yield Problem("too-many-stages", ("regnet",), message, expected)
    elif rows[-1][1] > LARGEST_WIDTH:
        message = f"`regnet` gives a width of {rows[-1][1]:,}"
        expected = f"widths up to {LARGEST_WIDTH:,}"
        yield Problem("too-wide", ("regnet",), message, expected)


def with_stages(document: "Document") -> "Document":
    """The document with the stages that its rule gives, if it has one."""
    from resnetgen.spec.schema import Stage

    if document.regnet is None:
        return document
    stages = tuple(
        Stage.model_validate(
            {
                "name": f"stage{number}",
                "repeats": repeats,
                "width": width,
                "stride": _STRIDE,
                "groups": width // min(document.regnet.group_width, width),
            }
        )
        for number, (repeats, width) in enumerate(_rounded(document.regnet), start=1)
    )
    return document.model_copy(update={"stages": stages})


def _rounded(rule: "RegNet") -> list[tuple[int, int]]:
    """Repeats and width of each stage, its width a multiple of what each group has."""
    return [(len(list(equal)), _fitted(width, rule)) for width, equal in groupby(_widths(rule))]


def _widths(rule: "RegNet") -> Iterator[int]:
    """The width of each block before any grouping."""
    for index in range(rule.depth):
        wanted = 1 + rule.w_a * index / rule.w_0
        steps = round(math.log(wanted) / math.log(rule.w_m))
        yield round(rule.w_0 * rule.w_m**steps / _DIVISOR) * _DIVISOR


def _fitted(width: int, rule: "RegNet") -> int:
    """The nearest multiple of the group width; of two that are as near, each library has its own.

    torchvision takes the greater, and none below nine tenths; pycls takes the even multiple.
    """
    group = min(rule.group_width, width)
    match rule.rounding:
        case "torchvision":
            nearest = (2 * width + group) // (2 * group) * group
            return nearest + group if nearest < 0.9 * width else nearest
        case "pycls":
            return round(width / group) * group
