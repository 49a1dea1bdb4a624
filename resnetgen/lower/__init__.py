"""Lowers a resolved spec to a network: stem, then stages of blocks, then head."""

from resnetgen.ir.network import Network
from resnetgen.lower.blocks import lower_stages
from resnetgen.lower.head import lower_head
from resnetgen.lower.stem import lower_stem
from resnetgen.spec.canonical import sha256
from resnetgen.spec.model import ModelSpec

__all__ = ["lower"]


def lower(spec: ModelSpec) -> Network:
    """The network that `spec` describes, every number decided."""
    stem = lower_stem(spec)
    stages = lower_stages(spec, source=stem[-1].name, in_channels=spec.stem.width)
    last = stages[-1].blocks[-1]
    return Network(
        name=spec.name,
        spec_sha256=sha256(spec),
        license=spec.license,
        input_size=(spec.input.height, spec.input.width),
        classes=spec.classes,
        stem=stem,
        stages=stages,
        head=lower_head(spec, source=last.ops[-1].name, features=last.out_channels),
    )
