"""Edits of generated sources: a text replaced, a layer changed once it is made, other weights."""

import re
from collections.abc import Callable

from mutations.kind import Edit
from mutations.selections import next_name
from resnetgen.ir.ops import Op
from resnetgen.ir.rules import parameters

Code = str | Callable[[Op], str]
"""Text, or what an op has for it."""
_TORCH_MODEL = r"^    return (\w+\(num_classes\))\n\Z"
_KERAS_MODEL = r"^    return (keras\.Model\(.*\))\n"
_FLAX_MODEL = r"^    return (\w+\(num_classes, rngs=rngs\))\n"


def text(*pairs: tuple[Code, Code]) -> Edit:
    """Replaces each pattern, wherever it is found; one that is nowhere is a mistake of ours."""

    def edit(op: Op, source: str) -> str:
        for pattern, new in pairs:
            source, times = re.subn(_of(pattern, op), _of(new, op), source, flags=re.MULTILINE)
            assert times, f"{op.name}: nothing is {_of(pattern, op)}"
        return source

    return edit


def torch_layer(code: Code) -> Edit:
    """Runs code on the op's module, `layer`, when the model is made."""
    return lambda op, source: _made(_TORCH_MODEL, source, _torch_layer(op) + _lines(code, op))


def torch_call(value: Code) -> Edit:
    """Has the op's module give `value`, of its input `x` and what it would have `given(x)`."""
    return torch_layer(
        lambda op: f"given = layer.forward\nlayer.forward = lambda x: {_of(value, op)}"
    )


def keras_layer(code: Code) -> Edit:
    """As `torch_layer`; what pads in front of it is the layer `pad`."""

    def edit(op: Op, source: str) -> str:
        made = _made(_KERAS_MODEL, source, _keras_layer(op) + _lines(code, op))
        return made.replace("import KerasTensor, layers\n", "import KerasTensor, layers, ops\n")

    return edit


def keras_call(value: Code, *, of: str = "layer") -> Edit:
    """As `torch_call`, with pixels before channels; an addition's x has both of what it adds.

    `of` is the layer to change, where that is not the op's own.
    """
    return keras_layer(
        lambda op: (
            f"layer = {of}\n"
            "def changed(x, call=layer.call, **options):\n"
            "    given = lambda value: call(value, **options)\n"
            f"    return {_of(value, op)}\n"
            "layer.call = changed"
        )
    )


def flax_layer(code: Code) -> Edit:
    """As `torch_layer`."""
    return lambda op, source: _made(_FLAX_MODEL, source, _flax_layer(op) + _lines(code, op))


def flax_call(value: Code) -> Edit:
    """As `torch_call`, with pixels before channels."""
    return flax_layer(
        lambda op: (
            "call = type(layer).__call__\n"
            "def changed(layer, x):\n"
            "    given = lambda value: call(layer, value)\n"
            f"    return {_of(value, op)}\n"
            'layer.__class__ = type("Changed", (type(layer),), {"__call__": changed})'
        )
    )


def loading(**changed: Code) -> dict[str, Edit]:
    """Loads other NumPy arrays for some of the op's tensors, made from `own`, which has all."""

    def lines(op: Op, array: str, tensor: str) -> list[str]:
        kinds = [each.kind for each in parameters(op)]
        held = [array.format(f'tensors["{op.name}.{kind}"]') for kind in kinds]
        own = ", ".join(f'"{kind}": {each}' for kind, each in zip(kinds, held, strict=True))
        return [
            f"own = {{{own}}}",
            *(
                f'tensors["{op.name}.{kind}"] = {tensor.format(_of(value, op))}'
                for kind, value in changed.items()
            ),
        ]

    return _loading(
        in_torch=lambda op: lines(op, "{}.numpy()", "torch.from_numpy(({}).copy())"),
        in_loader=lambda op: lines(op, "{}", "{}"),
    )


def loading_exchanged() -> dict[str, Edit]:
    """Loads the tensors of the next layer for those of the op, and the other way round."""

    def lines(op: Op) -> list[str]:
        names = [each.name for each in parameters(op)]
        pairs = ((name, next_name(op) + name.removeprefix(op.name)) for name in names)
        return [
            f'tensors["{own}"], tensors["{other}"] = tensors["{other}"], tensors["{own}"]'
            for own, other in pairs
        ]

    return _loading(in_torch=lines, in_loader=lines)


def _loading(
    *, in_torch: Callable[[Op], list[str]], in_loader: Callable[[Op], list[str]]
) -> dict[str, Edit]:
    """Lines that change `tensors`, which are NumPy's in the loader of a source that has one."""

    def hook(op: Op, source: str) -> str:
        body = ["    " + line for line in in_torch(op)]
        start, end = "def change(_, tensors, *others):", "model.register_load_state_dict_pre_hook"
        return _made(_TORCH_MODEL, source, [start, *body, f"{end}(change)"])

    def loader(op: Op, source: str) -> str:
        loaded = "    tensors = load_file(path)\n"
        assert loaded in source
        return source.replace(loaded, loaded + "".join(f"    {line}\n" for line in in_loader(op)))

    return {"torch": hook, "keras": loader, "flax": loader}


def flax_path(name: str) -> str:
    """Where a Flax model has a module: numbers are positions in lists."""
    return "model." + re.sub(r"\.(\d+)", r"[\1]", name)


def _of(code: Code, op: Op) -> str:
    return code if isinstance(code, str) else code(op)


def _lines(code: Code, op: Op) -> list[str]:
    return _of(code, op).split("\n")


def _made(pattern: str, source: str, lines: list[str]) -> str:
    """Puts the lines between where the factory makes the model and where it returns it."""
    body = "".join(f"    {line}\n" for line in lines)
    made = lambda found: f"    model = {found[1]}\n{body}    return model\n"  # noqa: E731
    source, times = re.subn(pattern, made, source, flags=re.MULTILINE)
    assert times == 1, pattern
    return source


def _torch_layer(op: Op) -> list[str]:
    return [f'layer = model.get_submodule("{op.name}")']


def _keras_layer(op: Op) -> list[str]:
    name = op.name.replace(".", "_")
    return [
        f'layer = model.get_layer("{name}")',
        f'pad = next((each for each in model.layers if each.name == "{name}_pad"), None)',
    ]


def _flax_layer(op: Op) -> list[str]:
    return ["from jax import numpy as jnp", f"layer = {flax_path(op.name)}"]
