"""Prints a network as text: one op a line with its shape, the same for the same network."""

from dataclasses import fields

from resnetgen.ir.network import Network
from resnetgen.ir.ops import Op, Padding, Same
from resnetgen.ir.rules import Shape, shapes


def text(network: Network) -> str:
    """The whole network, its tree shown by headings and its ops by lines."""
    known = shapes(network)
    lines = [f"network {network.name} {network.spec_sha256[:12]}", "stem"]
    lines += [_line(op, known[op.name]) for op in network.stem]
    for stage in network.stages:
        lines.append(f"{stage.name} {stage.title}")
        for block in stage.blocks:
            lines.append(f"  {block.name} {block.title} shortcut={block.shortcut}")
            lines += [f"  {_line(op, known[op.name])}" for op in block.ops]
    lines.append("head")
    lines += [_line(op, known[op.name]) for op in network.head]
    return "\n".join(lines) + "\n"


def _line(op: Op, shape: Shape) -> str:
    attributes = " ".join(
        f"{field.name}={_value(getattr(op, field.name))}"
        for field in fields(op)
        if field.name not in ("name", "inputs")
    )
    call = f"{type(op).__name__}({', '.join(op.inputs)})"
    return f"  {op.name} = {call} {attributes}".rstrip() + f" -> {'x'.join(map(str, shape))}"


def _value(value: object) -> str:
    match value:
        case Padding(top, left, bottom, right):
            return f"{top},{left},{bottom},{right}"
        case Same():
            return "same"
        case _:
            return str(value)
