"""`verify` in types of 16 bits: what rounding does, what passes, and what proves nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Ran, Run
from test_cli_build import tiny
from verification import DEEP_SQUEEZING, DILATING, SMALL, files, network_of

from resnetgen.ir.network import Network
from resnetgen.verify.cases import Case, KnownCase, LeftOut, drawn_cases, shipped_image
from resnetgen.verify.check import Options, verify
from resnetgen.verify.compare import TOLERANCES
from resnetgen.verify.dtypes import FORMATS, Dtype
from resnetgen.verify.narrow import fit
from resnetgen.verify.prepare import prepare
from resnetgen.verify.rounding import rounded
from resnetgen.verify.stored import read

NARROW: tuple[Dtype, ...] = ("bfloat16", "float16")
# A plain network amplifies what each of its layers rounds away.
PLAIN = SMALL.replace("repeats: 2", "repeats: 20") + "shortcut: none\n"


def verified(resnetgen: Run, dtype: Dtype, target: str, *options: str) -> Ran:
    resnetgen("build", tiny(), "--no-verify")
    return resnetgen("verify", "generated/tiny", "--dtype", dtype, "--target", target, *options)


@pytest.mark.parametrize("dtype", NARROW)
def test_numbers_are_rounded_as_the_type_itself_rounds_them(dtype: Dtype) -> None:
    library: Any = np if dtype == "float16" else pytest.importorskip("ml_dtypes")
    type_ = getattr(library, dtype)
    rng = np.random.default_rng(0)
    single = rng.standard_normal(10_000).astype(np.float32)
    single *= np.exp2(rng.integers(-30, 17, single.size)).astype(np.float32)
    # Halfway between two numbers, and the ends of the range.
    ties = 1 + FORMATS[dtype].epsilon * (np.arange(8, dtype=np.float32) + 0.5)
    ends = np.array([FORMATS[dtype].largest, FORMATS[dtype].smallest, 0.0, np.inf], np.float32)
    value = np.concatenate([single, -single, ties, ends])
    with np.errstate(over="ignore"):
        expected = value.astype(type_).astype(np.float64)
    assert np.array_equal(rounded(value, dtype), expected)


def test_what_is_beyond_float16_is_infinite() -> None:
    assert rounded(np.array([65519.0, 65520.0, -1e6]), "float16").tolist() == [
        65504.0, np.inf, -np.inf,
    ]  # fmt: skip


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return network_of(SMALL, tmp_path)


@pytest.mark.parametrize(
    ("dtype", "scale", "said"),
    [
        ("float16", 1e4, "reaches"),
        ("bfloat16", 1e4, None),
        ("float16", 1e-5, "float16 does not hold an image that is so small"),
        ("bfloat16", 1e-5, None),
    ],
)
def test_a_case_beyond_the_range_of_a_type_is_left_out(
    network: Network, tmp_path: Path, dtype: Dtype, scale: float, said: str | None
) -> None:
    directory = files(network, tmp_path / "built", spec=SMALL)
    stored = replace(read(directory / "model.safetensors", network), narrow=dtype)
    case = drawn_cases(network, seed=0)[0]
    case = case.times(scale)
    found = fit(network, case, stored, dtype=dtype)
    if said is None:
        assert isinstance(found, KnownCase)
        assert np.array_equal(found.case.image, rounded(case.image, dtype))
    else:
        assert isinstance(found, LeftOut)
        assert said in found.reason
        assert dtype in found.reason


@pytest.mark.parametrize("dtype", NARROW)
def test_shipped_weights_get_an_image_on_which_a_type_proves_something(
    tmp_path: Path, dtype: Dtype
) -> None:
    network = network_of(DEEP_SQUEEZING, tmp_path)
    directory = files(network, tmp_path / "built", spec=DEEP_SQUEEZING)
    stored = replace(read(directory / "model.safetensors", network), narrow=dtype)
    whole = Case("shipped", 1.0, shipped_image(network, seed=0))
    assert isinstance(fit(network, whole, stored, dtype=dtype), LeftOut)
    (tmp_path / "scratch").mkdir()

    prepared = prepare(
        network, directory, tmp_path / "scratch", level="forward", seed=0, dtype=dtype
    )

    assert [case.weights for case in prepared.cases][:2] == ["shipped", "drawn"]
    assert prepared.cases[0].scale < 1.0


def test_rounded_weights_are_what_a_narrow_type_holds(network: Network, tmp_path: Path) -> None:
    directory = files(network, tmp_path / "built", spec=SMALL)
    stored = read(directory / "model.safetensors", network)
    wide = stored.tensors(network.stem[1])["weight"]
    narrow = replace(stored, narrow="bfloat16").tensors(network.stem[1])["weight"]
    assert not np.array_equal(wide, narrow)
    assert np.array_equal(rounded(wide, "bfloat16"), narrow)


def test_a_network_in_which_rounding_hides_everything_proves_nothing(
    resnetgen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is run for it, so that this needs no framework."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "other_runner")
    Path("plain.yaml").write_text(PLAIN)
    resnetgen("build", "plain.yaml", "--no-verify")
    Path("generated/small/model_other.py").write_text("")
    arguments = ("verify", "generated/small", "--dtype", "bfloat16", "--target", "other")
    ran = resnetgen(*arguments)
    assert ran.code == 1
    assert " of its scale, and nothing would be proven" in ran.out
    assert "failed: nothing was proven, and no certificate was written; other did not run\n" in (
        ran.out
    )
    assert not Path("generated/small/certificate.json").exists()
    found = resnetgen(*arguments, "--json").json["verification"]
    assert found["targets"]["other"]["status"] == "not_run"
    assert [each["weights"] for each in found["inputs_left_out"]] == ["drawn"] * 5


def test_a_value_with_more_digits_than_the_type_was_computed_in_another(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = Path(__file__).parent / "other_runner"
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    directory = files(network, tmp_path / "built", spec=SMALL)
    # It says that it computes in whatever type it is asked for, and does so in float64.
    source = '__all__ = ["build"]\n\n\ndef build():\n    return lambda name, value: value\n'
    (directory / "model_other.py").write_text(source)
    options = Options(("other",), dtype="bfloat16")
    found = verify(network, directory, options=options, progress=lambda *_: None)
    result = found.targets["other"]
    assert result.status == "failed"
    assert result.reason is not None
    assert "has more digits than bfloat16: it was computed in a wider type" in result.reason


@pytest.mark.parametrize("dtype", NARROW)
def test_training_and_a_peer_are_not_for_narrow_types(resnetgen: Run, dtype: Dtype) -> None:
    resnetgen("build", tiny(), "--no-verify", "--no-weights")
    arguments = ("verify", "generated/tiny", "--dtype", dtype)
    ran = resnetgen(*arguments, "--level", "train")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"error: --level train compares gradients, and --dtype {dtype} rounds them too far\n"
        "hint: leave --dtype out, or compare with --level forward\n"
    )
    ran = resnetgen(*arguments, "--against", "json:loads")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"error: --against runs a model in float64, and --dtype {dtype} rounds the weights\n"
        "hint: leave one of them out\n"
    )


@pytest.mark.frameworks
@pytest.mark.parametrize("dtype", NARROW)
def test_a_small_network_passes_in_every_target_that_can(resnetgen: Run, dtype: Dtype) -> None:
    for framework in ("torch", "tensorflow", "keras", "jax", "flax", "onnxruntime"):
        pytest.importorskip(framework)
    targets = "torch,keras-tensorflow,keras-jax,keras-torch,flax,onnx"
    ran = verified(resnetgen, dtype, targets, "--json")
    assert ran.code == 0
    found = ran.json["verification"]
    assert found["status"] == "passed"
    assert "inputs_left_out" not in found
    if dtype == "bfloat16":
        graph = found["targets"].pop("onnx")
        assert (graph["status"], graph["dtype"], graph["reason"]) == (
            "not_run", None, "Conv takes no bfloat16 in opset 20, which the graph uses",
        )  # fmt: skip
    for target in found["targets"].values():
        assert (target["status"], target["dtype"]) == ("passed", dtype)
        assert target["runs"]
        for run in target["runs"]:
            assert run["dtype"] == dtype
            assert run["tolerance"] == TOLERANCES[dtype]
            # Less would be no rounding to this type.
            assert FORMATS[dtype].epsilon / 4 < run["max_rel_diff"] <= run["bound"] < 0.5
    certificate = json.loads(Path("generated/tiny/certificate.json").read_text())
    assert certificate["targets"]["torch"]["dtype"] == dtype
    (run,) = certificate["targets"]["torch"]["runs"]
    assert run["inputs_compared"] == [0, 1, 2, 3, 4, 5]


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("file", "edits", "layer", "cause"),
    [
        (
            "model_torch.py",
            {"return self.relu(x + shortcut)": "return x + shortcut"},
            "layer1.0.act",
            "is missing",
        ),
        (
            "model_torch.py",
            {
                "self.conv1 = conv3x3(in_channels, out_channels, stride)": (
                    "self.conv1 = conv3x3(in_channels, out_channels)"
                ),
                "self.conv2 = conv3x3(out_channels, out_channels)": (
                    "self.conv2 = conv3x3(out_channels, out_channels, stride)"
                ),
            },
            "layer2.0.conv1",
            "its stride is 1, not 2",
        ),
        (
            "model_keras.py",
            {
                "if kernel_size > 1:": "if kernel_size > 1 and stride == 1:",
                "use_bias=False,": 'use_bias=False, padding="same" if stride == 2 else "valid",',
            },
            "layer2.0.conv1",
            "a pixel's shift, as SAME padding makes",
        ),
    ],
)
def test_a_fault_is_caught_in_bfloat16(
    resnetgen: Run, file: str, edits: dict[str, str], layer: str, cause: str
) -> None:
    for framework in ("torch", "tensorflow", "keras"):
        pytest.importorskip(framework)
    target = "torch" if file == "model_torch.py" else "keras-tensorflow"
    resnetgen("build", tiny(), "--no-verify")
    path = Path("generated/tiny", file)
    text = path.read_text()
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    arguments = ("--dtype", "bfloat16", "--target", target, "--json")
    ran = resnetgen("verify", "generated/tiny", *arguments)
    assert ran.code == 1
    result = ran.json["verification"]["targets"][target]
    assert (result["status"], result["dtype"]) == ("failed", "bfloat16")
    assert result["first_divergence"] == layer
    assert cause in result["cause"]


@pytest.mark.frameworks
def test_logits_that_flax_gives_in_a_wider_type_are_a_failure(resnetgen: Run) -> None:
    """Though they have no more digits: a target that computes in the type is held to it."""
    for framework in ("torch", "flax"):
        pytest.importorskip(framework)
    resnetgen("build", tiny(), "--no-verify")
    path = Path("generated/tiny/model_flax.py")
    text = path.read_text()
    returned = "return self.fc(x.mean(axis=(1, 2)))"
    assert returned in text
    path.write_text(text.replace(returned, f'{returned}.astype("float32")'))
    arguments = ("--dtype", "bfloat16", "--target", "torch,flax", "--json")
    ran = resnetgen("verify", "generated/tiny", *arguments)
    assert ran.code == 1
    found = ran.json["verification"]
    assert (found["status"], found["targets"]["torch"]["status"]) == ("failed", "passed")
    result = found["targets"]["flax"]
    assert result["status"] == "failed"
    assert "the model computed in float32, not in bfloat16" in result["reason"]


@pytest.mark.frameworks
@pytest.mark.parametrize("dtype", ["float32", *NARROW])
def test_flax_is_not_run_where_an_average_pool_of_it_widens(resnetgen: Run, dtype: Dtype) -> None:
    pytest.importorskip("flax")
    Path("dilating.yaml").write_text(DILATING)
    resnetgen("build", "dilating.yaml", "--no-verify")
    arguments = ("--dtype", dtype, "--target", "flax", "--json")
    ran = resnetgen("verify", "generated/dilating", *arguments)
    assert ran.code == 1
    result = ran.json["verification"]["targets"]["flax"]
    assert (result["status"], result["dtype"], result["reason"]) == (
        "not_run",
        None,
        "layer1.0.downsample.0 gives float64: Flax counts in it what an average pool divides by",
    )


@pytest.mark.frameworks
def test_inputs_that_are_left_out_are_named(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    Path("plain.yaml").write_text(PLAIN)
    resnetgen("build", "plain.yaml", "--no-verify")
    ran = resnetgen("verify", "generated/small", "--dtype", "float16", "--target", "torch")
    assert ran.code == 0
    remark = "left out drawn weights, input 1x1x22x16, times 1000: rounding may move layer1."
    assert remark in ran.out
    certificate = json.loads(Path("generated/small/certificate.json").read_text())
    left_out = [(each["weights"], each["scale"]) for each in certificate["inputs_left_out"]]
    assert left_out == [("drawn", 1.0), ("drawn", 1000.0)]
    assert [each["scale"] for each in certificate["inputs"]] == [1.0] * 3 + [0.001]


@pytest.mark.frameworks
def test_a_certificate_of_a_wider_type_is_not_replaced_in_silence(resnetgen: Run) -> None:
    pytest.importorskip("torch")
    resnetgen("build", tiny(), "--target", "torch")
    ran = resnetgen("verify", "generated/tiny", "--dtype", "bfloat16")
    assert ran.code == 0
    assert "replaced one in which torch had passed in float64; " in ran.err
    ran = resnetgen("verify", "generated/tiny")
    assert (ran.code, ran.err) == (0, "tiny: torch passed\n")
