"""Verification as a whole: files as they were written pass, and its verdicts say what they mean."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from skips import skip_without
from verification import (
    DEEP_SQUEEZING,
    SMALL,
    SQUEEZING,
    TINY,
    edited_graph,
    files,
    network_of,
    verify_together,
)

from resnetgen import certificates
from resnetgen.ir.ops import BatchNorm2d
from resnetgen.verify.cases import Case, drawn_cases, shipped_image
from resnetgen.verify.certificate import certificate
from resnetgen.verify.check import Options, verify
from resnetgen.verify.compare import beyond_proof, bound, compare
from resnetgen.verify.conditioning import growths
from resnetgen.verify.numbers import Drawn
from resnetgen.verify.prepare import (
    Prepared,
    measured_growths,
    prepare,
    reference_values,
    shipped_case,
)
from resnetgen.verify.result import TargetResult, Verification
from resnetgen.verify.runners.protocol import OUTPUT
from resnetgen.verify.runners.registry import targets
from resnetgen.verify.stored import read
from resnetgen.verify.training import walk

# What the interface promises for every target; more may follow.
PROMISED = (
    "status",
    "reason",
    "device",
    "dtype",
    "params",
    "output_shape",
    "max_abs_diff",
    "max_rel_diff",
    "first_divergence",
    "cause",
)


KERAS = ("keras-tensorflow", "keras-jax", "keras-torch")


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.frameworks
def test_text_that_says_something_else_than_the_graph_fails(tmp_path: Path) -> None:
    skip_without("onnxruntime")
    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    text = directory / "model.onnxtxt"
    text.write_text(text.read_text().replace("1e-05", "1.5e-05", 1))

    verification = verify(network, directory, options=Options(("onnx",)), progress=lambda *_: None)
    result = verification.targets["onnx"]
    assert result.status == "failed"
    assert "model.onnxtxt and model.onnx differ at node bn1" in str(result.reason)


STATEMENTS = {
    "ir_version": ("ir_version: 9", "ir_version: 8", "differ in ir_version"),
    "opset": ('"": 20', '"": 19', "differ in opset_import"),
    "input": ("float[N, 3, H, W]", "float[N, 4, H, W]", "differ in inputs"),
    "output": ("float[N, 10]", "float[N, 11]", "differ in outputs"),
    "type": (
        'float[8] "bn1.weight"',
        'double[8] "bn1.weight"',
        "differ in initializer bn1.weight",
    ),
    "shape": ('float[8] "bn1.bias"', 'float[9] "bn1.bias"', "differ in initializer bn1.bias"),
    "values": (
        '"subsample.steps.2" = {2, 2}',
        '"subsample.steps.2" = {2, 1}',
        "differ in initializer subsample.steps.2",
    ),
    "location": (
        'float[8] "bn1.weight"',
        'float[8] "bn1.weight" = ["location": "elsewhere"]',
        "differ in initializer bn1.weight",
    ),
    "missing": ('float[8] "bn1.weight",', "", "has no initializer bn1.weight"),
}


@pytest.mark.frameworks
def test_all_that_the_text_states_is_compared_with_the_graph(tmp_path: Path) -> None:
    skip_without("onnxruntime")
    network = network_of(TINY, tmp_path)
    directories: list[Path] = []
    for name, (stated, instead, _) in STATEMENTS.items():
        directory = files(network, tmp_path / name)
        text = directory / "model.onnxtxt"
        assert stated in text.read_text()
        text.write_text(text.read_text().replace(stated, instead, 1))
        directories.append(directory)

    results = verify_together("onnx", directories)

    assert {result["status"] for result in results.values()} == {"failed"}
    for name, (_, _, reason) in STATEMENTS.items():
        assert reason in results[name]["reason"]


@pytest.mark.frameworks
def test_weights_that_pytorch_saved_anew_pass(tmp_path: Path) -> None:
    """Its counters of training steps are nobody else's, and the graph finds the rest."""
    skip_without("torch", "onnxruntime")
    from safetensors.numpy import load_file, save_file

    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    weights = directory / "model.safetensors"
    tensors = {name: tensor * np.float32(1.5) for name, tensor in load_file(weights).items()}
    save_file(tensors, weights)
    options = Options(("torch", "onnx"))
    assert verify(network, directory, options=options, progress=lambda *_: None).status == "passed"

    save_file({**tensors, "bn1.num_batches_tracked": np.array(7)}, weights)
    verification = verify(network, directory, options=options, progress=lambda *_: None)
    assert verification.targets["torch"].status == "passed"
    saved = (
        "as in model.safetensors, which was saved otherwise: `build --weights` writes it in order"
    )
    assert saved in str(verification.targets["onnx"].reason)


