"""Certificates: their JSON Schema, and whether a directory is still what one is about."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import Run

from resnetgen.verify.document import parse

ROOT = Path(__file__).parent.parent
CERTIFIED = sorted((ROOT / "generated").glob("*/certificate.json"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A network as it is committed, without its weights."""
    ignore = shutil.ignore_patterns("*.safetensors")
    return shutil.copytree(ROOT / "generated" / "resnet20", tmp_path / "resnet20", ignore=ignore)


@pytest.mark.parametrize("path", CERTIFIED, ids=lambda path: path.parent.name)
def test_committed_certificate_has_the_keys_of_the_schema(path: Path) -> None:
    text = path.read_bytes()
    certificate = json.loads(text)
    assert parse(text) == certificate
    for target in certificate["targets"].values():
        assert all(run["max_rel_diff_at"] for run in target["runs"])


def test_schema_requires_what_is_always_there(resnetgen: Run) -> None:
    schema = resnetgen("schema", "--of", "certificate").json
    certificate = json.loads(CERTIFIED[0].read_text())
    assert set(schema["required"]) == certificate.keys()
    assert schema["properties"].keys() - certificate.keys() == {"inputs_left_out"}
    for described in (schema, *schema["$defs"].values()):
        assert all(each["description"] for each in described["properties"].values())
    target = schema["$defs"]["CertifiedTargetJson"]
    assert set(target["required"]) == certificate["targets"]["torch"].keys()
    assert target["properties"].keys() - set(target["required"]) == {
        "training", "training_scaled",
    }  # fmt: skip


def test_page_on_certificates_is_refused(resnetgen: Run) -> None:
    ran = resnetgen("schema", "--of", "certificate", "--format", "markdown")
    assert (ran.code, ran.out) == (2, "")
    assert "there is a page on specs alone" in ran.err


