"""Asserts what every network must satisfy; a failure is our mistake, never the user's."""

from resnetgen.ir.network import Network
from resnetgen.ir.ops import (
    Add,
    BatchNorm2d,
    Concat,
    Conv2d,
    GroupNorm,
    Linear,
    Mean,
    Scale,
)
from resnetgen.ir.rules import Shape, may_pad_same, network_parameters, output_shape, pads_same


def check(network: Network) -> None:
    """Names are unique, values are defined before use, and channels and shapes fit.

    Raises AssertionError that names the op.
    """
    known: dict[str, Shape] = {}
    for op in network.ops:
        assert op.name not in known, f"{op.name}: defined twice"
        assert "_" not in op.name, f"{op.name}: an underscore would not survive in Keras names"
        for name in op.inputs:
            assert name in known, f"{op.name}: reads {name}, which nothing before it defines"
        inputs = tuple(known[name] for name in op.inputs)
        if pads_same(op):
            assert may_pad_same(op), f"{op.name}: no size decides what SAME is here"
        match op:
            case Conv2d():
                assert inputs[0][0] == op.in_channels, f"{op.name}: takes {inputs[0]}"
                assert op.in_channels % op.groups == 0, f"{op.name}: {op.groups} groups"
                assert op.out_channels % op.groups == 0, f"{op.name}: {op.groups} groups"
            case BatchNorm2d():
                assert inputs[0][0] == op.channels, f"{op.name}: takes {inputs[0]}"
                assert op.epsilon > 0, f"{op.name}: epsilon {op.epsilon}"
            case GroupNorm():
                assert inputs[0][0] == op.channels, f"{op.name}: takes {inputs[0]}"
                assert op.channels % op.groups == 0, f"{op.name}: {op.groups} groups"
                assert op.epsilon > 0, f"{op.name}: epsilon {op.epsilon}"
            case Add():
                assert inputs[0] == inputs[1], f"{op.name}: adds {inputs[0]} and {inputs[1]}"
            case Mean():
                assert inputs[0] == inputs[1], f"{op.name}: averages {inputs[0]} and {inputs[1]}"
            case Concat():
                assert inputs[0][1:] == inputs[1][1:], f"{op.name}: joins {inputs[0]}, {inputs[1]}"
            case Scale():
                assert inputs[1] == (inputs[0][0], 1, 1), f"{op.name}: gates {inputs[1]}"
            case Linear():
                assert inputs[0] == (op.in_features,), f"{op.name}: takes {inputs[0]}"
            case _:
                pass
        shape = output_shape(op, inputs, input_size=network.input_size)
        assert min(shape) > 0, f"{op.name}: empty output {shape}"
        known[op.name] = shape
    assert network.input_channels > 0, "the stem starts with the image"
    assert known[network.head[-1].name] == (network.classes,), "the head ends with the logits"
    names = [parameter.name for parameter in network_parameters(network)]
    assert len(set(names)) == len(names), "parameter names are unique"
    for op in network.stem:
        assert not (isinstance(op, Conv2d) and pads_same(op)), f"{op.name}: SAME in the stem"
    chosen = [op for block in network.blocks for op in block.ops if isinstance(op, Conv2d)]
    padded = {pads_same(op) for op in chosen if may_pad_same(op)}
    assert len(padded) <= 1, "one decision of the spec pads all strided convolutions of blocks"