@pytest.mark.frameworks
def test_files_as_written_pass_in_every_default_target(tmp_path: Path) -> None:
    skip_without("torch", "tensorflow", "keras", "jax", "flax", "onnxruntime")
    network = network_of(TINY, tmp_path)
    directory = files(network, tmp_path / "built")
    before = contents(directory)
    told: list[tuple[str, str]] = []

    verification = verify(
        network,
        directory,
        options=Options(),
        progress=lambda target, what: told.append((target, what)),
    )

    assert contents(directory) == before
    assert verification.status == "passed"
    assert verification.weights == "shipped"
    assert list(verification.targets) == ["torch", *KERAS, "flax", "onnx"]
    assert {("torch", "running"), ("torch", "passed")} <= set(told)
    for result in verification.targets.values():
        document = result.to_json()
        assert set(PROMISED) <= set(document)
        assert document["dtype"] == "float64"
        assert document["output_shape"] == [2, 10]
        assert document["params"] == 11_554
        assert result.parameters_compared == 72
        for figures in result.runs:
            assert 0.0 < figures.max_rel_diff <= figures.bound
            assert figures.minimum_tolerance < figures.tolerance
    evaluators = [run.evaluator for run in verification.targets["onnx"].runs]
    assert sorted(evaluators) == ["onnx.reference", "onnxruntime"]
    written = json.dumps(certificate(verification, network), allow_nan=False)
    assert str(tmp_path) not in written
    # The card is for reading: nothing in it was judged.
    assert set(json.loads(written)["files"]) == set(before) - {"README.md"}


def test_a_certificate_that_was_written_is_known_as_one(tmp_path: Path) -> None:
    network = network_of(SMALL, tmp_path)
    verification = Verification("forward", "ir", "shipped", 0, (), (), {}, {"torch": PASSED})
    path = tmp_path / "certificate.json"

    certificates.write(path, verification, network)
    assert certificates.is_certificate(path)
    path.write_text(path.read_text().replace("spec_sha256", "sha256"))
    assert not certificates.is_certificate(path)


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("target", "modules"),
    [("keras-jax", ("keras", "jax")), ("keras-torch", ("keras", "torch"))],
)
def test_other_backends_of_keras_compute_in_float64(
    target: str, modules: tuple[str, ...], tmp_path: Path
) -> None:
    skip_without(*modules)
    network = network_of(SMALL, tmp_path)
    verification = verify(
        network,
        files(network, tmp_path / "built", spec=SMALL),
        options=Options((target,)),
        progress=lambda *_: None,
    )

    assert verification.targets[target].to_json()["dtype"] == "float64"
    assert verification.status == "passed"


@pytest.mark.frameworks
def test_without_weights_some_are_made_and_the_result_says_so(tmp_path: Path) -> None:
    skip_without("onnxruntime")
    network = network_of(TINY, tmp_path)
    directory = files(network, tmp_path / "built", weights=False)
    verification = verify(
        network, directory, options=Options(("onnx",), dtype="float32"), progress=lambda *_: None
    )

    assert (verification.status, verification.weights) == ("passed", "absent")
    assert verification.targets["onnx"].to_json()["dtype"] == "float32"
    assert not (directory / "model.safetensors").exists()