def test_files_that_are_as_certified(resnetgen: Run, directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    ran = resnetgen("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    assert ran.code == 0
    assert ran.out.startswith(
        "resnet20 is as certified in resnet20/certificate.json: passed at the level forward, in "
    )
    assert ran.err == "the weights that were certified are not here, so nothing is said of them\n"
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_what_had_failed_is_named_so(resnetgen: Run, directory: Path) -> None:
    path = directory / "certificate.json"
    document = json.loads(path.read_text())
    document["status"] = "failed"
    document["targets"]["torch"]["status"] = "failed"
    path.write_text(json.dumps(document))
    arguments = ("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    ran = resnetgen(*arguments)
    assert ran.code == 1
    assert "failed at the level forward, in torch; keras-tensorflow, " in ran.out
    assert ran.out.endswith(" and onnx passed\n")
    found = resnetgen(*arguments, "--json").json
    assert (found["targets"]["torch"], found["targets"]["onnx"]) == ("failed", "passed")


def test_files_that_changed_are_named(resnetgen: Run, directory: Path) -> None:
    source = directory / "model_torch.py"
    source.write_text(source.read_text() + "\n")
    (directory / "model_keras.py").unlink()
    (directory / "model.safetensors").write_bytes(b"other weights")
    arguments = ("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    ran = resnetgen(*arguments)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == (
        "resnet20/model.safetensors: changed\n"
        "resnet20/model_keras.py: missing\n"
        "resnet20/model_torch.py: changed\n"
        "not as certified: verify resnet20 again to know what it is now\n"
    )
    found = resnetgen(*arguments, "--json").json
    assert found["matches"] is False
    assert found["files"]["model_flax.py"] == "as certified"
    assert found["files"]["model_torch.py"] == "changed"


def test_certificate_in_a_narrow_type_says_so(resnetgen: Run, directory: Path) -> None:
    path = directory / "certificate.json"
    document = json.loads(path.read_text())
    document["targets"] = {"torch": {**document["targets"]["torch"], "dtype": "bfloat16"}}
    path.write_text(json.dumps(document))
    arguments = ("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    assert "passed at the level forward in bfloat16, in torch\n" in resnetgen(*arguments).out
    assert resnetgen(*arguments, "--json").json["dtypes"] == {"torch": "bfloat16"}


def test_weights_that_nobody_judged_are_named(resnetgen: Run, directory: Path) -> None:
    path = directory / "certificate.json"
    document = json.loads(path.read_text())
    del document["files"]["model.safetensors"]
    path.write_text(json.dumps({**document, "weights": "absent"}))
    arguments = ("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    assert resnetgen(*arguments).code == 0
    (directory / "model.safetensors").write_bytes(b"garbage")
    ran = resnetgen(*arguments)
    assert ran.code == 1
    assert ran.out == (
        "resnet20/model.safetensors: not certified\n"
        "not as certified: verify resnet20 again to know what it is now\n"
    )


def test_weights_that_cannot_be_read_are_not_taken_for_gone(
    resnetgen: Run, directory: Path
) -> None:
    (directory / "model.safetensors").mkdir()
    ran = resnetgen("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    assert (ran.code, ran.out.splitlines()[0]) == (1, "resnet20/model.safetensors: unreadable")


def test_other_file_that_a_target_reads_and_nobody_judged_is_named(
    resnetgen: Run, directory: Path
) -> None:
    path = directory / "certificate.json"
    document = json.loads(path.read_text())
    del document["files"]["model.onnxtxt"]
    path.write_text(json.dumps(document))
    ran = resnetgen("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    assert (ran.code, ran.out.splitlines()[0]) == (1, "resnet20/model.onnxtxt: not certified")


def test_another_spec_is_named(resnetgen: Run, directory: Path) -> None:
    path = directory / "spec.yaml"
    path.write_text(path.read_text().replace("classes: 10", "classes: 11"))
    ran = resnetgen("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    assert ran.code == 1
    assert "resnet20/spec.yaml: means another network than was certified\n" in ran.out


def test_certificate_of_a_failure_holds_nothing(resnetgen: Run, directory: Path) -> None:
    path = directory / "certificate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "failed"}))
    ran = resnetgen("verify", "resnet20", "--certificate", "resnet20/certificate.json")
    assert ran.code == 1
    assert "resnet20/certificate.json: failed at the level forward" in ran.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "is no certificate\nexpected: a file that `resnetgen verify` or `build` wrote"),
        ("no JSON", "is no certificate"),
        ('{"name": ' + "[" * 100_000, "is no certificate"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_certificate_is_refused(
    resnetgen: Run, directory: Path, text: str | None, said: str
) -> None:
    assert directory.is_dir()
    if text is not None:
        Path("other.json").write_text(text)
    ran = resnetgen("verify", "resnet20", "--certificate", "other.json")
    assert (ran.code, ran.out) == (2, "")
    assert f"other.json: error: {said}" in ran.err


@pytest.mark.parametrize("lacking", ["spec.yaml", "model_torch.py", "model.onnx"])
def test_certificate_that_does_not_say_what_passed_is_none(
    resnetgen: Run, directory: Path, lacking: str
) -> None:
    document = json.loads((directory / "certificate.json").read_text())
    del document["files"][lacking]
    Path("other.json").write_text(json.dumps(document))
    ran = resnetgen("verify", "resnet20", "--certificate", "other.json")
    assert (ran.code, ran.out) == (2, "")
    said = f"says that targets passed, and nothing of {lacking}, which they need"
    assert f"other.json: error: {said}\n" in ran.err


@pytest.mark.parametrize(
    ("targets", "status", "said"),
    [
        (("torch", "onnx"), "failed", "says partial, and that torch and onnx failed"),
        ((), "not_run", "says partial, and of no target so"),
    ],
)
def test_certificate_that_contradicts_itself_is_none(
    resnetgen: Run, directory: Path, targets: Sequence[str], status: str, said: str
) -> None:
    document = json.loads((directory / "certificate.json").read_text())
    document["status"] = "partial"
    for name in targets or document["targets"]:
        document["targets"][name]["status"] = status
    Path("other.json").write_text(json.dumps(document))
    ran = resnetgen("verify", "resnet20", "--certificate", "other.json")
    assert (ran.code, ran.out) == (2, "")
    assert f"other.json: error: {said}\n" in ran.err


def test_options_of_a_run_mean_nothing_to_it(resnetgen: Run, directory: Path) -> None:
    ran = resnetgen("verify", directory, "--certificate", "x.json", "--level", "train")
    assert ran.code == 2
    assert "--level means nothing to --certificate, which runs nothing" in ran.err
