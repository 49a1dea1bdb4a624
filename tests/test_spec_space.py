"""Properties that hold for every valid spec, drawn at random from the whole language."""

import json
import math
import tempfile
from dataclasses import replace
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from generated import hold_to_ruff, import_file
from resnetgen.diagnostics import DiagnosticError
from resnetgen.emit import emit, source
from resnetgen.ir.check import check
from resnetgen.ir.ops import GlobalAvgPool, GlobalMaxPool
from resnetgen.ir.rules import network_parameters, shapes, unfit_op
from resnetgen.ir.summary import total
from resnetgen.ir.text import text
from resnetgen.lower import feasibility, lower
from resnetgen.spec.canonical import to_yaml
from resnetgen.spec.dialects import DIALECTS
from resnetgen.spec.idle import keys as idle_keys
from resnetgen.spec.load import load, meaning
from resnetgen.spec.source import parse
from resnetgen.verify.cases import drawn_cases
from resnetgen.verify.numbers import Drawn


def with_stride(layers: list[dict[str, Any]], strided: int) -> list[dict[str, Any]]:
    """A list of convolutions of which that one, if there is one, says that it has the stride."""
    return [
        {**layer, "strided": True} if index == strided else layer
        for index, layer in enumerate(layers)
    ]


convolutions = st.builds(
    with_stride,
    st.lists(
        st.fixed_dictionaries(
            {"kernel": st.sampled_from([1, 3, 5])}, optional={"expansion": st.integers(1, 3)}
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(-4, 3),
)
blocks = st.one_of(st.sampled_from(["basic", "bottleneck"]), convolutions)
groups = st.sampled_from([1, 2, 4])
shortcuts = st.sampled_from(["zero_pad", "projection", "projection_all", "none"])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Specs of one to four stages, small enough to build in milliseconds."""
    stages = [
        {
            "name": f"conv{number}_x",
            "repeats": draw(st.integers(1, 6)),
            "width": draw(st.integers(1, 16)),
            "stride": draw(st.sampled_from([1, 2, 3])),
            **draw(
                st.fixed_dictionaries(
                    {}, optional={"block": blocks, "shortcut": shortcuts, "groups": groups}
                )
            ),
        }
        for number in range(2, 2 + draw(st.integers(1, 4)))
    ]
    stem = {
        "width": draw(st.integers(1, 16)),
        "kernel": draw(st.sampled_from([1, 3, 5, 7])),
        "stride": draw(st.sampled_from([1, 2])),
        "pool": draw(st.sampled_from(["max", "conv", "none"])),
        **draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "hidden": st.lists(st.integers(1, 8), min_size=1, max_size=2),
                    "norm": st.booleans(),
                    "bias": st.booleans(),
                },
            )
        ),
    }
    strides = [stem["stride"] * (1 if stem["pool"] == "none" else 2)]
    strides += [stage["stride"] for stage in stages]
    smallest = math.prod(strides)
    reached = [each for each in (8, 16, 32) if each in accumulate(strides, mul)]
    return {
        "name": "drawn",
        "input": {
            "channels": draw(st.integers(1, 4)),
            "size": [smallest + draw(st.integers(0, 9)), smallest + draw(st.integers(0, 9))],
        },
        "classes": draw(st.integers(1, 11)),
        "stem": stem,
        "block": draw(blocks),
        "stages": stages,
        **draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "dialect": st.sampled_from(sorted(DIALECTS)),
                    "shortcut": shortcuts,
                    "groups": st.sampled_from([2, 4]),
                    "width_per_group": st.sampled_from([16, 32, 128]),
                    "reduce_first": st.just(2),
                    "downsample": st.sampled_from(["conv", "avg"]),
                    "projection_kernel": st.sampled_from([1, 3]),
                    "expansion": st.integers(1, 3),
                    "attention": st.sampled_from(["se", "eca"]),
                    "attention_at": st.sampled_from(["end", "middle"]),
                    "se_ratio": st.sampled_from([0.0625, 0.3]),
                    "se_of": st.sampled_from(["output", "input"]),
                    "se_divisor": st.sampled_from([1, 8]),
                    "anti_alias": st.sampled_from(["avg", "blur"]),
                    "activation": st.sampled_from(["silu", "gelu"]),
                    "order": st.sampled_from(["post", "pre"]),
                    "norm": st.sampled_from(["group", "none"]),
                    "norm_groups": st.sampled_from([1, 2]),
                    "stride_block": st.sampled_from(["first", "last"]),
                    **({"output_stride": st.sampled_from(reached)} if reached else {}),
                    "drop_path": st.sampled_from([0.05, 0.123456]),
                    "block_dropout": st.just(0.3),
                    "head_pool": st.sampled_from(["max", "avgmax", "catavgmax"]),
                    "dropout": st.just(0.25),
                    "conv_padding": st.sampled_from(["symmetric", "same"]),
                    "pool_padding": st.sampled_from(["symmetric", "zeros", "ceil", "same"]),
                    "output": st.sampled_from(["logits", "softmax"]),
                    "stride_on": st.sampled_from(["1x1", "3x3"]),
                    "epsilon": st.floats(1e-8, 0.1).map(lambda value: float(f"{value:.6g}")),
                    "momentum": st.floats(0.001, 1),
                    "conv_bias": st.sampled_from([True, False, "without_norm"]),
                    "conv_init": st.sampled_from(
                        ["he_fan_in", "he_fan_out", "glorot_uniform", "lecun_normal"]
                    ),
                    "linear_init": st.sampled_from(
                        ["he_fan_in", "uniform_fan_in", "glorot_uniform", "lecun_normal", "normal"]
                    ),
                    "zero_init_last": st.booleans(),
                    "license": st.sampled_from(["MIT", "Apache-2.0 OR MIT"]),
                },
            )
        ),
    }


knobs = st.fixed_dictionaries(
    {
        "order": st.sampled_from(["post", "pre"]),
        "norm": st.sampled_from(["batch", "group", "none"]),
        "norm_groups": st.sampled_from([1, 2]),
        "conv_bias": st.sampled_from([True, False, "without_norm"]),
        "stride_block": st.sampled_from(["first", "last"]),
        "drop_path": st.sampled_from([0.0, 0.2]),
        "conv_padding": st.sampled_from(["symmetric", "same"]),
    }
)
varied = st.builds(lambda document, often: {**document, **often}, documents(), knobs)
"""Of what `documents` seldom states, each value as often."""


@st.composite
def pruned(draw: st.DrawFn) -> dict[str, Any]:
    """Specs of which a stage states what is left of each convolution's channels."""
    document = draw(varied)
    stage = draw(st.sampled_from(document["stages"]))
    block = stage.get("block", document["block"])
    inner = {"basic": 1, "bottleneck": 2}.get(block) if isinstance(block, str) else len(block) - 1
    channels = st.integers(1, 16)
    out = draw(channels)
    stage["pruned"] = [
        [*draw(st.lists(channels, min_size=inner, max_size=inner)), out]
        for _ in range(stage["repeats"])
    ]
    return document


@st.composite
def regnets(draw: st.DrawFn) -> dict[str, Any]:
    """Specs whose stages RegNet's rule gives: at most as many as it has blocks."""
    document = draw(varied)
    del document["stages"]
    for key in ("groups", "width_per_group", "output_stride"):
        document.pop(key, None)
    depth = draw(st.integers(1, 4))
    document["regnet"] = {
        "depth": depth,
        "w_0": draw(st.sampled_from([8, 16, 24])),
        "w_a": draw(st.floats(0, 16)),
        "w_m": draw(st.floats(1.1, 3)),
        "group_width": draw(st.sampled_from([1, 4, 8, 12])),
        "rounding": draw(st.sampled_from(["torchvision", "pycls"])),
    }
    document["input"]["size"] = [4 * 2**depth + draw(st.integers(0, 9)) for _ in range(2)]
    return document


drawn = st.one_of(documents(), varied, pruned(), regnets())
"""Specs from the whole language."""

MAY_BREAK = frozenset(
    {"shrinking-shortcut", "uneven-groups", "no-channels", "no-middle", "no-last-window"}
)
"""Rules that drawn documents may break: on channels that do not divide, or are cut away, and on
attention in the middle of a block that has none, or padding behind the last window of a pool that
has no stride."""

OTHER_VALUES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "attention_at": ("attention_at", ("middle", "end")),
    "se_ratio": ("se_ratio", (0.5, 8.0)),
    "se_divisor": ("se_divisor", (1, 64)),
    "projection_kernel": ("projection_kernel", (5, 3)),
    "downsample": ("downsample", ("avg", "conv")),
    "epsilon": ("norm.epsilon", (0.5,)),
    "momentum": ("norm.momentum", (0.5, 0.25)),
    "zero_init_last": ("init.zero_last_gamma", (True, False)),
    "conv_padding": ("conv_padding", ("same", "symmetric")),
    "pool_padding": ("stem.pool_padding", ("zeros", "symmetric")),
    "stride_block": ("stride_block", ("first", "last")),
    "anti_alias": ("anti_alias", ("avg", "none")),
    "drop_path": ("drop_path", (0.5, 0.25)),
}
"""Where a spec has what a key says, and values of which one changes a network, unless the key is
idle in it."""


MAY_COINCIDE = frozenset(
    {"se_ratio", "se_divisor", "projection_kernel", "downsample", "stride_block"}
)
"""Keys that some networks do not feel though they are not idle: numbers may round alike, a shortcut
that may be projected need not be, and a first block may be the last."""


def with_value(record: Any, path: str, value: Any) -> Any:
    """A copy of the record, and of those in it that lead there, with a value at the path."""
    name, _, rest = path.partition(".")
    return replace(
        record, **{name: with_value(getattr(record, name), rest, value) if rest else value}
    )


@given(document=drawn)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_network_is_sound_and_pytorch_builds_exactly_it(document: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.yaml"
        try:
            # As if all were inherited: what is stated must have an effect.
            spec = meaning(parse(json.dumps(document), file="drawn"))
        except DiagnosticError as error:
            if not {diagnostic.code for diagnostic in error.diagnostics} <= MAY_BREAK:
                raise
            reject()
        if any(feasibility.problems(spec)):
            reject()
        network = lower(spec)
        check(network)
        assert text(network) == text(lower(spec))
        idle = set(idle_keys(spec))
        for key, (where, values) in OTHER_VALUES.items():
            others = (lower(with_value(spec, where, value)) for value in values)
            unchanged = all(tuple(other.ops) == tuple(network.ops) for other in others)
            if key in idle or key not in MAY_COINCIDE:
                assert (key in idle) == unchanged, key
        path.write_text(to_yaml(spec))
        assert load(str(path)).spec == spec
        sources = {name: Path(folder) / f"model_{name}.py" for name in ("torch", "keras", "flax")}
        for name, written in sources.items():
            written.write_text(source(network, name))
        hold_to_ruff(*sources.values())
        emit(network, names=["onnx"], spec_yaml="", described=["onnx"])
        cases = drawn_cases(network, seed=0)
        assert len({case.size for case in cases}) == 4
        assert not any(unfit_op(network, case.size) for case in cases)
        model = import_file(sources["torch"]).drawn().eval()

    state = {
        name: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert state == {parameter.name: parameter.shape for parameter in network_parameters(network)}
    trainable = sum(parameter.numel() for parameter in model.parameters())
    assert trainable == total(network).trainable
    with patch.object(feasibility, "MOST_PARAMETERS", 0):
        (problem,) = feasibility.problems(spec)
    assert problem.message == f"the network has {trainable:,} parameters"

    known = shapes(network)
    seen: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        if name in known:
            module.register_forward_hook(record(seen, name))
    with torch.no_grad():
        model(torch.zeros(1, spec.input.channels, spec.input.height, spec.input.width))
    owners = {each.name.rpartition(".")[0] for each in network_parameters(network)}
    pools = {op.name for op in network.head if isinstance(op, GlobalAvgPool | GlobalMaxPool)}
    assert {"layer1.0.conv1", "fc", *pools, *owners} <= set(seen)
    # A gate has one value per channel, in whichever form the framework has it.
    flat = {name: shape for name, shape in seen.items() if ".se." in name}
    assert all(math.prod(shape) == math.prod(known[name]) for name, shape in flat.items())
    assert {name: shape for name, shape in seen.items() if name not in flat} == {
        name: known[name] for name in seen if name not in flat
    }

    drawn, image = Drawn(network, seed=0), cases[0].image.astype(np.float64)
    *_, (_, expected) = drawn.walk(image)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in drawn.tensors.items()}
    model.load_state_dict(tensors, strict=False)
    with torch.no_grad():
        answer = model.double()(torch.from_numpy(image)).numpy()
    assert np.abs(answer - expected).max() <= 1e-9 * np.abs(expected).max()


def record(seen: dict[str, tuple[int, ...]], name: str):  # type: ignore[no-untyped-def]
    def hook(module: Any, arguments: Any, result: Any) -> None:
        seen[name] = tuple(result.shape[1:])

    return hook