OFF_WHERE_LARGE = (
    "return self.fc(x)",
    "x = self.fc(x)\n        return x * (1 + 1e-6 * (x.abs().max() > 100))",
)
"""An edit of `model_torch.py`: images times 1000 are answered wrong by 1e-6, and no others."""


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("grown_at", "status"), [((), "failed"), ((1e3,), "passed"), ((1.0, 1e-3, 1e3), "not_run")]
)
def test_what_rounding_alone_may_do_proves_nothing_and_is_no_failure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    grown_at: tuple[float, ...],
    status: str,
) -> None:
    """Where no input is left that proves a value, nothing has passed."""
    skip_without("torch")
    network = network_of(TINY, tmp_path)
    directory = files(network, tmp_path / "built")
    source = directory / "model_torch.py"
    old, new = OFF_WHERE_LARGE
    if 1.0 in grown_at:
        new = new.replace("> 100", "> 0")
    assert old in source.read_text()
    source.write_text(source.read_text().replace(old, new))

    def measured(prepared: Prepared, values: Any, *, seed: int) -> list[Mapping[str, float]]:
        found = measured_growths(prepared, values, seed=seed)
        return [
            dict.fromkeys(growths, 1e9) if case.scale in grown_at else growths
            for case, growths in zip(prepared.cases, found, strict=True)
        ]

    monkeypatch.setattr("resnetgen.verify.check.measured_growths", measured)
    verification = verify(network, directory, options=Options(("torch",)), progress=lambda *_: None)

    result = verification.targets["torch"]
    assert result.status == status, result.reason
    left_out = verification.to_json().get("inputs_left_out", [])
    assert {each["scale"] for each in left_out} == set(grown_at)
    for each in left_out:
        assert "rounding alone may move fc by 2.2e-05 of its scale" in each["reason"]
        assert "nothing is proven there in torch" in each["reason"]
    if len(grown_at) > 1:
        assert result.reason is not None
        assert "rounding to float64 alone may move fc too far on every input" in result.reason


@pytest.mark.frameworks
def test_at_level_shapes_no_value_is_compared(tmp_path: Path) -> None:
    skip_without("onnxruntime")
    network = network_of(TINY, tmp_path)
    directory = files(network, tmp_path / "built")
    verification = verify(
        network, directory, options=Options(("onnx",), level="shapes"), progress=lambda *_: None
    )

    result = verification.targets["onnx"]
    assert (result.status, result.runs) == ("passed", ())
    assert result.shapes_compared > 100


@pytest.mark.frameworks
def test_external_data_must_lie_in_the_directory(tmp_path: Path) -> None:
    skip_without("onnxruntime")

    network = network_of(TINY, tmp_path)
    directory = files(network, tmp_path / "built")
    path = directory / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    tensor = next(each for each in model.graph.initializer if each.name == "conv1.weight")
    entry = next(each for each in tensor.external_data if each.key == "location")
    entry.value = "../model.safetensors"
    path.write_bytes(model.SerializeToString())
    verification = verify(network, directory, options=Options(("onnx",)), progress=lambda *_: None)

    result = verification.targets["onnx"]
    assert result.status == "failed"
    assert result.first_divergence == "conv1"
    assert result.reason is not None
    assert "has location ../model.safetensors, not model.safetensors" in result.reason


@pytest.mark.frameworks
def test_an_empty_graph_is_called_so(tmp_path: Path) -> None:
    skip_without("onnxruntime")
    network = network_of(TINY, tmp_path)
    directory = files(network, tmp_path / "built")
    (directory / "model.onnx").write_bytes(b"")
    verification = verify(network, directory, options=Options(("onnx",)), progress=lambda *_: None)

    result = verification.targets["onnx"]
    assert result.status == "failed"
    assert result.reason == "ValueError: model.onnx has no input, and not one"


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("name", "kind", "reason", "cause"),
    [
        ("", "Softmax", "fc, given its inputs, is off by", "is followed by a softmax"),
        ("", "Neg", "fc, given its inputs, is off by", "is multiplied by -1"),
        ("appended", "Neg", "fc, given its inputs, is off by", "is multiplied by -1"),
        # Under the label of what is returned there are two values then.
        (OUTPUT, "Neg", "shows nothing that it returns", None),
    ],
)
def test_what_a_graph_ends_with_is_judged_whatever_its_name(
    tmp_path: Path, name: str, kind: str, reason: str, cause: str | None
) -> None:
    """A node may have no name, as those have that `onnx.helper` makes."""
    skip_without("onnxruntime")

    network = network_of(TINY, tmp_path)
    directory = files(network, tmp_path / "built")
    with edited_graph(directory) as model:
        last = model.graph.node[-1]
        returned = last.output[0]
        last.output[0] = "before"
        model.graph.node.append(onnx.helper.make_node(kind, ["before"], [returned], name=name))
    verification = verify(network, directory, options=Options(("onnx",)), progress=lambda *_: None)

    result = verification.targets["onnx"]
    assert result.status == "failed"
    assert result.reason is not None
    assert reason in result.reason
    assert (result.cause or "") == (cause or "")


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("target", "module", "file", "old", "new", "reason"),
    [
        (
            "torch", "torch", "model_torch.py",
            "return self.fc(x)", "return self.fc(x), x",
            "TypeError: the model returned tuple, not a Tensor",
        ),
        (
            "keras-torch", "keras", "model_keras.py",
            "keras.Model(image, logits", "keras.Model(image, [logits, logits]",
            "TypeError: the model returned list, not a tensor",
        ),
        (
            "onnx", "onnxruntime", "model.onnx",
            "", "",
            "ValueError: model.onnx has 2 outputs, logits and flatten, and not one",
        ),
    ],
)  # fmt: skip
def test_a_model_that_returns_more_than_one_value_is_called_so(
    tmp_path: Path, target: str, module: str, file: str, old: str, new: str, reason: str
) -> None:
    """And what came before is no difference that the whole of it could be known by."""
    skip_without(module)
    network = network_of(TINY, tmp_path)
    directory = files(network, tmp_path / "built")
    path = directory / file
    if file == "model.onnx":
        import onnx

        model = onnx.load(path, load_external_data=False)
        more = onnx.helper.make_tensor_value_info("flatten", onnx.TensorProto.FLOAT, None)
        model.graph.output.append(more)
        path.write_bytes(model.SerializeToString())
    else:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    verification = verify(network, directory, options=Options((target,)), progress=lambda *_: None)

    result = verification.targets[target]
    assert result.status == "failed"
    assert result.reason is not None
    assert reason in result.reason
    assert result.to_json()["max_rel_diff"] is None
    assert result.to_json()["minimum_tolerance"] is None


