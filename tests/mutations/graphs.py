"""Edits of `model.onnx`, each of the node that is an op's."""

from collections.abc import Callable
from typing import Any

import faults
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mutations.kind import Edit
from mutations.selections import next_name
from resnetgen.ir.ops import GroupNorm, Op


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(op: Op, model: Any) -> None:
        for each in edits:
            each(op, model)

    return edit


def ints(key: str, values: Callable[[Any], tuple[int, ...]]) -> Edit:
    """Sets an attribute, be it there or not."""

    def edit(op: Op, model: Any) -> None:
        node = faults.node(model, op.name)
        kept = [each for each in node.attribute if each.name != key]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(key, list(values(op)))])

    return edit


def epsilon(value: float) -> Edit:
    """Of a batch norm, or of the instance norm that a group norm is written as."""

    def edit(op: Op, model: Any) -> None:
        name = f"{op.name}.normal" if isinstance(op, GroupNorm) else op.name
        faults.set_float(name, "epsilon", value)(model)

    return edit


def type_(name: str) -> Edit:
    return lambda op, model: faults.set_type(op.name, name)(model)


def swapped(first: int, second: int) -> Edit:
    """Two inputs of the node."""
    return lambda op, model: faults.swap_inputs(op.name, first, second)(model)


def swapped_gamma_and_beta(op: Op, model: Any) -> None:
    if isinstance(op, GroupNorm):
        gamma, beta = (faults.node(model, f"{op.name}.{each}") for each in ("gamma", "beta"))
        gamma.input[0], beta.input[0] = beta.input[0], gamma.input[0]
    else:
        faults.swap_inputs(op.name, 1, 2)(model)


def integer(key: str, value: int) -> Edit:
    return lambda op, model: faults.set_int(op.name, key, value)(model)


def mode(name: str) -> Edit:
    """Of the node that pads in front of a filter."""

    def edit(op: Op, model: Any) -> None:
        faults.attribute(model, f"{op.name}.padded", "mode").s = name.encode()

    return edit


def passes(position: int) -> Edit:
    """Gives one of its inputs as it is."""

    def edit(op: Op, model: Any) -> None:
        node = faults.node(model, op.name)
        node.op_type = "Identity"
        node.input[:] = [op.inputs[position]]

    return edit


def zero_padded_pool(op: Any, model: Any) -> None:
    """Zeros are padded before, as Keras does."""
    pixels = op.padding.top
    first("Pad", np.array([0, 0, pixels, pixels] * 2))(op, model)
    ints("pads", lambda _: (0, 0, 0, 0))(op, model)


def shifted_pool(op: Any, model: Any) -> None:
    """Pads behind alone, be it by an attribute or by a constant."""
    if op.pads_zeros:
        behind = np.array([0, 0, 0, 0, 0, 0, 2, 2])
        constant(f"{op.name}.pads", lambda *_: behind)(op, model)
    else:
        ints("pads", lambda _: (0, 0, 2, 2))(op, model)