def test_targets_come_in_the_order_of_emission() -> None:
    ours = ("torch", *KERAS, "flax", "onnx")
    assert targets()[: len(ours)] == ours


PASSED = TargetResult("passed", None, "cpu")
FAILED = TargetResult("failed", "why", "cpu")
NOT_RUN = TargetResult("not_run", "why", "cpu")
NOT_DUE = TargetResult("not_run", "why", "cpu", due=False)


@pytest.mark.parametrize(
    ("results", "status"),
    [
        ((PASSED, PASSED), "passed"),
        ((PASSED, NOT_DUE), "passed"),
        ((PASSED, NOT_RUN), "partial"),
        ((PASSED, FAILED), "failed"),
        ((NOT_RUN, FAILED), "failed"),
        ((NOT_RUN,), "failed"),
        ((NOT_DUE,), "failed"),
        ((), "failed"),
    ],
)
def test_status(results: tuple[TargetResult, ...], status: str) -> None:
    named: Mapping[str, TargetResult] = dict(zip("abc", results, strict=False))
    verification = Verification("forward", "ir", "shipped", 0, (), (), {}, named)

    assert verification.status == status


def test_the_bound_grows_with_the_path_but_not_past_the_limit() -> None:
    assert bound("float64", growth=1) < bound("float64", growth=10) < 1e-12
    assert bound("float64", growth=1e12) == 1e-10
    assert bound("float32", growth=1) < 3e-5


@pytest.mark.parametrize(
    "actual",
    [
        np.array([1.0, np.nan]),
        np.array([1.0, np.inf]),
        np.array([1.0, 2.0, 3.0]),
        np.array([[1.0, 2.0]]),
        np.array([1.0, 2.0 + 1e-9]),
    ],
)
def test_what_never_passes(actual: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    assert not compare(actual, np.array([1.0, 2.0]), dtype="float64", growth=10).passed


def test_an_empty_value_never_passes() -> None:
    assert not compare(np.zeros(0), np.zeros(0), dtype="float64", growth=10).passed


def test_a_difference_is_relative_to_the_largest_entry() -> None:
    difference = compare(
        np.array([0.0, 100.0]), np.array([1e-13, 100.0]), dtype="float64", growth=1
    )

    assert difference.absolute == 1e-13
    assert math.isclose(difference.relative, 1e-15)
    assert difference.passed


DEEP = """
name: deep
input: {channels: 3, size: 32}
classes: 10
stem: {width: 8, kernel: 3, stride: 1, pool: none}
block: basic
stages:
  - {name: a, repeats: 100, width: 8, stride: 1, shortcut: %s}
"""


@pytest.mark.parametrize("shortcut", ["projection", "none"])
def test_drawn_weights_keep_a_deep_network_in_range(shortcut: str, tmp_path: Path) -> None:
    network = network_of(DEEP % shortcut, tmp_path)
    drawn = Drawn(network, seed=0)
    image = drawn_cases(network, seed=0)[0].image
    norms = {op.name for op in network.ops if isinstance(op, BatchNorm2d)}
    for op, value in drawn.walk(image):
        assert np.abs(value).max() < 100
        if op.name in norms:
            assert np.abs(value).max() > 0.1
    gammas = np.concatenate([drawn.tensors[f"{name}.weight"] for name in sorted(norms)])
    assert (gammas > 0).any()
    assert (gammas < 0).any()


def test_drawn_weights_depend_on_seed_and_name_alone(tmp_path: Path) -> None:
    network = network_of(TINY, tmp_path)
    image = drawn_cases(network, seed=0)[0].image
    first, again, other = (Drawn(network, seed=seed) for seed in (0, 0, 1))
    for drawn in (first, again, other):
        for _ in drawn.walk(image):
            pass

    for name, tensor in first.tensors.items():
        assert tensor.dtype == np.float32
        assert np.array_equal(tensor, again.tensors[name])
        assert not np.array_equal(tensor, other.tensors[name])


def test_fresh_weights_that_drive_gates_to_their_ends_get_a_small_image(tmp_path: Path) -> None:
    """Between its ends such a gate takes what rounding says, for all that comes behind."""
    network = network_of(DEEP_SQUEEZING, tmp_path)
    directory = files(network, tmp_path / "built", spec=DEEP_SQUEEZING)
    shipped = read(directory / "model.safetensors", network)

    known = shipped_case(network, shipped, seed=0)

    whole = Case("shipped", 1.0, shipped_image(network, seed=0))
    last = [block.ops[-1].name for block in network.blocks][-1]
    values = {
        op.name: each for op, each in walk(network, whole, shipped.tensors) if op.name == last
    }
    growth = growths(network, whole, shipped, values=values, seed=0)[last]
    assert beyond_proof("float32", growth=growth)
    assert known.case.scale < 1.0
    assert max(known.growths.values()) < 1e2


def test_growth_of_rounding_is_measured_at_each_scale(tmp_path: Path) -> None:
    """Gates that are nearly open or shut at one scale are neither at another."""
    network = network_of(SQUEEZING, tmp_path)
    directory = files(network, tmp_path / "built", spec=SQUEEZING)
    (tmp_path / "scratch").mkdir()
    prepared = prepare(
        network, directory, tmp_path / "scratch", level="forward", seed=0, dtype=None
    )

    found = measured_growths(prepared, reference_values(prepared), seed=0)

    drawn = [(case, each["fc"]) for case, each in zip(prepared.cases, found, strict=True)][1:]
    at: dict[float, float] = {}
    for case, growth in drawn:
        # That of the first, and more on an image that makes the value smaller.
        assert growth >= at.setdefault(case.scale, growth)
    assert len(set(at.values())) == len(at) == 3


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("old", "new", "kind"), [("input", "x", "input"), ("logits", "y", "output")]
)
def test_graph_whose_names_are_others_is_wrong(
    tmp_path: Path, old: str, new: str, kind: str
) -> None:
    """Though its text says the same, and no number changes."""
    skip_without("onnxruntime")
    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    with edited_graph(directory) as model:
        graph = model.graph
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
        for value in (*graph.input, *graph.output):
            value.name = new if value.name == old else value.name

    verification = verify(network, directory, options=Options(("onnx",)), progress=lambda *_: None)
    result = verification.targets["onnx"]
    assert result.status == "failed"
    assert result.reason is not None
    assert f"the graph's {kind} is declared as float[" in result.reason