def shifted_row(op: Any, model: Any) -> None:
    """Pads the row of channels in front alone."""
    faults.set_ints(f"{op.name}.rows", "pads", 2 * (op.kernel // 2), 0)(model)


def replaced(type_: str, **attributes: Any) -> Edit:
    """Another operator of what the op reads, without the attributes and constants."""

    def edit(op: Op, model: Any) -> None:
        node = faults.node(model, op.name)
        outputs = list(node.output)
        node.CopyFrom(helper.make_node(type_, op.inputs, outputs, name=op.name, **attributes))

    return edit


def summed(op: Op, model: Any) -> None:
    """The sum over all pixels."""
    replaced("ReduceSum", keepdims=1)(op, model)
    faults.node(model, op.name).input.extend(_constants(op, model, (np.array([2, 3]),)))


def then(type_: str, *constants: Any, is_named: bool = True, **attributes: Any) -> Edit:
    """Does something more to what the node gives; the new node has its name, or none at all."""

    def edit(op: Op, model: Any) -> None:
        node = faults.node(model, op.name)
        given = f"{op.name}.given"
        inputs = [given, *_constants(op, model, constants)]
        changed = helper.make_node(type_, inputs, list(node.output), **attributes)
        if is_named:
            changed.name, node.name = op.name, given
        node.output[0] = given
        model.graph.node.insert(list(model.graph.node).index(node) + 1, changed)

    return edit


def first(type_: str, *constants: Any, label: str = "read", **attributes: Any) -> Edit:
    """Does something to what the node reads; `label` is behind its name in the new node's."""

    def edit(op: Op, model: Any) -> None:
        node = faults.node(model, op.name)
        read = f"{op.name}.{label}"
        inputs = [node.input[0], *_constants(op, model, constants)]
        added = helper.make_node(type_, inputs, [read], name=read, **attributes)
        node.input[0] = read
        model.graph.node.insert(list(model.graph.node).index(node), added)

    return edit


def padded(mode: str) -> Edit:
    """A node of its own pads, as the mode says."""

    def edit(op: Any, model: Any) -> None:
        pixels = op.padding.top
        first("Pad", np.array([0, 0, pixels, pixels] * 2), mode=mode)(op, model)
        ints("pads", lambda _: (0, 0, 0, 0))(op, model)

    return edit


def reversed_(axis: int) -> Edit:
    """Reads its first input from the other end of an axis."""
    ends = (np.array([each]) for each in (-1, np.iinfo(np.int64).min, axis, -1))
    return first("Slice", *ends)


def doubled_less_one(op: Op, model: Any) -> None:
    """Reads its first input times 2 and less 1."""
    first("Mul", np.float32(2), label="doubled")(op, model)
    first("Sub", np.float32(1))(op, model)


def same_padding(op: Op, model: Any) -> None:
    """Pads as SAME means, which is not what the numbers said."""
    node = faults.node(model, op.name)
    kept = [each for each in node.attribute if each.name != "pads"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("auto_pad", "SAME_UPPER")])


def exchanged_strides(op: Op, model: Any) -> None:
    """Strides here, and not in the next convolution of the block."""
    ints("strides", lambda _: (2, 2))(op, model)
    faults.set_ints(next_name(op), "strides", 1, 1)(model)


def exchanged(op: Op, model: Any) -> None:
    """Computes with the next layer's tensors, and that with this one's."""
    own, other = faults.node(model, op.name), faults.node(model, next_name(op))
    own.input[1:], other.input[1:] = list(other.input[1:]), list(own.input[1:])


def rounded(type_: int) -> Edit:
    """Casts what the node gives, and back to what it was."""

    def edit(op: Op, model: Any) -> None:
        then("Cast", to=type_)(op, model)
        node = faults.node(model, op.name)
        cast, given = f"{op.name}.cast", node.input[0]
        back = helper.make_node("CastLike", [cast, given], list(node.output), name=op.name)
        node.name, node.output[0] = cast, cast
        model.graph.node.insert(list(model.graph.node).index(node) + 1, back)

    return edit


def external(kind: str, **facts: Callable[[str], str]) -> Edit:
    """Says something else of where the data of one of the op's tensors lie."""

    def edit(op: Op, model: Any) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == f"{op.name}.{kind}")
        for entry in tensor.external_data:
            if entry.key in facts:
                entry.value = facts[entry.key](entry.value)

    return edit


def constant(prefix: str, change: Callable[[Any, Any], Any]) -> Edit:
    """Changes the array of the constant whose name starts so."""

    def edit(op: Op, model: Any) -> None:
        tensor = next(each for each in model.graph.initializer if each.name.startswith(prefix))
        array = change(op, numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))

    return edit


HALF, BRAIN = TensorProto.FLOAT16, TensorProto.BFLOAT16


def _constants(op: Op, model: Any, arrays: tuple[Any, ...]) -> list[str]:
    """Puts the arrays into the graph, and returns what they are called there."""
    names: list[str] = []
    for array in arrays:
        name = f"{op.name}.constant{len(model.graph.initializer)}"
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        names.append(name)
    return names