@pytest.mark.frameworks
def test_what_loading_freezes_is_seen(tmp_path: Path) -> None:
    skip_without("keras")
    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    path = directory / "model_keras.py"
    text, line = path.read_text(), "        layer.set_weights(weights)\n"
    assert line in text
    path.write_text(text.replace(line, f'{line}        layer.trainable = layer.name == "fc"\n'))

    options = Options(("keras-torch",))
    verification = verify(network, directory, options=options, progress=lambda *_: None)
    result = verification.targets["keras-torch"]
    assert (result.status, result.first_divergence) == ("failed", "conv1")
    assert result.reason == "conv1.weight is not trainable"


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "BasicBlock(4, 4), BasicBlock(4, 4)",
            "BasicBlock(4, 4), BasicBlock(4, 4), BasicBlock(4, 4)",
            "layer1.2.conv1: None: has layer1.2.conv1.weight, which the spec does not",
        ),
        # What the first of the two calls is given exceeds 6 in the large images alone.
        (
            "        self.relu = nn.ReLU(inplace=True)\n\n    def forward",
            "        self.relu = nn.ReLU6()\n\n    def forward",
            "layer1.0.act1: is ReLU6",
        ),
        (
            "self.bn2(self.conv2(x))",
            "self.conv2(self.bn2(x))",
            "layer1.0.conv2: receives what layer1.0.bn2, which comes behind it, makes of its input",
        ),
        (
            "        x = self.layer1(x)\n",
            "        x = self.layer1(x)\n        image.zero_()\n",
            "None: None: ValueError: the model writes over the image that it is given",
        ),
    ],
)
def test_first_wrong_layer_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    pytest.importorskip("torch")
    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    path = directory / "model_torch.py"
    text = path.read_text()
    head = "        x = self.relu(self.bn1(self.conv1(x)))\n        x = self.layer1"
    assert old in text
    assert head in text
    text = text.replace(head, f"        image = x\n{head}").replace(old, new, 1)
    path.write_text(text)

    verification = verify(network, directory, options=Options(("torch",)), progress=lambda *_: None)
    result = verification.targets["torch"]
    assert result.status == "failed"
    found = f"{result.first_divergence}: {result.cause}: {result.reason}"
    assert found.startswith(said)


@pytest.mark.frameworks
def test_graph_without_a_last_activation_shows_the_other_layers(tmp_path: Path) -> None:
    skip_without("onnxruntime")
    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    with edited_graph(directory) as model:
        nodes = model.graph.node
        (gone,) = (node for node in nodes if node.name == "layer1.0.act")
        nodes.remove(gone)
        for node in nodes:
            node.input[:] = [
                gone.input[0] if name == gone.output[0] else name for name in node.input
            ]

    verification = verify(network, directory, options=Options(("onnx",)), progress=lambda *_: None)
    result = verification.targets["onnx"]
    assert (result.status, result.reason) == ("failed", "shows no value of layer1.0.act")


AUTOCAST = """    @torch.autocast("cpu", dtype=torch.bfloat16)
    def forward(self, x: Tensor) -> Tensor:"""
"""It takes float32 for bfloat16, and leaves float64 alone."""


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("target", "module", "file", "edits", "said"),
    [
        (
            "torch", "torch", "model_torch.py",
            {"    def forward(self, x: Tensor) -> Tensor:": AUTOCAST,
             "from torch import": "import torch\nfrom torch import"},
            "conv1: is rounded to bfloat16: conv1, given its inputs, is off by",
        ),
        (
            "torch", "torch", "model_torch.py",
            {"return ResNet(num_classes)": "return ResNet(num_classes).bfloat16()"},
            "conv1.weight is held in bfloat16, not in float32",
        ),
        (
            "flax", "flax", "model_flax.py",
            {"partial(nnx.BatchNorm, ": "partial(nnx.BatchNorm, param_dtype='bfloat16', "},
            "bn1.weight is held in bfloat16, not in float32",
        ),
        (
            "keras-torch", "keras", "model_keras.py",
            {'name="fc",': 'name="fc", dtype="float64",'},
            "fc.weight is held in float64, not in float32",
        ),
        (
            "keras-torch", "keras", "model_keras.py",
            {"__all__ =": "keras.config.set_dtype_policy('mixed_float16')\n\n__all__ ="},
            "conv1: is rounded to float16",
        ),
    ],
)  # fmt: skip
def test_what_a_model_is_by_default_is_seen(
    tmp_path: Path, target: str, module: str, file: str, edits: Mapping[str, str], said: str
) -> None:
    """In float32, and with tensors as they are held."""
    skip_without(module)
    network = network_of(SMALL, tmp_path)
    directory = files(network, tmp_path / "built", spec=SMALL)
    path = directory / file
    text = path.read_text()
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    verification = verify(network, directory, options=Options((target,)), progress=lambda *_: None)

    result = verification.targets[target]
    assert result.status == "failed"
    assert said in f"{result.first_divergence}: {result.cause}: {result.reason}"
